"""Regularised linear discriminant analysis: the posterior that SFDA and NCTI share.

Rows are given as residuals from the mean of their own class. Then the logits of two classes differ
by (m_c - m_y)^T W^-1 (x - m_y) - 1/2 |m_c - m_y|^2_W. This keeps its digits also where W is
singular but for a shrinkage of 1e-10; the expanded form subtracts numbers of size 1e10 there.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int

LEAST_SHRINKAGE = 1e-10
ROUNDING = 1e-24  # of the mean squared length of a row: a variance below it is rounding


class Discriminant(NamedTuple):
    """A fitted posterior p(c|x) = softmax_c(m_c^T W^-1 x - 1/2 m_c^T W^-1 m_c + ln prior_c).

    Attributes:
        factor: lower triangular, W = factor factor^T.
        white: factor^-1 m_c, a column for each class.
        weights: W^-1 m_c, a column for each class.
        distances: |m_c - m_c'|^2 in W^-1.
        priors: share of the rows in each class.
    """

    factor: Float64[np.ndarray, "k k"]
    white: Float64[np.ndarray, "k C"]
    weights: Float64[np.ndarray, "k C"]
    distances: Float64[np.ndarray, "C C"]
    priors: Float64[np.ndarray, " C"]


def shrinkage(exponent: float) -> float:
    """max(exp(-exponent), 1e-10).

    Args:
        exponent: the larger, the less is shrunk.

    Returns:
        The shrinkage l, in [1e-10, 1] for exponents from 0.
    """
    return max(float(np.exp(-exponent)), LEAST_SHRINKAGE)


def fit_discriminant(
    means: Float64[np.ndarray, "C k"],
    counts: Float64[np.ndarray, " C"],
    within: Float64[np.ndarray, "k k"],
    *,
    shrink: float,
    width: int,
    size: float,
) -> Discriminant:
    """The posterior of class means and a within-class covariance S_w.

    W = (1 - l) S_w + l tr(S_w)/D I. S_w = 0: W = tr(cov)/D I; if that is 0 too, the posterior is
    the priors.

    Args:
        means: of the classes, about any origin.
        counts: rows of every class.
        within: S_w.
        shrink: l.
        width: D, which exceeds k where the rows are 0 in the other coordinates.
        size: mean squared length of the rows as they came, to tell rounding from variance.

    Returns:
        The fitted posterior.
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


def _factor(S: Float64[np.ndarray, "k k"], ridge: float) -> Float64[np.ndarray, "k k"]:
    """Lower triangular L of S + ridge I = L L^T, also where rounding has made S indefinite."""
    from scipy.linalg import cholesky

    W = S.copy()
    W[np.diag_indices_from(W)] += ridge
    try:
        # the transpose is the same matrix in LAPACK's order: no copy is made
        return cholesky(W.T, lower=True, overwrite_a=True, check_finite=False)
    except np.linalg.LinAlgError:
        s, V = np.linalg.eigh(S)
        root = V * np.sqrt(np.maximum(s, 0) + ridge)
        return np.asarray(np.linalg.qr(root.T, mode="r")).T


def posterior(
    fitted: Discriminant, residual: Float64[np.ndarray, "n k"], labels: Int[np.ndarray, " n"]
) -> Float64[np.ndarray, "n C"]:
    """p(c|x) of rows x = m_y + residual.

    Args:
        fitted: the posterior.
        residual: rows minus the mean of their class.
        labels: y, the class of every row.

    Returns:
        Probabilities of every row.
    """
    logits = residual @ fitted.weights
    logits -= np.take_along_axis(logits, labels[:, None], axis=1)
    logits += np.log(fitted.priors) - fitted.distances[labels] / 2
    logits -= logits.max(1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(1, keepdims=True)
    return logits


def own(
    probabilities: Float64[np.ndarray, "n C"], labels: Int[np.ndarray, " n"]
) -> Float64[np.ndarray, " n"]:
    """p(y_n|x_n), the probability of the own class.

    Args:
        probabilities: of every row.
        labels: the class of every row.

    Returns:
        One probability per row.
    """
    return probabilities[np.arange(len(labels)), labels]
