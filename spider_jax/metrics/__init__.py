"""Training-free transferability metrics: one table, one signature, larger is always better."""

from spider_jax.metrics.methods.gbc import gbc
from spider_jax.metrics.methods.h_score import h_score, h_score_shrunk
from spider_jax.metrics.methods.knn import knn
from spider_jax.metrics.methods.leep import leep
from spider_jax.metrics.methods.lfc import lfc
from spider_jax.metrics.methods.linear_probe import linear_probe
from spider_jax.metrics.methods.logme import LogMEFit, fit_logme, logme
from spider_jax.metrics.methods.n_leep import n_leep
from spider_jax.metrics.methods.nce import nce
from spider_jax.metrics.methods.ncti import combine_ncti, ncti_parts
from spider_jax.metrics.methods.otce import otce
from spider_jax.metrics.methods.pactran import pactran_dirichlet, pactran_gamma, pactran_gauss
from spider_jax.metrics.methods.parc import parc
from spider_jax.metrics.methods.ridge import ridge
from spider_jax.metrics.methods.sfda import sfda
from spider_jax.metrics.methods.transrate import transrate
from spider_jax.metrics.table import DEFAULT_METRICS, METRICS, Metric

__all__ = [
    "DEFAULT_METRICS",
    "METRICS",
    "LogMEFit",
    "Metric",
    "combine_ncti",
    "fit_logme",
    "gbc",
    "h_score",
    "h_score_shrunk",
    "knn",
    "leep",
    "lfc",
    "linear_probe",
    "logme",
    "n_leep",
    "nce",
    "ncti_parts",
    "otce",
    "pactran_dirichlet",
    "pactran_gamma",
    "pactran_gauss",
    "parc",
    "ridge",
    "sfda",
    "transrate",
]
