"""The memory of a spider: training tasks, their models' order, and how near a new task is to each.

A task is embedded as [mean over classes of its tokens; standard deviation over classes]; a near
training task's targets count by exp(-(D - min D) / (0.3 sd D)), D the squared distance: attention
over training tasks without parameters. The network learns what this leaves (spec: "task kernel").
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spider_jax.kernel import embed, kernel_weights
from spider_jax.tasks import MetaTask


class Memory(NamedTuple):
    """What is kept of the training tasks.

    embeddings: float32 [S, e] of scaled tokens. targets: float32 [S, M], every row with mean 0 and
    deviation `weight` of the configuration.
    """

    embeddings: NDArray[np.float32]
    targets: NDArray[np.float32]


def recall(
    embeddings: NDArray[np.float32], tokens: NDArray[np.float32], mask: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """How much every training task counts for these tasks.

    Args:
        embeddings: [S, e] of a memory. tokens: [T, C, p] scaled. mask: [T, C].

    Returns:
        float32 [T, S], rows that sum to 1; 0 for a task without classes (padding).
    """
    real = mask.any(1)
    weights = np.zeros((len(tokens), len(embeddings)), np.float32)
    if real.any():
        weights[real] = kernel_weights(embed(tokens[real], mask[real]), embeddings)
    return weights


def memorize(
    tokens: NDArray[np.float32],
    mask: NDArray[np.bool_],
    targets: NDArray[np.float32],
    weight: float,
) -> Memory:
    """The memory of training tasks: scaled tokens [S, C, p], mask [S, C], targets [S, M]."""
    centred = targets - targets.mean(1, keepdims=True)
    scale = weight / np.maximum(targets.std(1, keepdims=True), 1e-12)
    return Memory(embed(tokens, mask).astype(np.float32), (centred * scale).astype(np.float32))


def recall_own(
    memory: Memory, meta: Sequence[MetaTask], inside: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """What the memory says of its own tasks, from tasks that share no dataset with each.

    So a training task meets the memory as a new task will.

    Args:
        memory: of S tasks. meta: the tasks. inside: [S] True for tasks that may be recalled.

    Returns:
        float32 [S, M]; 0 where nothing may be recalled.
    """
    names = sorted({name for task in meta for name in task.datasets})
    touches = np.array([[name in task.datasets for name in names] for task in meta], np.float32)
    allowed = (touches @ touches.T == 0) & inside[None]
    weights = kernel_weights(memory.embeddings, memory.embeddings, allowed)
    return np.asarray(weights @ memory.targets, np.float32)
