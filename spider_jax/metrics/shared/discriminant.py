"""Regularised linear discriminant analysis: the posterior that SFDA and NCTI share.

Rows are given as residuals from the mean of their own class. Then the logits of two classes differ
by (m_c - m_y)^T W^-1 (x - m_y) - 1/2 |m_c - m_y|^2_W, which keeps its digits where W is singular
but for a shrinkage of 1e-10: the expanded form subtracts numbers of size 1e10.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spider_jax.metrics.shared.inputs import Float64

LEAST_SHRINKAGE = 1e-10
ROUNDING = 1e-24  # of the mean squared length of a row: a variance below it is rounding


class Discriminant(NamedTuple):
    """A fitted posterior p(c|x) = softmax_c(m_c^T W^-1 x - 1/2 m_c^T W^-1 m_c + ln prior_c).

    factor: [k, k] lower triangular, W = factor factor^T. white: factor^-1 m_c, [k, C].
    weights: W^-1 m_c, [k, C]. distances: |m_c - m_c'|^2 in W^-1, [C, C]. priors: [C].
    """

    factor: Float64
    white: Float64
    weights: Float64
    distances: Float64
    priors: Float64


def shrinkage(exponent: float) -> float:
    """max(exp(-exponent), 1e-10)."""
    return max(float(np.exp(-exponent)), LEAST_SHRINKAGE)


def fit_discriminant(
    means: Float64, counts: Float64, within: Float64, *, shrink: float, width: int, size: float
) -> Discriminant:
    """Of class means and the within-class covariance S_w, W = (1 - l) S_w + l tr(S_w)/D I.

    S_w = 0: W = tr(cov)/D I; if that is 0 too, the posterior is the priors.

    Args:
        means: [C, k] about any origin. counts: [C] rows of every class. within: S_w [k, k].
        shrink: l. width: D, which may exceed k where the rows have no part in the rest.
        size: mean squared length of the rows as they came, to tell rounding from variance.
    """
    from scipy.linalg import solve_triangular
    from scipy.spatial.distance import cdist

    priors = counts / counts.sum()
    trace, k = float(np.trace(within)), len(within)
    offsets = means - priors @ means
    between = float(priors @ (offsets**2).sum(1))
    if trace > ROUNDING * size:
        factor = _factor((1 - shrink) * within, shrink * trace / width)
    elif between > ROUNDING * size:
        factor = np.sqrt(between / width) * np.eye(k)
    else:
        factor, offsets = np.eye(k), np.zeros_like(means)
    white = solve_triangular(factor, offsets.T, lower=True)
    weights = solve_triangular(factor, white, lower=True, trans="T")
    distances = cdist(white.T, white.T, "sqeuclidean")
    return Discriminant(factor, white, weights, distances, priors)


def _factor(S: Float64, ridge: float) -> Float64:
    """Lower triangular L of S + ridge I = L L^T, also where rounding has made S indefinite."""
    from scipy.linalg import cholesky

    W = S.copy()
    W[np.diag_indices_from(W)] += ridge
    try:
        # of the transpose, the same matrix: it is in LAPACK's order, no copy
        return cholesky(W.T, lower=True, overwrite_a=True, check_finite=False)
    except np.linalg.LinAlgError:
        s, V = np.linalg.eigh(S)
        root = V * np.sqrt(np.maximum(s, 0) + ridge)
        return np.asarray(np.linalg.qr(root.T, mode="r")).T


def posterior(fitted: Discriminant, residual: Float64, labels: NDArray[np.int64]) -> Float64:
    """p(c|x) [n, C] of rows x = m_y + residual of classes y, [n, k] and [n]."""
    logits = residual @ fitted.weights
    logits -= np.take_along_axis(logits, labels[:, None], axis=1)
    logits += np.log(fitted.priors) - fitted.distances[labels] / 2
    logits -= logits.max(1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(1, keepdims=True)
    return logits


def own(probabilities: Float64, labels: NDArray[np.int64]) -> Float64:
    """p(y_n|x_n) [n] of probabilities [n, C]."""
    return probabilities[np.arange(len(labels)), labels]
