"""The task kernel: a ranking from the training tasks that look most like the target, untrained."""

import numpy as np
from numpy.typing import NDArray

BANDWIDTH = 0.3


def task_kernel(
    train_tokens: NDArray[np.floating],
    train_mask: NDArray[np.bool_],
    train_targets: NDArray[np.floating],
    tokens: NDArray[np.floating],
    mask: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Mean of the training tasks' target scores, weighted by how near the tasks are.

    w = exp(-(D - min D)/(0.3 sd D)), D the squared distance between task embeddings [mean over
    classes of the class centres; standard deviation over classes]. The baseline every trained
    ranker must beat: it sees the same tokens and the same targets.

    Args:
        train_tokens [T, C, D], train_mask [T, C]: standardised class centres, padded.
        train_targets: [T, M]. tokens [S, C', D], mask [S, C']: the tasks to rank for.

    Returns:
        Scores [S, M].
    """
    known, asked = _embed(train_tokens, train_mask), _embed(tokens, mask)
    distance = ((asked[:, None] - known[None]) ** 2).sum(-1)
    scale = np.maximum(distance.std(1, keepdims=True), 1e-30)
    weight = np.exp(-(distance - distance.min(1, keepdims=True)) / (BANDWIDTH * scale))
    return (weight @ train_targets) / weight.sum(1, keepdims=True)


def _embed(tokens: NDArray[np.floating], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    real = mask[..., None]
    n = real.sum(1)
    mean = (tokens * real).sum(1) / n
    spread = np.sqrt((((tokens - mean[:, None]) ** 2) * real).sum(1) / n)
    return np.concatenate([mean, spread], axis=1).astype(np.float64)
