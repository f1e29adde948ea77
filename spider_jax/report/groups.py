"""Where a list, best first, falls into groups that can be separated."""

import numpy as np
from jaxtyping import Int64


def group_starts(places: Int64[np.ndarray, "M 2"]) -> list[int]:
    """Rows, from 0, before which all are separated from all that follow.

    Args:
        places: the first and the last place, from 1, that each row may hold.

    Returns:
        Numbers of the rows that begin a group, but for the first of all.

    >>> group_starts(np.array([[1, 2], [1, 2], [3, 4], [3, 4], [5, 5]]))
    [2, 4]
    """
    last = np.maximum.accumulate(places[:, 1])
    first = np.minimum.accumulate(places[::-1, 0])[::-1]
    at = np.arange(1, len(places))
    starts: list[int] = (np.flatnonzero((last[:-1] <= at) & (first[1:] > at)) + 1).tolist()
    return starts
