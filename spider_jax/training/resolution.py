"""The score difference from which an order of two models can be trusted."""

import numpy as np
from numpy.typing import NDArray

from spider_jax.training.holdout import Split

CONFIDENCE = 0.8


PAIRS = 10_000  # of a task that the resolution is measured on


def _pairs(models: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pairs of models, or PAIRS of them drawn at random where there are more."""
    if models * (models - 1) // 2 <= PAIRS:
        return np.triu_indices(models, 1)
    rng = np.random.default_rng(0)
    first = rng.integers(0, models, PAIRS)
    return first, (first + rng.integers(1, models, PAIRS)) % models


def measured_resolution(
    scores: NDArray[np.float32], targets: NDArray[np.float32], split: Split
) -> float:
    """Score difference from which CONFIDENCE of the held-out pairs were ordered as the target.

    P(right order) = sigmoid(a |difference|), a by maximum likelihood over the pairs of each
    member's own held-out tasks; the mean over members is steadier than one, so this is cautious.
    """
    M = targets.shape[1]
    first, second = _pairs(M)
    truth = targets[split.held].reshape(-1, M).astype(np.float64)
    guess = scores.reshape(-1, M).astype(np.float64)
    right = np.sign(truth[:, first] - truth[:, second])
    z = (right * (guess[:, first] - guess[:, second])).ravel()
    z = z[z != 0]
    if len(z) == 0:
        return float("nan")
    slope = 0.0
    for _ in range(50):  # Newton on a concave function of one variable
        p = 1 / (1 + np.exp(np.clip(slope * z, -500, 500)))
        slope += (p * z).sum() / (p * (1 - p) * z**2).sum()
    return float(np.log(CONFIDENCE / (1 - CONFIDENCE)) / slope) if slope > 0 else float("inf")
