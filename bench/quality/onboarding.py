"""The real zoo: a model added afterwards against one that was there in training.

    SPIDER_JAX_DATA=... python bench/bench_onboarding.py --out bench/results/onboarding

Every model is retired in one of the five folds (of bench_real_zoo.py): a spider is trained without
it on the fold's sources, then the model is added, and its rank among all on the held-out tasks is
compared with that in a full training of the same seed. The measure is what another seed of the full
training changes. Besides: how long 100 further models take. About 20 minutes on two cores.
"""

import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import tyro

from bench.quality.real_zoo import FOLDS, commit, only, taught
from spider_jax.evaluation.baselines import target_deviations, target_tokens
from spider_jax.onboarding.add_models import fit_and_join
from spider_jax.onboarding.training_tasks import TrainingTasks
from spider_jax.ranking.measures import bootstrap_interval, weighted_tau
from spider_jax.report.tables import to_markdown
from spider_jax.spider.spider import Spider
from spider_jax.spider.state import TeacherTable
from spider_jax.storage.files import write_json, write_text
from spider_jax.training.config import TrainConfig
from spider_jax.training.train_spider import fit
from spider_jax.training.training_set import TrainingSet, with_targets
from spider_jax.zoo.store import FeatureStore

MANY = 100


@dataclass(frozen=True)
class Retire:
    """What to run.

    out: path without suffix for .json and .md. cache: folder for taught tasks. tasks: meta-tasks.
    train: the configuration. only_time: print how long 100 models take, and nothing else.
    """

    out: Path
    only_time: bool = False
    cache: Path | None = None
    tasks: int = 1500
    train: TrainConfig = field(default_factory=TrainConfig)


class Ranks(NamedTuple):
    """Places of a retired model on a task: in two full trainings, added to one; and the taus."""

    model: str
    task: str
    full: int
    other_seed: int
    added: int
    tau_full: float
    tau_other: float
    tau_added: float


def without(given: TrainingSet, model: int, config: TrainConfig) -> TrainingSet:
    """The training set of a zoo that lacks a model."""
    kept = [i for i in range(len(given.models)) if i != model]
    less = given._replace(
        models=tuple(given.models[i] for i in kept),
        metrics=given.metrics[..., kept],
        accuracies={name: row[kept] for name, row in given.accuracies.items()},
    )
    return with_targets(less, config)


def column(given: TrainingSet, model: int, datasets: list[str]) -> TeacherTable:
    """What the teachers say of one model."""
    table = {name: row[[model]] for name, row in given.accuracies.items()}
    return TeacherTable.of(given.metrics[..., [model]], table, datasets)


def course_of(given: TrainingSet) -> TrainingTasks:
    """The meta-tasks, as `recall_course` would draw them again."""
    return TrainingTasks(given.meta, given.tokens, given.mask, given.deviations)


def ranks(spider: Spider, zoo: FeatureStore, task: str, model: str) -> tuple[int, float]:
    """The model's place from 1, and the weighted tau of the whole order."""
    scores = spider.scores([target_tokens(zoo, task)], [target_deviations(zoo, task)])[0]
    place = int((scores > scores[spider.models.index(model)]).sum()) + 1
    truth = [zoo.accuracies[name, task] for name in spider.models]
    return place, weighted_tau(truth, scores)


def retire_all(zoo: FeatureStore, run: Retire) -> tuple[list[Ranks], Spider, TrainingSet]:
    """Every model retired once, in the fold of its number; a full spider and its training set."""
    config = replace(run.train, tasks=replace(run.train.tasks, count=run.tasks))
    given = taught(zoo, config, run.cache)
    found = []
    for number, fold in enumerate(FOLDS):
        sources = [task for task in zoo.tasks if task not in fold]
        training = with_targets(only(given, sources), config)
        full = [fit(zoo, replace(config, seed=seed), sources, training) for seed in (0, 1)]
        for i in range(number, len(zoo.models), len(FOLDS)):
            model = zoo.models[i]
            less = fit(zoo, config, sources, without(training, i, config))
            new = column(training, i, sources)
            added = fit_and_join(less, zoo, course_of(training), [model], new)
            for task in fold:
                places = [ranks(s, zoo, task, model) for s in (*full, added)]
                found.append(Ranks(model, task, *(p for p, _ in places), *(t for _, t in places)))
        print(f"fold {fold}: done", flush=True)
    return found, full[0], training


def seconds_for_many(spider: Spider, zoo: FeatureStore, given: TrainingSet) -> list[float]:
    """Seconds to add 100 models whose metrics are known, with compilation and without."""
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
        fit_and_join(spider, stub, course_of(given), names, new)  # type: ignore[arg-type]
        taken.append(time.perf_counter() - begun)
    return taken


def time_alone(zoo: FeatureStore, run: Retire) -> list[float]:
    """`seconds_for_many` with a spider of the first fold."""
    config = replace(run.train, tasks=replace(run.train.tasks, count=run.tasks))
    sources = [task for task in zoo.tasks if task not in FOLDS[0]]
    training = with_targets(only(taught(zoo, config, run.cache), sources), config)
    return seconds_for_many(fit(zoo, config, sources, training), zoo, training)


class _Widths:
    """The zoo, which has 100 more models of some width."""

    def __init__(self, zoo: FeatureStore) -> None:
        self.zoo = zoo

    def width(self, model: str) -> int:
        """Of any model."""
        return self.zoo.width(self.zoo.models[0])


def table(found: list[Ranks]) -> tuple[str, dict[str, float]]:
    """Markdown, and the figures."""
    moved = np.array([abs(r.added - r.full) for r in found], np.float64)
    seeds = np.array([abs(r.other_seed - r.full) for r in found], np.float64)
    tau = {n: np.array([getattr(r, f"tau_{n}") for r in found]) for n in ("full", "other", "added")}
    rows: list[list[object]] = []
    for name, values in {
        "rank of the model: added against full training": moved,
        "rank of the model: another seed against full training": seeds,
        "weighted tau, full training": tau["full"],
        "weighted tau, another seed": tau["other"],
        "weighted tau, model added": tau["added"],
        "weighted tau, added less full": tau["added"] - tau["full"],
    }.items():
        interval = bootstrap_interval(values)
        rows.append([name, interval.mean, f"[{interval.low:.3f}, {interval.high:.3f}]"])
    figures = {str(name): float(mean) for name, mean, _ in rows}  # type: ignore[arg-type]
    figures["ratio of mean rank differences"] = float(moved.mean() / max(seeds.mean(), 1e-9))
    rows.append(
        ["ratio of the mean rank differences", figures["ratio of mean rank differences"], ""]
    )
    return to_markdown(("measure", "mean", "95 % interval"), rows), figures


def main(run: Retire) -> None:
    """Run it and write the table."""
    zoo = FeatureStore(Path(os.environ["SPIDER_JAX_DATA"]) / "real_zoo")
    if run.only_time:
        print("seconds for 100 models, with compilation and without:", *time_alone(zoo, run))
        return
    found, spider, given = retire_all(zoo, run)
    text, figures = table(found)
    cold, warm = seconds_for_many(spider, zoo, given)
    command = f"SPIDER_JAX_DATA=... python bench/bench_onboarding.py --out {run.out}"
    page = (
        f"# A model added afterwards\n\n`{command}` at commit {commit()}\n\n{text}\n\n"
        f"- {len(found)} pairs of a model and a held-out task; every model is retired once\n"
        f"- {MANY} models added at once, their metrics known: {cold:.1f} s with compilation, "
        f"{warm:.1f} s without\n"
    )
    write_text(run.out.with_suffix(".md"), page)
    content = {"commit": commit(), "device": str(jax.devices()[0]), **figures}
    content |= {"seconds_for_100": [cold, warm], "ranks": [r._asdict() for r in found]}
    write_json(run.out.with_suffix(".json"), "benchmark", content)
    print(page)


if __name__ == "__main__":
    if "SPIDER_JAX_DATA" not in os.environ:
        raise SystemExit("SPIDER_JAX_DATA must name the folder that holds real_zoo: nothing run")
    main(tyro.cli(Retire, description=__doc__))
