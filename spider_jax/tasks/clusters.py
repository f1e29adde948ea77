"""Classes for data that have none: k-means of features, quantile bins of targets."""

import numpy as np
from jaxtyping import Float, Int64, Num
from numpy.typing import NDArray

from spider_jax.errors import InputError

STEPS = 50
BLOCK_NUMBERS = 1 << 22


def k_means(
    features: Float[np.ndarray, "N D"], clusters: int, seed: int
) -> Int64[np.ndarray, " N"]:
    """Cluster 0..K-1 of every row: k-means++, then Lloyd's steps until no row moves.

    Args:
        features: [N, D], finite.
        clusters: K, at most the number of distinct rows.
        seed: of the first centres; the same seed gives the same clusters.

    Returns:
        int64 [N]; every cluster has a row.

    Raises:
        InputError: fewer than two clusters, or fewer distinct rows than clusters.
    """
    if clusters < 2:
        raise InputError(f"clusters must be at least 2, got {clusters}")
    F = np.asarray(features, np.float64)
    centres = _seeds(F, clusters, np.random.default_rng(seed))
    labels = _nearest(F, centres)[0]
    for _ in range(STEPS):
        members = np.eye(clusters)[labels]
        centres = members.T @ F / np.maximum(members.sum(0), 1)[:, None]
        moved, distances = _nearest(F, centres)
        _fill(moved, distances, clusters)
        if (moved == labels).all():
            break
        labels = moved
    return labels


def _seeds(F: NDArray[np.float64], K: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Rows drawn by squared distance from those drawn before."""
    chosen = [int(rng.integers(len(F)))]
    far = np.square(F - F[chosen[0]]).sum(1)
    while len(chosen) < K:
        if far.sum() == 0:
            raise InputError(f"{K} clusters need as many different rows, got {len(chosen)}")
        chosen.append(int(rng.choice(len(F), p=far / far.sum())))
        far = np.minimum(far, np.square(F - F[chosen[-1]]).sum(1))
    return F[chosen]


def _nearest(
    F: NDArray[np.float64], centres: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The nearest centre of every row, and its squared distance."""
    labels, distances = np.empty(len(F), np.int64), np.empty(len(F))
    step = max(1, BLOCK_NUMBERS // len(centres))
    for start in range(0, len(F), step):
        block = F[start : start + step]
        squared = (block**2).sum(1)[:, None] - 2 * block @ centres.T + (centres**2).sum(1)
        here = squared.argmin(1)
        labels[start : start + step] = here
        distances[start : start + step] = squared[np.arange(len(block)), here]
    return labels, distances


def _fill(labels: NDArray[np.int64], distances: NDArray[np.float64], K: int) -> None:
    """An empty cluster takes the row that lies farthest from its centre, in place."""
    for cluster in np.flatnonzero(np.bincount(labels, minlength=K) == 0):
        others = np.bincount(labels, minlength=K)[labels] > 1
        row = int(np.where(others, distances, -np.inf).argmax())
        labels[row], distances[row] = cluster, -np.inf


def quantile_bins(targets: Num[np.ndarray, " N"], bins: int) -> Int64[np.ndarray, " N"]:
    """Bin 0..B-1 of every target: edges at the quantiles 1/B, 2/B, ...

    Equal targets share a bin, so there may be fewer bins than asked for.

    Args:
        targets: [N], finite.
        bins: B.

    Returns:
        int64 [N]; every bin has a row.

    Raises:
        InputError: fewer than two bins.

    >>> quantile_bins(np.array([3.0, 1.0, 2.0, 10.0]), 2)
    array([1, 0, 0, 1])
    """
    if bins < 2:
        raise InputError(f"bins must be at least 2, got {bins}")
    edges = np.quantile(targets, np.arange(1, bins) / bins)
    return np.unique(np.searchsorted(edges, targets), return_inverse=True)[1].astype(np.int64)
