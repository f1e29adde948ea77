"""Is a model that is added afterwards ranked where training would have put it?

    python bench/quality/onboarding.py

Reads $SPIDER_JAX_DATA/real_zoo and writes bench/results/quality/onboarding.json and .md. Every
model is left out in one of the five folds of real_zoo.py: a spider is trained without it on the
fold's sources, then the model is added. Its rank among all models on the held-out tasks is compared
with its rank in a full training of the same seed. What another seed of the full training changes is
the measure of that. It also says how long 100 further models take (--only-time: nothing else).
About 20 minutes on two cores.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import tyro

from bench.common import (
    FOLDS,
    bounds,
    cached_training_set,
    commit,
    only_sources,
    page_head,
    real_zoo,
    sources_without,
    with_tasks,
    write_results,
)
from spider_jax.onboarding.add_models import fit_and_join
from spider_jax.onboarding.training_tasks import TrainingTasks
from spider_jax.ranking.measures import bootstrap_interval, weighted_tau
from spider_jax.report.tables import to_markdown
from spider_jax.spider.spider import Spider
from spider_jax.spider.state import TeacherTable
from spider_jax.tasks.tokens import zoo_tokens
from spider_jax.training.config import TrainConfig
from spider_jax.training.train_spider import fit
from spider_jax.training.training_set import TrainingSet, with_targets
from spider_jax.zoo.store import FeatureStore

MANY = 100


@dataclass(frozen=True)
class Run:
    """What to run.

    Attributes:
        out: path without suffix for .json and .md.
        only_time: print how long 100 models take, and nothing else.
        cache: folder that keeps the teachers' work.
        tasks: how many meta-tasks.
        train: the configuration.
    """

    out: Path = Path("bench/results/quality/onboarding")
    only_time: bool = False
    cache: Path | None = None
    tasks: int = 1500
    train: TrainConfig = field(default_factory=TrainConfig)


class Ranks(NamedTuple):
    """Where a model stands on a task, and how good the whole order is.

    Attributes:
        model: that was left out and added.
        task: a held-out one.
        full: its place from 1 in a full training.
        other_seed: its place in a full training of another seed.
        added: its place where it was added afterwards.
        tau_full: weighted tau of the full training.
        tau_other: of that of another seed.
        tau_added: of the spider that it was added to.
    """

    model: str
    task: str
    full: int
    other_seed: int
    added: int
    tau_full: float
    tau_other: float
    tau_added: float


def without(given: TrainingSet, model: int, config: TrainConfig) -> TrainingSet:
    """The training set of a zoo that lacks a model.

    Args:
        given: of all models.
        model: position of the one that is left out.
        config: how targets are made.
    """
    kept = [i for i in range(len(given.models)) if i != model]
    less = given._replace(
        models=tuple(given.models[i] for i in kept),
        metrics=given.metrics[..., kept],
        accuracies={name: row[kept] for name, row in given.accuracies.items()},
    )
    return with_targets(less, config)


def column(given: TrainingSet, model: int, datasets: Sequence[str]) -> TeacherTable:
    """What the teachers say of one model.

    Args:
        given: of all models.
        model: its position.
        datasets: the sources.
    """
    table = {name: row[[model]] for name, row in given.accuracies.items()}
    return TeacherTable.of(given.metrics[..., [model]], table, datasets)


def training_tasks(given: TrainingSet) -> TrainingTasks:
    """The meta-tasks, as `redraw_training_tasks` would draw them again.

    Args:
        given: that holds them.
    """
    return TrainingTasks(given.meta, given.tokens, given.mask, given.deviations)


def place_and_tau(spider: Spider, zoo: FeatureStore, task: str, model: str) -> tuple[int, float]:
    """The model's place from 1, and the weighted tau of the whole order.

    Args:
        spider: that ranks.
        zoo: that holds the task.
        task: its name.
        model: one of the spider's.
    """
    scores = spider.scores([zoo_tokens(zoo, task)])[0]
    place = int((scores > scores[spider.models.index(model)]).sum()) + 1
    truth = [zoo.accuracies[name, task] for name in spider.models]
    return place, weighted_tau(truth, scores)


def add_every_model(zoo: FeatureStore, run: Run) -> tuple[list[Ranks], Spider, TrainingSet]:
    """Every model left out once, in the fold of its number, and added afterwards.

    Args:
        zoo: with all tasks.
        run: what to run.

    Returns:
        Where the models stand, a fully trained spider, and its training set.
    """
    config = with_tasks(run.train, run.tasks)
    given = cached_training_set(zoo, config, run.cache)
    found = []
    for number, fold in enumerate(FOLDS):
        sources = sources_without(zoo, fold)
        training = with_targets(only_sources(given, sources), config)
        full = [fit(zoo, replace(config, seed=seed), sources, training) for seed in (0, 1)]
        for i in range(number, len(zoo.models), len(FOLDS)):
            model = zoo.models[i]
            less = fit(zoo, config, sources, without(training, i, config))
            new = column(training, i, sources)
            added = fit_and_join(less, zoo, training_tasks(training), [model], new)
            for task in fold:
                places = [place_and_tau(s, zoo, task, model) for s in (*full, added)]
                found.append(Ranks(model, task, *(p for p, _ in places), *(t for _, t in places)))
        print(f"fold {fold}: done", flush=True)
    return found, full[0], training


def seconds_for_many(spider: Spider, zoo: FeatureStore, given: TrainingSet) -> list[float]:
    """Seconds to add 100 models whose metrics are known, with compilation and without.

    Args:
        spider: that they are added to.
        zoo: of its models.
        given: its training set; the new models' metrics are noisy copies of those there.
    """
    datasets = list(spider.description.training["datasets"])
    rng = np.random.default_rng(0)
    metrics = np.repeat(given.metrics, -(-MANY // len(given.models)), axis=2)[..., :MANY]
    metrics = metrics + 0.1 * given.metrics.std(2, keepdims=True) * rng.normal(size=metrics.shape)
    new = TeacherTable.of(metrics.astype(np.float32), {}, datasets)
    names = [f"new {i}" for i in range(MANY)]
    stub = _Widths(zoo)
    taken = []
    for _ in range(2):
        begun = time.perf_counter()
        fit_and_join(spider, stub, training_tasks(given), names, new)  # type: ignore[arg-type]
        taken.append(time.perf_counter() - begun)
    return taken


def time_alone(zoo: FeatureStore, run: Run) -> list[float]:
    """`seconds_for_many` with a spider of the first fold.

    Args:
        zoo: with all tasks.
        run: what to run.
    """
    config = with_tasks(run.train, run.tasks)
    sources = sources_without(zoo, FOLDS[0])
    given = cached_training_set(zoo, config, run.cache)
    training = with_targets(only_sources(given, sources), config)
    return seconds_for_many(fit(zoo, config, sources, training), zoo, training)


class _Widths:
    """The zoo with 100 more models, of which only the width is asked."""

    def __init__(self, zoo: FeatureStore) -> None:
        self.zoo = zoo

    def width(self, model: str) -> int:
        return self.zoo.width(self.zoo.models[0])


def table(found: Sequence[Ranks]) -> tuple[str, dict[str, float]]:
    """Means over pairs of a model and a task.

    Args:
        found: where the models stand.

    Returns:
        Markdown, and the means as data.
    """
    moved = np.array([abs(r.added - r.full) for r in found], np.float64)
    seeds = np.array([abs(r.other_seed - r.full) for r in found], np.float64)
    tau = {n: np.array([getattr(r, f"tau_{n}") for r in found]) for n in ("full", "other", "added")}
    rows: list[list[object]] = []
    figures: dict[str, float] = {}
    for name, values in {
        "rank of the model: added against full training": moved,
        "rank of the model: another seed against full training": seeds,
        "weighted tau, full training": tau["full"],
        "weighted tau, another seed": tau["other"],
        "weighted tau, model added": tau["added"],
        "weighted tau, added less full": tau["added"] - tau["full"],
    }.items():
        interval = bootstrap_interval(values)
        figures[name] = interval.mean
        rows.append([name, interval.mean, bounds(interval)])
    ratio = float(moved.mean() / max(seeds.mean(), 1e-9))
    figures["ratio of mean rank differences"] = ratio
    rows.append(["ratio of the mean rank differences", ratio, ""])
    return to_markdown(("measure", "mean", "95 % interval"), rows), figures


def main(run: Run) -> None:
    """Leave out, add, and write the table.

    Args:
        run: what to run.
    """
    zoo = real_zoo()
    if run.only_time:
        print("seconds for 100 models, with compilation and without:", *time_alone(zoo, run))
        return
    found, spider, given = add_every_model(zoo, run)
    text, figures = table(found)
    cold, warm = seconds_for_many(spider, zoo, given)
    page = (
        page_head("A model added afterwards", "quality/onboarding", run.out) + f"{text}\n\n"
        f"- {len(found)} pairs of a model and a held-out task; every model is left out once\n"
        f"- {MANY} models added at once, their metrics known: {cold:.1f} s with compilation, "
        f"{warm:.1f} s without\n"
    )
    content = {"commit": commit(), "device": str(jax.devices()[0]), **figures}
    content |= {"seconds_for_100": [cold, warm], "ranks": [r._asdict() for r in found]}
    write_results(run.out, content, page)
    print(page)


if __name__ == "__main__":
    main(tyro.cli(Run, description=__doc__))
