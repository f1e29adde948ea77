"""Which settings of the spider, chosen on source tasks alone: the real zoo, nested folds.

    SPIDER_JAX_DATA=... python bench/bench_settings.py --out bench/results/settings

For every outer fold of bench_real_zoo.py the settings are judged on its source tasks: every other
fold in turn is left out of training as well, and its tasks are ranked and compared with their true
accuracies. So a fold's own tasks take no part in its choice, and datasets of one domain are kept
apart as they are in the test. One seed; about two minutes a row on two cores, teachers apart.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from numpy.typing import NDArray

from bench.quality.real_zoo import FOLDS, only, taught
from spider_jax.evaluation.baselines import (
    kernel_method,
    ridge_method,
    target_deviations,
    target_tokens,
    truth_of,
)
from spider_jax.ranking.measures import weighted_tau
from spider_jax.report.tables import to_markdown
from spider_jax.storage.files import write_json, write_text
from spider_jax.training.config import TrainConfig
from spider_jax.training.train_spider import fit
from spider_jax.training.training_set import TrainingSet
from spider_jax.zoo.store import FeatureStore

NO_MEMORY: dict[str, Any] = {"memory": 0.0, "learning_rate": 2e-3, "epochs": 18}
CHOICES: tuple[dict[str, Any], ...] = (
    {**NO_MEMORY, "scaling": "pca"},
    NO_MEMORY,
    {"memory": 4.0},
    {"memory": 8.0},
    {"memory": 16.0},
)
Rank = Callable[[TrainingSet, list[str], list[str]], NDArray[np.floating]]


@dataclass(frozen=True)
class Run:
    """out: path without suffix for .json and .md. cache: as in bench_real_zoo. tasks: as there."""

    out: Path
    cache: Path | None = None
    tasks: int = 1500


def inner_taus(zoo: FeatureStore, given: TrainingSet, rank: Rank) -> NDArray[np.float64]:
    """Mean weighted tau on the source tasks of every outer fold, trained without theirs."""
    truth = dict(zip(zoo.tasks, truth_of(zoo, zoo.tasks, zoo.models), strict=True))
    taus: list[list[float]] = [[] for _ in FOLDS]
    for i, j in combinations(range(len(FOLDS)), 2):
        asked = [*FOLDS[i], *FOLDS[j]]
        sources = [task for task in zoo.tasks if task not in asked]
        scores = rank(only(given, sources), sources, asked)
        found = {t: weighted_tau(truth[t], s) for t, s in zip(asked, scores, strict=True)}
        taus[i] += [found[task] for task in FOLDS[j]]
        taus[j] += [found[task] for task in FOLDS[i]]
    return np.array([np.mean(fold) for fold in taus])


def main(run: Run) -> None:
    """Train a spider per choice and pair of folds and write the table."""
    zoo, default = FeatureStore(Path(os.environ["SPIDER_JAX_DATA"]) / "real_zoo"), TrainConfig()
    given = taught(zoo, replace(default, tasks=replace(default.tasks, count=run.tasks)), run.cache)
    rows: list[list[object]] = []

    def add(name: str, rank: Rank) -> None:
        taus = inner_taus(zoo, given, rank)
        rows.append([name, float(taus.mean()), *map(float, taus)])
        print(*rows[-1], flush=True)

    add(
        "task kernel", lambda training, sources, asked: kernel_method(zoo, sources, asked, training)
    )
    add("task ridge", lambda training, sources, asked: ridge_method(zoo, sources, asked, training))
    for choice in CHOICES:
        config = replace(default, **choice)

        def rank(
            training: TrainingSet, sources: list[str], asked: list[str], c: TrainConfig = config
        ) -> NDArray[np.floating]:
            tokens = [target_tokens(zoo, task) for task in asked]
            deviations = [target_deviations(zoo, task) for task in asked]
            return fit(zoo, c, sources, training).scores(tokens, deviations)

        add(", ".join(f"{name} {value}" for name, value in choice.items()), rank)
    columns = ("settings", "weighted tau", *(f"without fold {i + 1}" for i in range(len(FOLDS))))
    entries = [dict(zip(columns, row, strict=True)) for row in rows]
    write_json(run.out.with_suffix(".json"), "benchmark", {"rows": entries})
    command = f"SPIDER_JAX_DATA=... python bench/bench_settings.py --out {run.out}"
    page = f"# Settings, by source tasks alone\n\n`{command}`\n\n"
    write_text(run.out.with_suffix(".md"), page + to_markdown(columns, rows) + "\n")


if __name__ == "__main__":
    if "SPIDER_JAX_DATA" not in os.environ:
        raise SystemExit("SPIDER_JAX_DATA must name the folder that holds real_zoo: nothing run")
    main(tyro.cli(Run, description=__doc__))
