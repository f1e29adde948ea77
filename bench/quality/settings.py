"""Which settings of the spider are best, by source tasks alone? The real zoo, nested folds.

    python bench/quality/settings.py

Reads $SPIDER_JAX_DATA/real_zoo and writes bench/results/quality/settings.json and .md. For every
outer fold of real_zoo.py the settings are judged on its source tasks: every other fold in turn is
left out of training as well, and its tasks are ranked and compared with their true accuracies. So a
fold's own tasks take no part in its choice, and datasets of one domain are kept apart as they are
in the test. One seed; about two minutes a row on two cores, teachers apart.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from jaxtyping import Float, Float64

from bench.common import (
    FOLDS,
    cached_training_set,
    command,
    only_sources,
    real_zoo,
    sources_without,
    with_tasks,
    write_results,
)
from spider_jax.evaluation.baselines import kernel_method, ridge_method, truth_of
from spider_jax.ranking.measures import weighted_tau
from spider_jax.report.tables import to_markdown
from spider_jax.tasks.tokens import zoo_tokens
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
# Scores [T, M] of the tasks named last, after a fit on the sources named first.
Rank = Callable[[TrainingSet, list[str], list[str]], Float[np.ndarray, "T M"]]


@dataclass(frozen=True)
class Run:
    """What to run.

    Attributes:
        out: path without suffix for .json and .md.
        cache: folder that keeps the teachers' work, as in real_zoo.py.
        tasks: how many meta-tasks, as in real_zoo.py.
    """

    out: Path = Path("bench/results/quality/settings")
    cache: Path | None = None
    tasks: int = 1500


def inner_taus(zoo: FeatureStore, given: TrainingSet, rank: Rank) -> Float64[np.ndarray, " folds"]:
    """Mean weighted tau on the source tasks of every outer fold, fitted without them.

    Args:
        zoo: with all tasks.
        given: meta-tasks over all datasets.
        rank: the method that is judged.
    """
    truth = dict(zip(zoo.tasks, truth_of(zoo, zoo.tasks, zoo.models), strict=True))
    taus: list[list[float]] = [[] for _ in FOLDS]
    for i, j in combinations(range(len(FOLDS)), 2):
        asked = [*FOLDS[i], *FOLDS[j]]
        sources = sources_without(zoo, asked)
        scores = rank(only_sources(given, sources), sources, asked)
        found = {t: weighted_tau(truth[t], s) for t, s in zip(asked, scores, strict=True)}
        taus[i] += [found[task] for task in FOLDS[j]]
        taus[j] += [found[task] for task in FOLDS[i]]
    return np.array([np.mean(fold) for fold in taus])


def methods(zoo: FeatureStore) -> dict[str, Rank]:
    """What is judged: the two baselines, and a spider of every choice.

    Args:
        zoo: with all tasks.
    """

    def spider(config: TrainConfig) -> Rank:
        return lambda given, sources, asked: fit(zoo, config, sources, given).scores(
            [zoo_tokens(zoo, task) for task in asked]
        )

    found: dict[str, Rank] = {
        "task kernel": lambda given, sources, asked: kernel_method(zoo, sources, asked, given),
        "task ridge": lambda given, sources, asked: ridge_method(zoo, sources, asked, given),
    }
    for choice in CHOICES:
        name = ", ".join(f"{name} {value}" for name, value in choice.items())
        found[name] = spider(replace(TrainConfig(), **choice))
    return found


def main(run: Run) -> None:
    """Train a spider per choice and pair of folds and write the table.

    Args:
        run: what to run.
    """
    zoo = real_zoo()
    given = cached_training_set(zoo, with_tasks(TrainConfig(), run.tasks), run.cache)
    rows: list[list[object]] = []
    for name, rank in methods(zoo).items():
        taus = inner_taus(zoo, given, rank)
        rows.append([name, float(taus.mean()), *map(float, taus)])
        print(*rows[-1], flush=True)
    columns = ("settings", "weighted tau", *(f"without fold {i + 1}" for i in range(len(FOLDS))))
    entries = [dict(zip(columns, row, strict=True)) for row in rows]
    page = f"# Settings, by source tasks alone\n\n`{command('quality/settings', run.out)}`\n\n"
    write_results(run.out, {"rows": entries}, page + to_markdown(columns, rows) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Run, description=__doc__))
