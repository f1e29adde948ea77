"""How metrics show a standing where no spider has learned it: as on the tasks of the embedded zoos.

The metrics of a look are those that a spider learns from by default. Their gains and noise are
`belief.evidence.learn_metric_noise` of both parts of the embedded zoo together, 26 tasks with known
accuracies; a standard unit is how far those 21 and 17 models differ there. What the metrics are on
these tasks lies beside their accuracies, in metrics.csv, so that nothing is computed before the
first model runs.

Metrics err twice as much on one task as on the next, and disagree more there; how the one follows
from the other (`belief.disagreement`) is learned from looks at some of those models.

How sure that is on zoos of the other kind, of which none of it has seen a model or a row
(bench/quality/compare.py): learned on the text part alone, 81 to 90 % of the true standings on 14
vision tasks lie in their 80 % intervals, 97 to 98 % in those of 95 %; learned on the vision part
alone, 88 to 97 % and 97 to 99 % of those on 18 text tasks. The intervals are most often too wide
because metrics err half as much on text as on images, which a kind that was not seen cannot teach,
and because standings are measured from the mean of a zoo, which no metric shows. On small tasks,
those of the embedded zoos, they can be too narrow as well: HELD is the range over all of these.
Truth is a linear probe there, as everywhere in the embedded zoos.
"""

import csv
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from spider_jax.belief.disagreement import Disagreement, disagreement, learn_disagreement
from spider_jax.belief.evidence import (
    EvidenceModel,
    MetricNoise,
    Spread,
    learn_metric_noise,
    metric_observation,
    scaled_metrics,
)
from spider_jax.belief.gaussian import Posterior, Standings
from spider_jax.zoo.embedded import embedded_zoo
from spider_jax.zoo.scores import score_zoo
from spider_jax.zoo.store import FeatureStore

METRICS = ("logme", "knn", "ridge")
FILE = "metrics.csv"
ERROR = 0.1  # standard error of a result, in units of how far results spread
COUNTS = (4, 6, 8, 12, 99)  # models of a look, from which is learned what a disagreement says
HELD = {0.8: (0.76, 0.97), 0.95: (0.92, 1.0)}  # standings in intervals of a level, other kind
DRAWS = 8  # of each task and count


class KnownTasks(NamedTuple):
    """Tasks on which metrics and true accuracies are known.

    Attributes:
        metrics: of each task, metric and model; NaN where there is none.
        truth: true accuracies, NaN where there is none.
    """

    metrics: Float64[np.ndarray, "T K M"]
    truth: Float64[np.ndarray, "T M"]


def prior_of(models: int) -> Standings:
    """N(0, 1) in standard units: nothing is known of any model, and none is like another.

    Args:
        models: M.
    """
    return Standings(np.zeros(models), np.zeros((models, 0)), np.ones(models), 1.0)


@lru_cache(maxsize=1)
def usual_evidence() -> EvidenceModel:
    """What both parts of the embedded zoo teach."""
    return learn_usual([known_tasks(embedded_zoo(part)) for part in ("vision", "text")])


def learn_usual(known: Sequence[KnownTasks]) -> EvidenceModel:
    """Gains, noise and spreads on all tasks together.

    Args:
        known: of one zoo each.

    Returns:
        The evidence model of METRICS.
    """
    most = max(one.truth.shape[1] for one in known)
    metrics = np.concatenate([_padded(one.metrics, most) for one in known])
    standings, spreads = [], []
    for one in known:
        size = np.nanstd(one.truth, axis=1, keepdims=True)
        mean = np.nanmean(one.truth, axis=1, keepdims=True)
        standings.append(_padded((one.truth - mean) / size, most))
        spreads.append(size[:, 0])
    truth = np.concatenate(standings)
    noise = learn_metric_noise(metrics, truth)
    results = Spread.of(np.concatenate(spreads))
    varying = _varying(noise, metrics, truth)
    return EvidenceModel(METRICS, noise, results, ERROR * results.size, varying=varying)


def _varying(
    noise: MetricNoise, metrics: Float64[np.ndarray, "T K M"], truth: Float64[np.ndarray, "T M"]
) -> Disagreement:
    """What a disagreement says, from looks at some models of each task, drawn at random."""
    rng = np.random.default_rng(0)
    rows = []
    for values, standing in zip(metrics, truth, strict=True):
        there = np.flatnonzero(np.isfinite(standing) & np.isfinite(values).all(0))
        for count in COUNTS:
            for _ in range(DRAWS):
                models = rng.permutation(there)[:count]
                rows.append(_one_look(noise, values[:, models].T, standing[models]))
    return learn_disagreement(*np.array([row for row in rows if row is not None]).T)


def _one_look(
    noise: MetricNoise, metrics: Float64[np.ndarray, "p K"], truth: Float64[np.ndarray, " p"]
) -> tuple[float, float, float] | None:
    """Disagreement, models, and mean squared error in units of its usual variance."""
    p = len(truth)
    now, models = Posterior(prior_of(p)), np.arange(p)
    found = disagreement(scaled_metrics(now, noise, models, metrics), noise.gain, noise.noise)
    if found is None:
        return None
    seen = metric_observation(now, noise, models, metrics)
    error = float(np.var(seen.values - truth, ddof=1) / seen.variances[0])
    q, count = found
    return q, float(count), error


def _padded(values: Float64[np.ndarray, "*any M"], models: int) -> Float64[np.ndarray, "*any L"]:
    some = [(0, 0)] * (values.ndim - 1)
    return np.pad(values, (*some, (0, models - values.shape[-1])), constant_values=np.nan)


def known_tasks(zoo: FeatureStore) -> KnownTasks:
    """The tasks of a zoo that holds metrics.csv.

    Args:
        zoo: with accuracies.csv.
    """
    with (zoo.folder / FILE).open(newline="", encoding="utf-8") as file:
        rows = {(row["model"], row["task"]): row for row in csv.DictReader(file)}
    table = [[[rows[m, t][k] for m in zoo.models] for k in METRICS] for t in zoo.tasks]
    truth = [[zoo.accuracies.get((m, t), np.nan) for m in zoo.models] for t in zoo.tasks]
    return KnownTasks(np.array(table, np.float64), np.array(truth, np.float64))


def write_metrics(zoo: FeatureStore, path: Path) -> None:
    """Write METRICS of every model on every task, six digits each: what metrics.csv was made by.

    Args:
        zoo: whose features are read.
        path: of the CSV.
    """
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("model", "task", *METRICS))
        for task in zoo.tasks:
            table = score_zoo(zoo, task, METRICS, cache=False)
            for model, values in zip(table.models, table.values, strict=True):
                writer.writerow((model, task, *(f"{value:.6g}" for value in values)))
