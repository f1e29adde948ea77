"""Folds that hold every class in its share."""

import numpy as np
from jaxtyping import Int


def stratified_folds(
    y: Int[np.ndarray, " N"], folds: int, rng: np.random.Generator
) -> Int[np.ndarray, " N"]:
    """The fold of every row; every class is spread over the folds as evenly as its size allows.

    Args:
        y: classes.
        folds: how many folds.
        rng: of the order within a class.

    Returns:
        Numbers 0..folds-1.
    """
    order = rng.permutation(len(y))
    order = order[np.argsort(y[order], kind="stable")]
    fold = np.empty(len(y), np.int64)
    fold[order] = np.arange(len(y)) % folds
    return fold
