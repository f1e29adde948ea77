"""Tasks of different class counts in one array."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spider_jax.runtime.threads import aligned


def class_bucket(classes: int) -> int:
    """The number of classes that a task is padded to: multiples of 8, at most 16 sizes an octave.

    A power of two would pad by a third on average; this does by 3 % where it costs anything, and a
    new task still meets a compiled size.

    >>> [class_bucket(c) for c in (3, 9, 60, 100, 130, 400)]
    [8, 16, 64, 104, 136, 400]
    """
    step = max(8, 1 << max(0, (classes - 1).bit_length() - 5))
    return -(-classes // step) * step


def class_buckets(tokens: Sequence[NDArray[np.float32]]) -> dict[int, list[int]]:
    """Positions of the tasks by class bucket."""
    buckets: dict[int, list[int]] = {}
    for position, task in enumerate(tokens):
        buckets.setdefault(class_bucket(len(task)), []).append(position)
    return buckets


def pad_tokens(
    tokens: Sequence[NDArray[np.float32]],
    *,
    classes: int | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Stack tasks of different class counts.

    Args:
        tokens: T arrays [C_t, D].
        classes: C, at least the largest C_t; default: the bucket of the largest.

    Returns:
        [T, C, D] with zero rows as padding, and the mask [T, C].
    """
    C = classes or class_bucket(max(len(task) for task in tokens))
    padded = aligned((len(tokens), C, tokens[0].shape[1]), np.float32)
    mask = np.zeros((len(tokens), C), bool)
    for i, task in enumerate(tokens):
        padded[i, : len(task)] = task
        padded[i, len(task) :] = 0
        mask[i, : len(task)] = True
    return padded, mask
