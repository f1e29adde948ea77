"""The resolution of a ranking: the score difference from which an order of two models holds."""

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray

from spider_jax.training.holdout import Split

CONFIDENCE = 0.8  # share of the pairs that are ordered right at the resolution
PAIRS = 10_000  # of a task that the resolution is measured on, at most


def measured_resolution(
    scores: Float32[np.ndarray, "E V M"], targets: Float32[np.ndarray, "T M"], split: Split
) -> float:
    """Measure the score difference from which CONFIDENCE of held-out pairs have the target's order.

    The chance of the right order is modelled as

        P(right order) = sigmoid(a |difference|),

    a by maximum likelihood over the pairs of each member's own held-out tasks. Members are judged
    one by one; their mean, which ranks, is steadier, so the resolution errs on the careful side.

    Args:
        scores: of every member on its own V held-out tasks.
        targets: orders of the M models on all T meta-tasks.
        split: whose `held` names the held-out tasks.

    Returns:
        The resolution, in units of the scores; inf where scores order no better than chance, NaN
        where nothing is held out or no two scores differ.
    """
    M = targets.shape[1]
    first, second = _pairs(M)
    truth = targets[split.held].reshape(-1, M).astype(np.float64)
    guess = scores.reshape(-1, M).astype(np.float64)
    right = np.sign(truth[:, first] - truth[:, second])
    z = (right * (guess[:, first] - guess[:, second])).ravel()  # below 0 where the order is wrong
    z = z[z != 0]
    if len(z) == 0:
        return float("nan")
    slope = 0.0
    for _ in range(50):  # Newton on a concave function of one variable
        p = 1 / (1 + np.exp(np.clip(slope * z, -500, 500)))
        slope += (p * z).sum() / (p * (1 - p) * z**2).sum()
    return float(np.log(CONFIDENCE / (1 - CONFIDENCE)) / slope) if slope > 0 else float("inf")


def _pairs(models: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pairs of models, or PAIRS of them drawn at random where there are more."""
    if models * (models - 1) // 2 <= PAIRS:
        return np.triu_indices(models, 1)
    rng = np.random.default_rng(0)
    first = rng.integers(0, models, PAIRS)
    return first, (first + rng.integers(1, models, PAIRS)) % models
