"""The table of all metrics: what each reads, which tasks it can score, what it shares."""

from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64
from numpy.typing import ArrayLike

from spider_jax.metrics.methods.gbc import gbc, gbc_of
from spider_jax.metrics.methods.h_score import (
    h_score,
    h_score_of,
    h_score_shrunk,
    h_score_shrunk_of,
)
from spider_jax.metrics.methods.knn import knn, knn_of
from spider_jax.metrics.methods.leep import leep
from spider_jax.metrics.methods.lfc import lfc, lfc_of
from spider_jax.metrics.methods.linear_probe import linear_probe
from spider_jax.metrics.methods.logme import logme, logme_of
from spider_jax.metrics.methods.n_leep import n_leep, n_leep_of
from spider_jax.metrics.methods.nce import nce
from spider_jax.metrics.methods.ncti import combine_ncti, ncti_parts, ncti_parts_of
from spider_jax.metrics.methods.pactran import (
    pactran_dirichlet,
    pactran_gamma,
    pactran_gauss,
    pactran_gauss_of,
)
from spider_jax.metrics.methods.parc import parc, parc_of
from spider_jax.metrics.methods.ridge import ridge, ridge_of
from spider_jax.metrics.methods.sfda import sfda, sfda_of
from spider_jax.metrics.methods.transrate import transrate, transrate_of
from spider_jax.metrics.methods.zood import zood
from spider_jax.metrics.shared.statistics import Statistics

CLASSES = ("classification",)
ANY_LABELS = ("classification", "regression", "multi-label")

Score = Callable[..., Any]  # options differ; a float, or parts where `combine` makes scores of them
SharedScore = Callable[[Statistics], float | tuple[float, ...]]
Combine = Callable[[ArrayLike], Float64[np.ndarray, " M"]]  # parts [M, P] of a zoo to scores


class Metric(NamedTuple):
    """A metric, what it reads, and how a zoo's scores are made of it.

    Attributes:
        score: `score(features, labels)` where needs is "features", else
            `score(probabilities=..., labels=...)`; options by name. One of "domains" is
            `score(features, labels, domains=...)`.
        needs: "features", "probabilities" or "domains" (features, and where rows come from).
        shared: the same number from `Statistics`, so that one pass over the features serves many
            metrics.
        probe: whether it is the accuracy of a classifier on the same features: a ceiling of a
            comparison, not a competitor in it.
        standardize: whether its option of that name is on by default; it is turned off for features
            that are standardised already.
        kinds: of the tasks that it can score.
        combine: where a model alone has only parts, what makes scores of the parts of a whole zoo.
        version: raised when the number changes, so that no cached score outlives it.
    """

    score: Score
    needs: str
    shared: SharedScore | None = None
    probe: bool = False
    standardize: bool = False
    kinds: tuple[str, ...] = CLASSES
    combine: Combine | None = None
    version: int = 1


METRICS: dict[str, Metric] = {
    "logme": Metric(logme, "features", logme_of, kinds=ANY_LABELS),
    "knn": Metric(knn, "features", knn_of),
    "h_score": Metric(h_score, "features", h_score_of),
    "h_score_shrunk": Metric(h_score_shrunk, "features", h_score_shrunk_of),
    "n_leep": Metric(n_leep, "features", n_leep_of, version=2),
    "parc": Metric(parc, "features", parc_of, version=2),
    "gbc": Metric(gbc, "features", gbc_of),
    "transrate": Metric(transrate, "features", transrate_of),
    "sfda": Metric(sfda, "features", sfda_of),
    "lfc": Metric(lfc, "features", lfc_of),
    "pactran_gauss": Metric(pactran_gauss, "features", pactran_gauss_of, version=4),
    "ncti": Metric(ncti_parts, "features", ncti_parts_of, combine=combine_ncti),
    "nce": Metric(nce, "probabilities"),
    "leep": Metric(leep, "probabilities"),
    "pactran_dirichlet": Metric(pactran_dirichlet, "probabilities"),
    "pactran_gamma": Metric(pactran_gamma, "probabilities"),
    "ridge": Metric(ridge, "features", ridge_of, probe=True, standardize=True),
    "linear_probe": Metric(linear_probe, "features", probe=True, version=2),
}
# Only for tasks with domains: asked for by name, not among "all".
SHIFT_METRICS: dict[str, Metric] = {"zood": Metric(zood, "domains", kinds=ANY_LABELS)}
EVERY_METRIC: Mapping[str, Metric] = ChainMap(METRICS, SHIFT_METRICS)
# Those that are worth their cost: an eigendecomposition, a Cholesky factor, a product of all rows.
DEFAULT_METRICS = ("logme", "knn", "h_score_shrunk", "nce", "leep")
# Metrics whose inputs no zoo on disk has.
NOT_IN_A_ZOO = {"otce": "it needs the source's own features and labels: call it as a function"}
