"""Features of a model in blocks of rows, and how their columns are scaled."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_BYTES = 1 << 24  # of one model's rows in memory


TINY = 1e-30  # a deviation by which float32 can still be divided


def column_scaling(
    features: Any, train: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and deviation [D] of some rows, 1 for a constant column; one pass over blocks."""
    total = np.zeros((2, features.shape[1]))
    first: Any = np.asarray(features[train[0]], np.float64)  # keeps the squares small
    for rows in blocks(train, features.shape[1]):
        block = np.asarray(features[rows], np.float64) - first
        total += block.sum(0), (block**2).sum(0)
    mean, square = total / len(train)
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    mean = mean + first
    # a constant column stays 0; how small a deviation may be is a matter of the column's own size
    scale = np.where(deviation > np.maximum(1e-6 * np.abs(mean), TINY), deviation, 1)
    return mean.astype(np.float32), scale.astype(np.float32)


def blocks(rows: NDArray[np.int64], width: int, multiple: int = 1) -> Iterator[NDArray[np.int64]]:
    """Runs of rows whose features fill a block of memory, in each a multiple of so many."""
    step = multiple * max(1, BLOCK_BYTES // (4 * width * multiple))
    for start in range(0, len(rows), step):
        yield rows[start : start + step]
