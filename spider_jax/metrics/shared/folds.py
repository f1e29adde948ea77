"""Folds that hold every class in its share."""

import numpy as np
from numpy.typing import NDArray


def stratified_folds(
    y: NDArray[np.int64], folds: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Fold 0..folds-1 of every row, every class spread as evenly as its size allows."""
    order = rng.permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]
    fold = np.empty(len(y), np.int64)
    fold[order] = np.arange(len(y)) % folds
    return fold
