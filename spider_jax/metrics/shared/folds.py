"""Folds that hold every class in its share, or that part no group."""

from collections.abc import Sequence

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


def grouped_parts(
    groups: Int[np.ndarray, " N"], shares: Sequence[float], rng: np.random.Generator
) -> Int[np.ndarray, " N"]:
    """The part of every row, where all rows of a group are in one part.

    Largest groups first, each to the part that lacks most of its share.

    Args:
        groups: any numbers.
        shares: of the rows, one for each part; equal ones for folds.
        rng: of the order of groups of one size.

    Returns:
        Numbers 0..len(shares)-1; with fewer groups than parts, the last parts stay empty.

    >>> rng = np.random.default_rng(0)
    >>> grouped_parts(np.array([7, 7, 7, 7, 8, 8, 9]), (0.6, 0.2, 0.2), rng).tolist()
    [0, 0, 0, 0, 1, 1, 2]
    """
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = rng.permutation(len(sizes))
    part, filled = np.empty(len(sizes), np.int64), np.zeros(len(shares))
    for one in order[np.argsort(-sizes[order], kind="stable")]:
        part[one] = np.argmin(filled / np.asarray(shares))
        filled[part[one]] += sizes[one]
    return part[group]
