"""Classes of a task of any kind, so that it has class centres: labels, or bins of its targets."""

import numpy as np
from jaxtyping import Int, Shaped
from numpy.typing import NDArray

from spider_jax.tasks.clusters import k_means, quantile_bins

BINS = 10


def classes_of_task(
    kind: str, labels: Shaped[np.ndarray, "N ..."], bins: int = BINS, seed: int = 0
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """The rows that centres are made of, and the class of each.

    A row of multi-label data comes once for each of its labels; of a single label the rows that
    lack it are the other class. A target is cut at its quantiles; several targets, standardised,
    into k-means clusters.

    Args:
        kind: "classification", "multi-label" or "regression".
        labels: of all rows.
        bins: of a regression, at most.
        seed: of k-means.

    Returns:
        Row numbers, and a class 0..C-1 for each; every class has a row.

    Raises:
        InputError: fewer than two bins.
    """
    every = np.arange(len(labels))
    if kind == "regression":
        return every, _bins(labels, bins, seed)
    if kind == "multi-label" and labels.shape[1] > 1:
        every, labels = np.nonzero(labels)
    return every, np.unique(labels.reshape(-1), return_inverse=True)[1].reshape(-1)


def _bins(targets: NDArray[np.generic], bins: int, seed: int) -> NDArray[np.int64]:
    """Quantile bins of one target, k-means clusters of several standardised ones."""
    if targets.ndim == 1 or targets.shape[1] == 1:
        return quantile_bins(targets.reshape(-1), bins)
    spread = targets.std(0)
    scaled = (targets - targets.mean(0)) / np.where(spread > 0, spread, 1)
    different = len(np.unique(scaled, axis=0))
    if different < 2:
        return np.zeros(len(scaled), np.int64)
    return k_means(scaled, min(bins, different), seed)


def what_tokens_are(kind: str, tokens: int) -> str:
    """A sentence for the reader where the tokens are no classes; else "".

    Args:
        kind: of the task.
        tokens: C.
    """
    if kind == "regression":
        return f"a regression: its tokens are the centres of {tokens} bins of the target"
    return ""
