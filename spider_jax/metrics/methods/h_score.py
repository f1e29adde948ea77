"""H-Score: how much of the features' variance the classes explain, direction by direction."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from spider_jax.metrics.shared.inputs import check_features, check_labels
from spider_jax.metrics.shared.statistics import Statistics


def h_score(features: ArrayLike, labels: ArrayLike, *, standardize: bool = False) -> float:
    """tr(cov(F)^+ cov(E[F|y])) = sum_c |U^T y_c|^2 / n_c, F - mean = U diag(sqrt s) V^T.

    Range: [0, C - 1]; larger is better; its maximum depends on C, so it does not compare tasks.
    Cost: O(N D min(N, D)). N <= D: pure noise reaches the maximum C - 1, so it says nothing there:
    use `h_score_shrunk`. A class of one sample: its mean is that sample. A constant feature: no
    effect. All features constant: 0.

    Args:
        features: [N, D] numbers. labels: [N] int.
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
    """H-Score of shared statistics."""
    return float(((given.centred_spectrum.x**2).sum(0) / given.total).sum())


def h_score_shrunk(features: ArrayLike, labels: ArrayLike, *, standardize: bool = False) -> float:
    """tr(cov_a^-1 (1 - a) cov(E[F|y])), cov_a = (1 - a) cov + a (tr cov / D) I.

    a is the Ledoit-Wolf shrinkage; both covariances are of centred features, with 1/N.

    Range: [0, C - 1]; larger is better; its maximum depends on C, so it does not compare tasks.
    Cost: O(N D min(N, D)). N < D: well-defined through the shrinkage (the unshrunk form reaches
    C - 1 on pure noise). A class of one sample: its mean is that sample. A constant feature: 0
    variance, only the shrinkage target counts it. All features constant: 0.

    Args:
        features: [N, D] numbers. labels: [N] int.
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
    """Shrunk H-Score of shared statistics."""
    scalars = np.float64(given.n), np.float64(given.width), np.float64(given.moments.quartic)
    # in NumPy: XLA's LAPACK brings threads of its own, which cost 30 ms on two cores
    return float(h_score_core(*given.centred, given.total, *scalars, xp=np))


def h_score_core(
    gram: Any,
    left: Any,
    right: Any,
    counts: Any,
    n: Any,
    width: Any,
    quartic: Any,
    *,
    xp: Any = jnp,
) -> Any:
    """Shrunk H-Score of a centred side, padded or not: one solve, no eigenvalues.

    Args:
        gram: [k, k]. left, right: [k, C]. counts: [C]. n, width, quartic: as in `Statistics`.
        xp: jax.numpy, or numpy.
    """
    shrinkage, target = ledoit_wolf(gram, n, width, quartic, xp=xp)
    ridge = n * shrinkage * target
    # rounding must not make a rank-deficient side singular where the shrinkage is 0
    floor = 1e-13 * xp.trace(gram)
    ridge = xp.where(floor > 0, xp.maximum(ridge, floor), 1.0)
    shrunk = (1 - shrinkage) * gram
    if xp is np:
        shrunk.flat[:: len(gram) + 1] += ridge  # of one model: no more matrices of that size
    else:
        shrunk += ridge * xp.eye(len(gram), dtype=gram.dtype)
    explained = (left * xp.linalg.solve(shrunk, right)).sum(0) / xp.maximum(counts, 1)
    return (1 - shrinkage) * explained.sum()


def ledoit_wolf(gram: Any, n: Any, width: Any, quartic: Any, *, xp: Any = jnp) -> tuple[Any, Any]:
    """Shrinkage min(b2, d2)/d2 and the target variance tr(S)/D, from either side's Gram matrix.

    S = gram / n: |S|^2 and tr S are those of both sides; quartic = sum_n |f_n|^4, centred.
    """
    target = xp.trace(gram) / n / width
    norm = xp.vdot(gram, gram) / n**2
    distance = norm - width * target**2
    spread = (quartic - n * norm) / n**2
    flat = distance <= 1e-15 * norm
    shrinkage = xp.clip(spread / xp.where(flat, 1.0, distance), 0.0, 1.0)
    return xp.where(flat, 0.0, shrinkage), target
