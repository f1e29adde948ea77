"""Tasks of different class counts in one array."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32

from spider_jax.runtime.threads import aligned
from spider_jax.tasks.tokens import TaskTokens


class PaddedTokens(NamedTuple):
    """Tasks of one class bucket in one array.

    Attributes:
        centres: [T, C, D] class centres, zero rows as padding.
        mask: [T, C] True where a class is real.
        deviations: [T, 2, D] of the tasks, None where only centres are known.
    """

    centres: Float32[np.ndarray, "T C D"]
    mask: Bool[np.ndarray, "T C"]
    deviations: Float32[np.ndarray, "T 2 D"] | None = None


def class_bucket(classes: int) -> int:
    """The number of classes that a task is padded to: multiples of 8, at most 16 sizes an octave.

    A power of two would pad by a third on average; this does by 3 % where it costs anything, and a
    new task still meets a compiled size.

    >>> [class_bucket(c) for c in (3, 9, 60, 100, 130, 400)]
    [8, 16, 64, 104, 136, 400]
    """
    step = max(8, 1 << max(0, (classes - 1).bit_length() - 5))
    return -(-classes // step) * step


def class_buckets(tokens: Sequence[TaskTokens]) -> dict[tuple[int, bool], list[int]]:
    """Positions of the tasks that are scored in one call.

    Args:
        tokens: of T tasks.

    Returns:
        Positions by class bucket, and by whether the deviations are known.
    """
    buckets: dict[tuple[int, bool], list[int]] = {}
    for position, task in enumerate(tokens):
        key = class_bucket(len(task.centres)), task.deviations is not None
        buckets.setdefault(key, []).append(position)
    return buckets


def pad_tokens(tokens: Sequence[TaskTokens]) -> PaddedTokens:
    """Stack tasks of different class counts, padded to the bucket of the largest.

    Args:
        tokens: of T tasks, all with deviations or all without.

    Returns:
        The tasks in one array.
    """
    C = class_bucket(max(len(task.centres) for task in tokens))
    padded = aligned((len(tokens), C, tokens[0].centres.shape[1]), np.float32)
    mask = np.zeros((len(tokens), C), bool)
    for i, task in enumerate(tokens):
        classes = len(task.centres)
        padded[i, :classes] = task.centres
        padded[i, classes:] = 0
        mask[i, :classes] = True
    deviations = [task.deviations for task in tokens if task.deviations is not None]
    return PaddedTokens(padded, mask, np.stack(deviations) if deviations else None)
