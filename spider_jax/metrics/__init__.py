"""Training-free transferability metrics: one table, one signature, larger is always better."""

from collections.abc import Callable
from typing import NamedTuple

from spider_jax.metrics.h_score import h_score_shrunk
from spider_jax.metrics.knn import knn
from spider_jax.metrics.leep import leep
from spider_jax.metrics.linear_probe import linear_probe
from spider_jax.metrics.logme import logme
from spider_jax.metrics.nce import nce
from spider_jax.metrics.ridge import ridge


class Metric(NamedTuple):
    """A metric and what it reads.

    `score(features, labels)` where needs is "features", `score(probabilities=..., labels=...)`
    where it is "probabilities". `probe` marks accuracies of a classifier on the same features:
    ceilings of the comparison, not competitors in it. `standardize` marks a score whose option of
    that name is on unless told: it is turned off where features are standardised already.
    """

    score: Callable[..., float]
    needs: str
    probe: bool = False
    standardize: bool = False


METRICS: dict[str, Metric] = {
    "logme": Metric(logme, "features"),
    "knn": Metric(knn, "features"),
    "h_score_shrunk": Metric(h_score_shrunk, "features"),
    "nce": Metric(nce, "probabilities"),
    "leep": Metric(leep, "probabilities"),
    "ridge": Metric(ridge, "features", probe=True, standardize=True),
    "linear_probe": Metric(linear_probe, "features", probe=True),
}
DEFAULT_METRICS = ("logme", "knn", "h_score_shrunk", "nce", "leep", "ridge")

__all__ = [
    "DEFAULT_METRICS",
    "METRICS",
    "Metric",
    "h_score_shrunk",
    "knn",
    "leep",
    "linear_probe",
    "logme",
    "nce",
    "ridge",
]
