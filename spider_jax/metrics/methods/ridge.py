"""Ridge: leave-one-out accuracy of a ridge classifier, in closed form."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from numpy.typing import ArrayLike

from spider_jax.metrics.shared.inputs import check_features, check_labels
from spider_jax.metrics.shared.statistics import Statistics
from spider_jax.runtime.buckets import CLASS_BUCKET, ROW_BUCKET, pad, run

BLOCKED_FROM = 1 << 16  # rows: with more, U and what is made of it would take 14 kB a row
BLOCKED_NUMBERS = 1 << 25  # of rows times features and classes: with more it would pass 1 GB
NEAR = 1e-5  # of two predictions: the rounding of float32 sums is below 1e-6
PENALTIES = tuple(float(p) for p in 10.0 ** np.arange(-3, 2))


def ridge(features: ArrayLike, labels: ArrayLike, *, standardize: bool = True) -> float:
    """Leave-one-out accuracy of ridge regression on class indicators, with intercept.

    Left-out prediction of row n: y_n - (y_n - p_n)/(1 - h_n), p = H y, H the ridge hat matrix with
    intercept; the penalty, from 1e-3 to 10 times the mean eigenvalue, minimises the summed
    squared left-out error.

    Range: [0, 1]; larger is better. It compares across tasks as accuracies do.
    Cost: O(N D min(N, D)); where N > D in blocks of rows beyond 65,536 rows or
    N (D + C) = 2^25: the same number but for rounding.
    N < D: no special case.
    A class of one sample: that row is always missed.
    A constant feature: no effect.
    It is a probe: nearly the ground truth on frozen features, not a proxy of it.

    Args:
        features: [N, D] numbers.
        labels: [N] int.
        standardize: standardise the columns of the features first (on by default).

    Returns:
        The accuracy, a float.

    Raises:
        InputError: shapes that do not match, values that are not finite, one class only.

    References:
        Hastie, Tibshirani, Friedman, "The elements of statistical learning", section 7.10.
    """
    F = check_features(features)
    return ridge_of(Statistics(F, check_labels(labels, len(F)), standardize=standardize))


def ridge_of(given: Statistics) -> float:
    """Ridge of shared statistics.

    Args:
        given: statistics of features and classes.

    Returns:
        The accuracy.
    """
    many = given.n > BLOCKED_FROM or given.n * (given.width + given.classes) > BLOCKED_NUMBERS
    if given.tall and many:
        return _in_blocks(given)
    s, U = given.left_vectors()
    U, Y = pad(U, ROW_BUCKET, ROW_BUCKET), pad(given.targets(), ROW_BUCKET, CLASS_BUCKET)
    rows = np.arange(len(U)) < given.n
    return float(run(ridge_core, pad(s, ROW_BUCKET), U, Y, rows, np.float64(given.n)))


def _in_blocks(given: Statistics) -> float:
    """The same number with a block of rows in memory: x = U^T Y comes from the Gram matrix.

    The products of all penalties are taken in float32. Rows whose two best classes are then nearer
    than its rounding are done again in float64.
    """
    s, x, _ = given.centred_spectrum
    mean = given.total / given.n
    penalties = np.array(PENALTIES) * (s.sum() / given.n or 1.0)
    keep = s / (s + penalties[:, None])
    weights = [(kept[:, None] * x).astype(np.float32) for kept in keep]
    errors, hits = np.zeros(len(penalties)), np.zeros(len(penalties))
    for where, U in given.left_blocks():
        truth = given.targets(where)
        Y, answer, rough = truth - mean, truth.argmax(1), U.astype(np.float32)
        leverage = U**2 @ keep.T + 1 / given.n
        for i, scale in enumerate(1 / (1 - np.minimum(leverage.T, 1 - 1e-9))):
            error = (Y - rough @ weights[i]) * scale[:, None]
            left_out = truth - error
            best = left_out.max(1) - NEAR * scale
            close = np.flatnonzero((left_out >= best[:, None]).sum(1) > 1)
            error[close] = (Y[close] - (U[close] * keep[i]) @ x) * scale[close, None]
            left_out[close] = truth[close] - error[close]
            errors[i] += np.einsum("nc,nc->", error, error)
            hits[i] += (left_out.argmax(1) == answer).sum()
    return float(hits[errors.argmin()] / given.n)


def ridge_core(
    s: Float[Array, " k"],
    U: Float[Array, "N k"],
    targets: Float[Array, "N C"],
    rows: Bool[Array, " N"],
    n: Float[Array, ""],
) -> Float[Array, ""]:
    """Leave-one-out ridge accuracy at the best penalty, from a centred spectrum, padded.

    Args:
        s: eigenvalues, as `Statistics.left_vectors` gives them.
        U: left singular vectors, as `Statistics.left_vectors` gives them.
        targets: one-hot classes.
        rows: which rows are real.
        n: how many rows are real.

    Returns:
        The accuracy.
    """
    real = rows[:, None].astype(s.dtype)
    classes = targets.sum(0) > 0
    mean = targets.sum(0) / n
    Y = (targets - mean[None]) * real
    x = U.T @ Y
    scale = s.sum() / n

    def left_out(penalty: float) -> tuple[Array, Array]:
        keep = s / (s + jnp.where(scale > 0, penalty * scale, 1.0))
        leverage = U**2 @ keep + 1 / n
        error = (Y - (U * keep[None]) @ x) / (1 - jnp.minimum(leverage, 1 - 1e-9))[:, None] * real
        # the intercept is refitted too: it is row 1/n of the hat matrix
        winner = jnp.where(classes[None], Y - error + mean[None], -jnp.inf).argmax(1)
        hit = jnp.take_along_axis(targets, winner[:, None], axis=1)[:, 0]
        return (error**2).sum(), jnp.where(rows, hit, 0.0).sum() / n

    errors, accuracies = map(jnp.stack, zip(*map(left_out, PENALTIES), strict=True))
    return accuracies[errors.argmin()]
