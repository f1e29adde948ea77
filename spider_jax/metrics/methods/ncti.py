"""NCTI: how near the features are to neural collapse, relative to the rest of the zoo."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int
from numpy.typing import ArrayLike

from spider_jax.errors import InputError
from spider_jax.metrics.shared.discriminant import (
    Discriminant,
    fit_discriminant,
    own,
    posterior,
    shrinkage,
)
from spider_jax.metrics.shared.inputs import check_features, check_labels
from spider_jax.metrics.shared.statistics import Statistics
from spider_jax.runtime.blas import one_blas_thread

SHRINKAGE_VARIANCES = 32


class NctiParts(NamedTuple):
    """What NCTI says of one model before it is compared with the others.

    Attributes:
        seli: nuclear norm of the coordinates on the discriminants.
        ncc: mean posterior of the own class.
        vc: ln of the summed nuclear norms of the classes' posteriors; smaller is more collapsed.
    """

    seli: float
    ncc: float
    vc: float


def ncti_parts(features: ArrayLike, labels: ArrayLike, *, components: int = 64) -> NctiParts:
    """The three parts of NCTI, which says how near the features are to neural collapse.

    (|Z E|_*, mean_n p(y_n|z_n), ln sum_c |P_c|_*) of principal coordinates Z [N, V].
    p(c|z) = softmax_c(m_c^T W^-1 z - 1/2 m_c^T W^-1 m_c + ln n_c/N), W = (1 - l) S_w +
    l tr(S_w)/V I, l = max(exp(-sum of the 32 largest variances), 1e-10) with variances of 1/(N - 1)
    and S_w of 1/N; E the min(C - 1, V) leading generalised eigenvectors of (between, W),
    E^T W E = I; P_c the posteriors [n_c, C] of the rows of class c; |.|_* the nuclear norm.

    These are not a score. NCTI is `combine_ncti` of the parts of a whole zoo, so a model's score
    depends on which other models are in it, and changes when one is added.

    Range: seli >= 0, ncc in (0, 1], vc in [ln(N/C) / 2, ln N]; of the scores [-1, 2]. Larger is
    better, except in vc. Neither parts nor scores compare across tasks.
    Cost: the leading directions, then O(N V (V + C) + N C min(C, N/C)).
    N < D: the coordinates are defined as for N > D; where V > N - C the classes separate perfectly.
    A class of one sample: its mean is that sample.
    A constant feature: no effect. All features constant:
    (0, sum_c (n_c/N)^2, ln sum_c sqrt(n_c) |n/N|).

    Args:
        features: [N, D] numbers.
        labels: [N] int.
        components: principal directions at most; those below the rank tolerance are left out.

    Returns:
        The three parts.

    Raises:
        InputError: components < 1, shapes that do not match, values that are not finite, one
            class only.

    References:
        Wang et al., "How far pre-trained models are from neural collapse on the target dataset
        informs their transferability", ICCV 2023. The published code takes the between-scatter as
        the shrunk total scatter less W, where here it is that of the class means: its seli differs.
    """
    F = check_features(features)
    return ncti_parts_of(Statistics(F, check_labels(labels, len(F))), components=components)


def ncti_parts_of(given: Statistics, *, components: int = 64) -> NctiParts:
    """The parts of shared statistics.

    Args:
        given: statistics of features and classes.
        components: as in `ncti_parts`.

    Returns:
        The three parts.

    Raises:
        InputError: components < 1.
    """
    if components < 1:
        raise InputError(f"components must be at least 1, got {components}")
    Z = given.coordinates(components)
    with one_blas_thread():  # all is small from here: two threads take 2 to 5 times as long
        return _parts(given, Z)


def _parts(given: Statistics, Z: Float64[np.ndarray, "N V"]) -> NctiParts:
    counts, V, y = given.total, Z.shape[1], np.asarray(given.labels, np.int64)
    means = given.targets().T @ Z / counts[:, None]
    residual = Z - means[y]
    sums = (Z**2).sum(0)
    shrink = shrinkage(float(sums[:SHRINKAGE_VARIANCES].sum()) / (given.n - 1))
    fitted = fit_discriminant(
        means,
        counts,
        residual.T @ residual / given.n,
        shrink=shrink,
        width=V,
        size=float(sums.sum()) / given.n,
    )
    ncc, vc = _collapse(fitted, residual, y)
    return NctiParts(_seli(fitted, sums), ncc, vc)


def _seli(fitted: Discriminant, sums: Float64[np.ndarray, " V"]) -> float:
    """Nuclear norm of Z E. It is that of diag(sqrt sums) E, because Z^T Z = diag(sums)."""
    from scipy.linalg import solve_triangular

    C, V = fitted.white.shape[1], len(sums)
    if V == 0:
        return 0.0
    Q = np.linalg.svd(fitted.white * np.sqrt(fitted.priors), full_matrices=True)[0]
    E = solve_triangular(fitted.factor, Q[:, : min(C - 1, V)], lower=True, trans="T")
    return _nuclear_norm(np.sqrt(sums)[:, None] * E)


def _collapse(
    fitted: Discriminant, residual: Float64[np.ndarray, "N V"], y: Int[np.ndarray, " N"]
) -> tuple[float, float]:
    """Mean posterior of the own class, and ln of the classes' summed nuclear norms."""
    order = np.argsort(y, kind="stable")
    starts = np.searchsorted(y[order], np.arange(1, len(fitted.priors)))
    right, norms = 0.0, 0.0
    for rows in np.split(order, starts):
        P = posterior(fitted, residual[rows], y[rows])
        right += own(P, y[rows]).sum()
        norms += _nuclear_norm(P)
    return float(right / len(y)), float(np.log(norms))


def _nuclear_norm(A: Float64[np.ndarray, "n m"]) -> float:
    return float(np.linalg.svd(A, compute_uv=False).sum())


def combine_ncti(parts: ArrayLike) -> Float64[np.ndarray, " M"]:
    """minmax(seli) + minmax(ncc) - minmax(vc) over the models of a zoo, larger is better.

    Args:
        parts: [M, 3] of M models; a row with NaN is a model that could not be scored.

    Returns:
        Scores in [-1, 2], NaN where a part is NaN; a part that is equal for all models adds 0.

    Raises:
        InputError: another shape.

    >>> combine_ncti([[1.0, 0.5, 3.0], [2.0, 0.5, 2.0], [np.nan, 0.5, 2.0]]).tolist()
    [-1.0, 1.0, nan]
    """
    table = np.asarray(parts, np.float64)
    if table.ndim != 2 or table.shape[1] != len(NctiParts._fields):
        raise InputError(f"parts must be numbers [M, 3], got {table.shape}")
    scores = np.full(len(table), np.nan)
    there = ~np.isnan(table).any(1)
    if there.any():
        known = table[there]
        low, width = known.min(0), np.ptp(known, axis=0)
        seli, ncc, vc = ((known - low) / np.where(width > 0, width, 1)).T
        scores[there] = seli + ncc - vc
    return scores
