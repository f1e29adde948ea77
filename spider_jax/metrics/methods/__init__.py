"""One file per metric; the table `spider_jax.metrics.METRICS` names them all.

A metric of features is `metric(features, labels, *, ...)`: it checks its inputs and reads the
features once. `metric_of(statistics, *, ...)` gives the same number from `Statistics` that several
metrics share. A metric of source probabilities is `metric(*, probabilities, labels)`; its arrays
are given by name only, because they could be swapped. `metric_core` is the part that runs compiled,
on padded arrays.

A new metric is one new file here, one line in the table and its rows in the tests of all metrics.
The metrics themselves are names of `spider_jax.metrics`; here are their forms for shared
statistics. Those check options, but not labels: `check_labels` does.

>>> from spider_jax.metrics import knn
>>> from spider_jax.metrics.methods import gbc_of, knn_of
>>> from spider_jax.metrics.shared import Statistics, check_labels
>>> features, labels = [[1.0, 0.0], [2.0, 0.1], [0.0, 1.0], [0.1, 2.0]], [3, 3, 7, 7]
>>> given = Statistics(features, check_labels(labels, len(features)))
>>> knn(features, labels, k=1), knn_of(given, k=1), gbc_of(given) < 0
(1.0, 1.0, True)
"""

from spider_jax.metrics.methods.gbc import gbc_of
from spider_jax.metrics.methods.h_score import h_score_of, h_score_shrunk_of
from spider_jax.metrics.methods.knn import knn_of
from spider_jax.metrics.methods.lfc import lfc_of
from spider_jax.metrics.methods.logme import logme_of
from spider_jax.metrics.methods.n_leep import n_leep_of
from spider_jax.metrics.methods.ncti import ncti_parts_of
from spider_jax.metrics.methods.pactran import pactran_gauss_of
from spider_jax.metrics.methods.parc import parc_of
from spider_jax.metrics.methods.ridge import ridge_of
from spider_jax.metrics.methods.sfda import sfda_of
from spider_jax.metrics.methods.transrate import transrate_of

__all__ = [
    "gbc_of",
    "h_score_of",
    "h_score_shrunk_of",
    "knn_of",
    "lfc_of",
    "logme_of",
    "n_leep_of",
    "ncti_parts_of",
    "pactran_gauss_of",
    "parc_of",
    "ridge_of",
    "sfda_of",
    "transrate_of",
]
