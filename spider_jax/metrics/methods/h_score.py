"""H-Score: how much of the features' variance the classes explain, direction by direction."""

from types import ModuleType

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import ArrayLike

from spider_jax.metrics.shared.inputs import check_features, check_labels
from spider_jax.metrics.shared.statistics import Statistics

Number = Float[Array | np.ndarray, ""] | np.float64


def h_score(features: ArrayLike, labels: ArrayLike, *, standardize: bool = False) -> float:
    """The share of the features' variance that the classes explain, summed over the directions.

    tr(cov(F)^+ cov(E[F|y])) = sum_c |U^T y_c|^2 / n_c, F - mean = U diag(sqrt s) V^T.

    Range: [0, C - 1]; larger is better. Its maximum depends on C, so it does not compare tasks.
    Cost: O(N D min(N, D)).
    N <= D: pure noise reaches the maximum C - 1, so the score says nothing: use `h_score_shrunk`.
    A class of one sample: its mean is that sample.
    A constant feature: no effect. All features constant: 0.

    Args:
        features: [N, D] numbers.
        labels: [N] int.
        standardize: standardise the columns of the features first.

    Returns:
        The score, a float. Directions whose variance is below 1e-12 of the largest are left out.

    Raises:
        InputError: shapes that do not match, values that are not finite, one class only.

    References:
        Bao et al., "An information-theoretic approach to transferability", ICIP 2019. Published
        code inverts with pinv(rcond=1e-15): in float32 that inverts rounding, and the score
        exceeds C - 1.
    """
    F = check_features(features)
    return h_score_of(Statistics(F, check_labels(labels, len(F)), standardize=standardize))


def h_score_of(given: Statistics) -> float:
    """H-Score of shared statistics.

    Args:
        given: statistics of features and classes.

    Returns:
        The score.
    """
    return float(((given.centred_spectrum.x**2).sum(0) / given.total).sum())


def h_score_shrunk(features: ArrayLike, labels: ArrayLike, *, standardize: bool = False) -> float:
    """H-Score with the covariance of the features shrunk, so that it also holds for few samples.

    tr(cov_a^-1 (1 - a) cov(E[F|y])), cov_a = (1 - a) cov + a (tr cov / D) I, with a the shrinkage
    of Ledoit and Wolf; both covariances are of centred features, with 1/N.

    Range: [0, C - 1]; larger is better. Its maximum depends on C, so it does not compare tasks.
    Cost: O(N D min(N, D)).
    N < D: well-defined through the shrinkage (`h_score` reaches C - 1 on pure noise).
    A class of one sample: its mean is that sample.
    A constant feature: its variance is 0, only the shrinkage target counts it. All features
    constant: 0.

    Args:
        features: [N, D] numbers.
        labels: [N] int.
        standardize: standardise the columns of the features first.

    Returns:
        The score, a float.

    Raises:
        InputError: shapes that do not match, values that are not finite, one class only.

    References:
        Bao et al., "An information-theoretic approach to transferability", ICIP 2019; Ibrahim et
        al., "Newer is not always better", 2021; Ledoit and Wolf, 2004. Published code mixes 1/N
        and 1/(N - 1), which multiplies the score by N/(N - 1).
    """
    F = check_features(features)
    return h_score_shrunk_of(Statistics(F, check_labels(labels, len(F)), standardize=standardize))


def h_score_shrunk_of(given: Statistics) -> float:
    """Shrunk H-Score of shared statistics.

    Args:
        given: statistics of features and classes.

    Returns:
        The score.
    """
    scalars = np.float64(given.n), np.float64(given.width), np.float64(given.moments.quartic)
    # in NumPy: XLA's LAPACK has threads of its own, which cost 30 ms on two cores
    return float(_shrunk_score(np, *given.centred, given.total, *scalars))


def h_score_core(
    gram: Float[Array | np.ndarray, "k k"],
    left: Float[Array | np.ndarray, "k C"],
    right: Float[Array | np.ndarray, "k C"],
    counts: Float[Array | np.ndarray, " C"],
    n: Number,
    width: Number,
    quartic: Number,
) -> Float[Array, ""]:
    """Shrunk H-Score of a centred side, padded or not: one solve, no eigenvalues.

    Args:
        gram: as in `Side`.
        left: as in `Side`.
        right: as in `Side`.
        counts: rows of every class; 0 for padding.
        n: N, without padding.
        width: D, without padding.
        quartic: as in `Moments`.

    Returns:
        The score.
    """
    return jnp.asarray(_shrunk_score(jnp, gram, left, right, counts, n, width, quartic))


def _shrunk_score(
    xp: ModuleType,
    gram: Float[Array | np.ndarray, "k k"],
    left: Float[Array | np.ndarray, "k C"],
    right: Float[Array | np.ndarray, "k C"],
    counts: Float[Array | np.ndarray, " C"],
    n: Number,
    width: Number,
    quartic: Number,
) -> Number:
    """`h_score_core` in jax.numpy, or in numpy for arrays of NumPy."""
    shrinkage, target = _ledoit_wolf(xp, gram, n, width, quartic)
    ridge = n * shrinkage * target
    # rounding must not make a rank-deficient side singular where the shrinkage is 0
    floor = 1e-13 * xp.trace(gram)
    ridge = xp.where(floor > 0, xp.maximum(ridge, floor), 1.0)
    shrunk = (1 - shrinkage) * gram
    if isinstance(shrunk, np.ndarray):
        shrunk.flat[:: len(gram) + 1] += ridge  # in place: no further matrix of that size
    else:
        shrunk += ridge * xp.eye(len(gram), dtype=gram.dtype)
    explained = (left * xp.linalg.solve(shrunk, right)).sum(0) / xp.maximum(counts, 1)
    return (1 - shrinkage) * explained.sum()


def _ledoit_wolf(
    xp: ModuleType,
    gram: Float[Array | np.ndarray, "k k"],
    n: Number,
    width: Number,
    quartic: Number,
) -> tuple[Number, Number]:
    """Shrinkage min(b2, d2)/d2 and target variance tr(S)/D, from the Gram matrix of either side.

    S = gram / n has the same |S|^2 and tr S on both sides. d2 = |S|^2 - tr(S)^2/D is its distance
    from the target tr(S)/D I, b2 = (sum_n |f_n|^4 - n |S|^2) / n^2 the expected error of S.
    """
    target = xp.trace(gram) / n / width
    norm = xp.vdot(gram, gram) / n**2
    distance = norm - width * target**2
    error = (quartic - n * norm) / n**2
    flat = distance <= 1e-15 * norm
    shrinkage = xp.clip(error / xp.where(flat, 1.0, distance), 0.0, 1.0)
    return xp.where(flat, 0.0, shrinkage), target
