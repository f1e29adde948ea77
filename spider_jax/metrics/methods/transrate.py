"""TransRate: how many bits fewer the features need once the classes are known."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float64, Int
from numpy.typing import ArrayLike

from spider_jax.errors import InputError
from spider_jax.metrics.shared import statistics
from spider_jax.metrics.shared.inputs import check_features, check_labels
from spider_jax.metrics.shared.statistics import Statistics

LEAST_EPSILON = 1e-9  # below it the rounding of a Gram matrix would count as a code
STEEP = 1e12  # beyond it a Cholesky factor loses the identity: a class far out among many rows


def transrate(features: ArrayLike, labels: ArrayLike, *, epsilon: float = 1e-4) -> float:
    """How much lower the coding rate of the features is once the classes are known.

    R(Z, N) - sum_c n_c/N R(Z_c, n_c), R(A, n) = 1/2 ln det(I + A^T A / (n epsilon)) the coding rate
    in nats. Z: features minus their mean, scaled to a mean squared row length of 1; Z_c: its rows
    of class c, about the same mean.

    Range: [0, inf); larger is better. It depends on C, so it does not compare tasks.
    Cost: O(N D min(N, D)), and a Cholesky factor per class, of n_c or D rows, whichever is less.
    N < D: the score grows with noise as N shrinks, because the rate of all rows counts directions
    that no class needs.
    A class of one sample: the rate of that row.
    A constant feature: no effect. All features constant: 0.

    Args:
        features: [N, D] numbers.
        labels: [N] int.
        epsilon: distortion allowed to a row, a share of the mean squared length; 1e-9 at least.

    Returns:
        The score, a float. Scale and shift of the features do not change it.

    Raises:
        InputError: epsilon below 1e-9 or not finite, shapes that do not match, values that are not
            finite, one class only.

    References:
        Huang et al., "Frustratingly easy transferability estimation", ICML 2022. The public codes
        that were run (TLlib's and its copies) take the plain mean of the classes' rates (1/C) and
        depend on the scale of the features; the paper weights by n_c/N, as here.
    """
    F = check_features(features)
    return transrate_of(Statistics(F, check_labels(labels, len(F))), epsilon=epsilon)


def transrate_of(given: Statistics, *, epsilon: float = 1e-4) -> float:
    """TransRate of shared statistics.

    Args:
        given: statistics of features and classes.
        epsilon: as in `transrate`.

    Returns:
        The score.

    Raises:
        InputError: epsilon below 1e-9 or not finite.
    """
    if not LEAST_EPSILON <= epsilon < np.inf:
        raise InputError(f"epsilon must be finite and at least {LEAST_EPSILON}, got {epsilon}")
    gram = given.centred.gram
    square = np.trace(gram)
    if square <= 0:
        return 0.0
    noise = epsilon * square / given.n  # in the units of the features
    within = 0.0
    for count, own in zip(given.total, _class_grams(given), strict=True):
        within += count / given.n * _rate(own, noise * count)
    return max(0.0, _rate(gram, noise * given.n) - within)


def _rate(gram: Float64[np.ndarray, "k k"], noise: float) -> float:
    """1/2 ln det(I + gram / noise)."""
    scaled = gram / noise
    if np.trace(scaled) > STEEP:
        s = np.linalg.eigvalsh(scaled)
        return float(np.log1p(np.where(s > statistics.RANK_TOLERANCE * s[-1], s, 0)).sum() / 2)
    scaled[np.diag_indices_from(scaled)] += 1
    return float(np.log(np.diagonal(np.linalg.cholesky(scaled))).sum())


def _class_grams(given: Statistics) -> Iterator[Float64[np.ndarray, "_ _"]]:
    """The smaller Gram matrix of every class, about the mean of all rows."""
    labels: Any = given.labels
    order = np.argsort(labels, kind="stable")
    for rows in np.split(order, np.cumsum(given.total.astype(np.int64))[:-1]):
        if not given.tall:
            yield given.centred.gram[np.ix_(rows, rows)]
        elif len(rows) <= given.width:
            block = given.take(rows) - given.moments.mean
            yield block @ block.T
        else:
            yield _tall_gram(given, rows)


def _tall_gram(given: Statistics, rows: Int[np.ndarray, " n"]) -> Float64[np.ndarray, "D D"]:
    """F_c^T F_c of more rows than columns, in blocks."""
    size = max(1, statistics.BLOCK_NUMBERS // given.width)
    gram = np.zeros((given.width, given.width))
    for start in range(0, len(rows), size):
        block = given.take(rows[start : start + size]) - given.moments.mean
        gram += block.T @ block
    return gram
