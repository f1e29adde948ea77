"""Models that fine-tune alike: clusters by their largest gaps, and a representative of each."""

import numpy as np
from jaxtyping import Float64, Int

from spider_jax.errors import InputError

FAR = 1e7  # models with too little in common: no average with it falls below a threshold


def model_distances(
    accuracies: Float64[np.ndarray, "M T"], *, k: int = 5
) -> Float64[np.ndarray, "M M"]:
    """How far apart two models are: the mean of their k largest gaps.

    d(i, j) = mean of the k largest |A[i, t] - A[j, t]| over the tasks that both have; FAR where
    they have k tasks or fewer in common, as the published rule says.

    Args:
        accuracies: results, NaN where one is missing.
        k: how many gaps.

    Returns:
        Distances, symmetric, 0 on the diagonal.

    Raises:
        InputError: no matrix, or k < 1.

    References:
        Cui et al., "A two-phase recall-and-select framework for fast model selection", ICDE 2024.
    """
    if accuracies.ndim != 2 or k < 1:
        raise InputError(f"accuracies must be [M, T] and k >= 1, got {accuracies.shape}, k={k}")
    M, T = accuracies.shape
    distances = np.full((M, M), FAR)
    for i in range(M if k < T else 0):  # one row at a time: memory stays at M x T
        gaps = np.abs(accuracies - accuracies[i][None])
        common = np.isfinite(gaps).sum(1)
        largest = np.partition(np.nan_to_num(gaps, nan=-np.inf), T - k, axis=1)[:, T - k :]
        distances[i] = np.where(common > k, largest.mean(1), FAR)
    np.fill_diagonal(distances, 0.0)
    return distances


def cluster_models(
    distances: Float64[np.ndarray, "M M"], threshold: float
) -> Int[np.ndarray, " M"]:
    """Agglomerative clusters: the closest two merge while their mean distance is <= threshold.

    Args:
        distances: from `model_distances`.
        threshold: in units of accuracy; .09 (language) and .03 (vision) are published.

    Returns:
        The cluster of every model, numbered by first appearance.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    M = len(distances)
    if M < 2:
        return np.zeros(M, np.int64)
    tree = linkage(squareform(distances, checks=False), method="average")
    labels = fcluster(tree, threshold, criterion="distance")
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse].astype(np.int64)


def representatives(
    means: Float64[np.ndarray, " M"], clusters: Int[np.ndarray, " M"]
) -> Int[np.ndarray, " R"]:
    """The model with the best mean of every cluster of more than one model.

    Args:
        means: mean accuracy of every model; NaN counts as the worst.
        clusters: from `cluster_models`.

    Returns:
        Positions of R models, in the order of the clusters; of equal means the first model.
    """
    known = np.nan_to_num(means, nan=-np.inf)
    members = [np.flatnonzero(clusters == c) for c in range(clusters.max(initial=-1) + 1)]
    best = [group[known[group].argmax()] for group in members if len(group) > 1]
    return np.array(best, np.int64)
