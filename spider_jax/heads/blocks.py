"""Features of a model in blocks of rows, and how their columns are scaled."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, Int, Num

BLOCK_BYTES = 1 << 24  # of one model's rows in memory
TINY = 1e-30  # a deviation by which float32 can still be divided


def column_scaling(
    features: Num[np.ndarray, "N D"], train: Int[np.ndarray, " n"]
) -> tuple[Float32[np.ndarray, " D"], Float32[np.ndarray, " D"]]:
    """Mean and standard deviation of every column over some rows, in one pass over blocks.

    Args:
        features: also a memmap.
        train: numbers of the rows, at least one.

    Returns:
        The means, and the deviations: 1 where a column is constant.
    """
    total = np.zeros((2, features.shape[1]))
    first = np.asarray(features[train[0]], np.float64)  # subtracted: keeps the squares small
    for rows in blocks(train, features.shape[1]):
        block = np.asarray(features[rows], np.float64) - first
        total += block.sum(0), (block**2).sum(0)
    mean, square = total / len(train)
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    mean = mean + first
    # a constant column stays 0; how small a deviation may be is a matter of the column's own size
    scale = np.where(deviation > np.maximum(1e-6 * np.abs(mean), TINY), deviation, 1)
    return mean.astype(np.float32), scale.astype(np.float32)


def blocks(
    rows: Int[np.ndarray, " n"], width: int, multiple: int = 1
) -> Iterator[Int[np.ndarray, " _"]]:
    """Parts of the rows, in order, whose features fill a block of memory (BLOCK_BYTES).

    Args:
        rows: numbers of the rows.
        width: columns of the features, of 4 bytes each.
        multiple: the length of every part but the last is a multiple of this.

    Yields:
        Parts of `rows`.
    """
    step = multiple * max(1, BLOCK_BYTES // (4 * width * multiple))
    for start in range(0, len(rows), step):
        yield rows[start : start + step]
