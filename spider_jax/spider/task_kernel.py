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
    known, asked = embed(train_tokens, train_mask), embed(tokens, mask)
    return kernel_weights(asked, known) @ train_targets


def kernel_weights(
    asked: NDArray[np.floating],
    known: NDArray[np.floating],
    allowed: NDArray[np.bool_] | None = None,
) -> NDArray[np.float64]:
    """Weights [S, T] of known embeddings [T, e] for asked ones [S, e]; every row sums to 1.

    allowed: [S, T] False for pairs that do not count, not in the deviation either; a row without
    any has weights 0.
    """
    a, b = np.asarray(asked, np.float64), np.asarray(known, np.float64)
    distance = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    counted = np.ones(distance.shape, bool) if allowed is None else allowed
    some = counted.any(1)
    weights = np.zeros(distance.shape)
    weights[some] = _weigh(distance[some], counted[some])
    return weights


def _weigh(distance: NDArray[np.float64], counted: NDArray[np.bool_]) -> NDArray[np.float64]:
    scale = np.maximum(distance.std(1, where=counted, keepdims=True), 1e-30)
    least = distance.min(1, where=counted, initial=np.inf, keepdims=True)
    weights = np.exp(-np.maximum(distance - least, 0) / (BANDWIDTH * scale)) * counted
    return weights / weights.sum(1, keepdims=True)


def embed(tokens: NDArray[np.floating], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """[T, 2 D]: mean and standard deviation over the classes of padded tokens [T, C, D]."""
    real = mask[..., None]
    n = real.sum(1)
    mean = (tokens * real).sum(1) / n
    spread = np.sqrt((((tokens - mean[:, None]) ** 2) * real).sum(1) / n)
    return np.concatenate([mean, spread], axis=1).astype(np.float64)
