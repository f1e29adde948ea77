"""How the models' errors go together: a covariance of few factors plus what is each model's own.

Residuals of held-out tasks, in units of their predicted deviation, have covariance

    B = (1 - h) V_r diag(l_r) V_r^T + diag(d),

V_r, l_r the r leading eigenpairs of their second moment S, and d what is missing to the diagonal of
S, which itself is drawn a part of the way to its mean. r and h are those under which residuals of
datasets that were left out are most likely.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64

RANKS = (0, 1, 2, 4, 8, 16)
SHRINKS = (0.0, 0.3, 0.6)
LEAST_OWN = 0.05  # share of a model's variance that is its own, at least
TOWARDS_MEAN = 4.0  # datasets that the mean variance counts as, beside a model's own variance


class Factors(NamedTuple):
    """B = L L^T + diag(d).

    Attributes:
        loadings: L.
        own: d, positive.
    """

    loadings: Float64[np.ndarray, "M r"]
    own: Float64[np.ndarray, " M"]


def fit_factors(
    residuals: Float[np.ndarray, "n M"],
    weights: Float[np.ndarray, " n"],
    groups: Sequence[Bool[np.ndarray, " n"]],
) -> Factors:
    """Fit the covariance of residuals, see the module.

    Args:
        residuals: of held-out tasks, in units of their predicted deviation.
        weights: of the tasks, as many in sum as there are datasets.
        groups: for every group of datasets True for its tasks.

    Returns:
        The factors.
    """
    given = np.asarray(residuals, np.float64)
    choices = [(0, 0.0)] + [(r, h) for r in RANKS if 0 < r < min(given.shape) for h in SHRINKS]
    if len(groups) > 2:
        scores = dict.fromkeys(choices, 0.0)
        for mine in groups:
            spectrum = _spectrum(given[~mine], weights[~mine])
            for choice in choices:
                found = _factors(spectrum, *choice)
                scores[choice] += _log_likelihood(given[mine], weights[mine], found)
        best = max(choices, key=lambda choice: scores[choice])
    else:
        best = (0, 0.0)
    return _factors(_spectrum(given, weights), *best)


class _Spectrum(NamedTuple):
    """Of the second moment: eigenvalues (largest first) and vectors, diagonal, sum of weights."""

    values: Float64[np.ndarray, " k"]
    vectors: Float64[np.ndarray, "M k"]
    diagonal: Float64[np.ndarray, " M"]
    total: float


def _spectrum(residuals: Float64[np.ndarray, "n M"], weights: Float[np.ndarray, " n"]) -> _Spectrum:
    total = float(weights.sum())
    scaled = residuals * np.sqrt(weights / total)[:, None]
    # the side of the tasks is the short one: n x n, whatever the number of models
    values, left = np.linalg.eigh(scaled @ scaled.T)
    order = np.argsort(-values)[: RANKS[-1]]
    values = np.maximum(values[order], 0)
    vectors = scaled.T @ left[:, order] / np.sqrt(np.maximum(values, 1e-12))
    return _Spectrum(values, vectors, (scaled**2).sum(0), total)


def _factors(given: _Spectrum, rank: int, shrink: float) -> Factors:
    mean = given.diagonal.mean()
    whole = (given.total * given.diagonal + TOWARDS_MEAN * mean) / (given.total + TOWARDS_MEAN)
    loadings = given.vectors[:, :rank] * np.sqrt((1 - shrink) * given.values[:rank])
    shared = (loadings**2).sum(1)
    # a model whose factors explain more than it varies keeps something of its own all the same
    factor = np.sqrt(np.minimum(1, (1 - LEAST_OWN) * whole / np.maximum(shared, 1e-12)))
    loadings = loadings * factor[:, None]
    return Factors(loadings, np.maximum(whole - (loadings**2).sum(1), LEAST_OWN * whole))


def _log_likelihood(
    residuals: Float64[np.ndarray, "n M"], weights: Float[np.ndarray, " n"], found: Factors
) -> float:
    """sum_n w_n ln N(r_n | 0, B), by the matrix determinant lemma."""
    scaled = found.loadings / found.own[:, None]
    inner = np.eye(found.loadings.shape[1]) + found.loadings.T @ scaled
    projected = residuals @ scaled
    quadratic = (residuals**2 / found.own).sum(1) - (
        projected * np.linalg.solve(inner, projected.T).T
    ).sum(1)
    log_determinant = np.log(found.own).sum() + np.linalg.slogdet(inner)[1]
    return float(-(weights * (quadratic + log_determinant)).sum() / 2)
