"""GBC: how much the classes overlap, each taken for a Gaussian."""

import numpy as np
from jaxtyping import Float64, Int
from numpy.typing import ArrayLike

from spider_jax.errors import InputError
from spider_jax.metrics.shared.inputs import check_features, check_labels
from spider_jax.metrics.shared.statistics import Statistics

COVARIANCES = ("diagonal", "spherical")
FLOOR = 1e-4  # of the mean square of the coordinates


def gbc(
    features: ArrayLike,
    labels: ArrayLike,
    *,
    components: int = 64,
    covariance: str = "diagonal",
) -> float:
    """Minus the overlap of the classes, summed over pairs, each class taken for a Gaussian.

    -sum_{i != j} exp(-DB_ij), DB the Bhattacharyya distance of two classes:
    DB_ij = 1/8 sum (m_i - m_j)^2 / v + 1/2 sum ln(v / sqrt(v_i v_j)), v = (v_i + v_j)/2, over the
    principal coordinates; m_c and v_c are the mean and the variance (1/n_c) of class c in each.

    Range: [-C (C - 1), 0], both orders of a pair counted; larger is better. Its minimum depends on
    C, so it does not compare tasks.
    Cost: O(N D min(N, D)) for the coordinates, then O(C^2 k).
    N < D: no special case, but the k coordinates overfit small N.
    A class of one sample: its variance is the floor.
    A constant feature: no effect. All features constant: -C (C - 1).

    Args:
        features: [N, D] numbers.
        labels: [N] int.
        components: k, how many leading principal coordinates to use; fewer where the rank is lower.
        covariance: "diagonal", or "spherical": v_c is its mean over the coordinates.

    Returns:
        The score, a float. Variances are at least 1e-4 of the mean square of the coordinates.

    Raises:
        InputError: components < 1, an unknown covariance, shapes that do not match, values that
            are not finite, one class only.

    References:
        Pandy et al., "Transferability estimation using Bhattacharyya class separability", CVPR
        2022. The published floor is 1e-4 whatever the scale of the features (here relative: the
        score does not change with the scale). Model Spider's copy adds 1e-5 to determinants of
        full covariances, which are singular up to n_c = 64: coefficients can exceed 1.
    """
    F = check_features(features)
    given = Statistics(F, check_labels(labels, len(F)))
    return gbc_of(given, components=components, covariance=covariance)


def gbc_of(given: Statistics, *, components: int = 64, covariance: str = "diagonal") -> float:
    """GBC of shared statistics.

    Args:
        given: statistics of features and classes.
        components: as in `gbc`.
        covariance: as in `gbc`.

    Returns:
        The score.

    Raises:
        InputError: components < 1, or an unknown covariance.
    """
    if components < 1:
        raise InputError(f"components must be at least 1, got {components}")
    if covariance not in COVARIANCES:
        raise InputError(f'covariance must be "diagonal" or "spherical", got {covariance!r}')
    Z, labels, C = given.coordinates(components), np.asarray(given.labels, np.int64), given.classes
    if not Z.shape[1]:
        return -float(C * (C - 1))
    floor = FLOOR * np.einsum("nk,nk->", Z, Z) / Z.size
    means, variances = _class_moments(Z, labels, given.total)
    if covariance == "spherical":
        variances = variances.mean(1, keepdims=True)
    return -2 * _overlap(means, np.maximum(variances, floor))


def _class_moments(
    Z: Float64[np.ndarray, "N k"], labels: Int[np.ndarray, " N"], counts: Float64[np.ndarray, " C"]
) -> tuple[Float64[np.ndarray, "C k"], Float64[np.ndarray, "C k"]]:
    """Mean and variance of every class in every column."""
    means, variances = np.empty((2, len(counts), Z.shape[1]))
    for j, z in enumerate(Z.T):
        means[:, j] = np.bincount(labels, z) / counts
        variances[:, j] = np.bincount(labels, (z - means[labels, j]) ** 2) / counts
    return means, variances


def _overlap(means: Float64[np.ndarray, "C k"], variances: Float64[np.ndarray, "C _"]) -> float:
    """sum_{i < j} exp(-DB_ij); variances are [C, k], or [C, 1] for all columns."""
    each = means.shape[1] / variances.shape[1]  # columns of a variance
    logs, total = np.log(variances).sum(1), 0.0
    for i in range(len(means) - 1):
        shared = (variances[i] + variances[i + 1 :]) / 2
        apart = ((means[i] - means[i + 1 :]) ** 2 / shared).sum(1) / 8
        wider = np.log(shared).sum(1) - (logs[i] + logs[i + 1 :]) / 2
        total += np.exp(-apart - each * wider / 2).sum()
    return float(total)
