"""Training-free metrics of every model of a zoo on one task; a broken model does not stop it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from spider_jax.aggregate import mean_z
from spider_jax.errors import InputError
from spider_jax.metrics import DEFAULT_METRICS, METRICS
from spider_jax.progress import progress
from spider_jax.store import FeatureStore, Problem
from spider_jax.tables import to_text

log = logging.getLogger("spider_jax")


@dataclass(frozen=True)
class ScoreTable:
    """Metrics of the models on a task.

    models: names [M]. metrics: names [K]. values: float64 [M, K], NaN where a model lacks what the
    metric needs. problems: the models that were skipped, and why. seconds: [K] per metric.
    """

    task: str
    models: tuple[str, ...]
    metrics: tuple[str, ...]
    values: NDArray[np.float64]
    problems: tuple[Problem, ...]
    seconds: NDArray[np.float64]

    def listing(
        self, accuracies: Mapping[tuple[str, str], float]
    ) -> tuple[tuple[str, ...], list[list[object]], str]:
        """Columns, rows (best by the mean z-score of the metrics first) and text of the table."""
        order = np.argsort(-np.nan_to_num(mean_z(self.values.T), nan=-np.inf), kind="stable")
        truth = any((model, self.task) in accuracies for model in self.models)
        columns = ("model", *self.metrics, *(("true accuracy",) if truth else ()))
        rows: list[list[object]] = []
        for i in order:
            model = self.models[i]
            scores = [float(v) if np.isfinite(v) else None for v in self.values[i]]
            rows.append([model, *scores, *([accuracies.get((model, self.task))] if truth else [])])
        text = to_text(columns, rows) + (
            f"\ntask {self.task}: best first by the mean z-score of the metrics; "
            "larger is better in every column"
        )
        return columns, rows, text

    def column(self, metric: str) -> NDArray[np.float64]:
        """Values of one metric, [M]."""
        return self.values[:, self.metrics.index(metric)]


def score_zoo(
    zoo: FeatureStore,
    task: str,
    metrics: Sequence[str] = DEFAULT_METRICS,
    *,
    show_progress: bool = False,
) -> ScoreTable:
    """Score every model of the zoo on a task with training-free metrics.

    Args:
        zoo: features and labels; only training rows are read.
        task: name of a classification task.
        metrics: names in METRICS. One that needs source probabilities is NaN for models without.
        show_progress: a bar on stderr.

    Returns:
        A ScoreTable; models that cannot be read are listed in its problems.

    Raises:
        InputError: unknown task or metric, labels that cannot be used, or no model that can.
    """
    unknown = [name for name in metrics if name not in METRICS]
    if unknown:
        raise InputError(f"unknown metric {unknown[0]!r}: known are {', '.join(METRICS)}")
    if zoo.kind(task) != "classification":
        raise InputError(f"task {task!r} is {zoo.kind(task)}: these metrics need class labels")
    labels = zoo.training_labels(task)
    values: dict[str, list[float]] = {}
    problems = [p for p in zoo.problems if p.task == task and p.model]
    seconds = np.zeros(len(metrics))
    for model in progress(zoo.models_of(task), "scoring", show_progress):
        try:
            values[model] = _score_model(zoo, model, task, labels, metrics, seconds)
        except InputError as error:
            problems.append(Problem(model, task, str(error)))
            log.info("skipped %s", problems[-1])  # the caller lists the problems
    if not values:
        why = f": {problems[0]}" if problems else ", it has no features"
        raise InputError(f"no model of {zoo.folder} can be scored on {task!r}{why}")
    table = np.array(list(values.values()), np.float64).reshape(-1, len(metrics))
    return ScoreTable(task, tuple(values), tuple(metrics), table, tuple(problems), seconds)


def _score_model(
    zoo: FeatureStore,
    model: str,
    task: str,
    labels: NDArray[np.int32],
    metrics: Sequence[str],
    seconds: NDArray[np.float64],
) -> list[float]:
    features = zoo.training_features(model, task)
    scores = []
    for i, name in enumerate(metrics):
        start = perf_counter()
        metric = METRICS[name]
        if metric.needs == "features":
            given = {"standardize": False} if metric.standardize and zoo.standardized else {}
            scores.append(metric.score(features, labels, **given))
        elif zoo.has_probabilities(model, task):
            rows = zoo.training_rows(task)
            rows_of = zoo.probabilities(model, task)[rows]
            scores.append(metric.score(probabilities=rows_of, labels=labels))
        else:
            scores.append(float("nan"))
        seconds[i] += perf_counter() - start
    return scores
