"""The task kernel: a ranking from the training tasks that look most like the target, untrained."""

import numpy as np
from jaxtyping import Bool, Float, Float64
from numpy.typing import NDArray

BANDWIDTH = 0.3


def task_kernel(
    train_tokens: Float[np.ndarray, "T C D"],
    train_mask: Bool[np.ndarray, "T C"],
    train_targets: Float[np.ndarray, "T M"],
    tokens: Float[np.ndarray, "S c D"],
    mask: Bool[np.ndarray, "S c"],
) -> Float64[np.ndarray, "S M"]:
    """Mean of the training tasks' target scores, weighted by how near the tasks are.

    w = exp(-(D - min D)/(0.3 sd D)), D the squared distance between task embeddings [mean over
    classes of the class centres; standard deviation over classes]. The baseline every trained
    ranker must beat: it sees the same tokens and the same targets.

    Args:
        train_tokens: [T, C, D] standardised class centres of the training tasks, padded.
        train_mask: [T, C] True where a class is real.
        train_targets: [T, M] scores of the models on them.
        tokens: [S, c, D] of the tasks to rank for.
        mask: [S, c].

    Returns:
        Scores [S, M].
    """
    known, asked = embed(train_tokens, train_mask), embed(tokens, mask)
    return kernel_weights(asked, known) @ train_targets


def kernel_weights(
    asked: Float[np.ndarray, "S e"],
    known: Float[np.ndarray, "T e"],
    allowed: Bool[np.ndarray, "S T"] | None = None,
) -> Float64[np.ndarray, "S T"]:
    """Weights of known tasks for asked ones.

    Args:
        asked: [S, e] embeddings.
        known: [T, e] embeddings.
        allowed: [S, T] False for pairs that do not count, not in the deviation either.

    Returns:
        float64 [S, T]; every row sums to 1, or is 0 where no pair is allowed.
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


def embed(
    tokens: Float[np.ndarray, "T C D"], mask: Bool[np.ndarray, "T C"]
) -> Float64[np.ndarray, "T f"]:
    """Mean and standard deviation of tasks over their classes.

    Args:
        tokens: [T, C, D] class centres, padded.
        mask: [T, C] True where a class is real.

    Returns:
        float64 [T, 2 D].
    """
    real = mask[..., None]
    n = real.sum(1)
    mean = (tokens * real).sum(1) / n
    spread = np.sqrt((((tokens - mean[:, None]) ** 2) * real).sum(1) / n)
    return np.concatenate([mean, spread], axis=1).astype(np.float64)
