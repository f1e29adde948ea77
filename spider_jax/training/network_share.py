"""What the network adds to what the known tasks say: its weight, by held-out datasets."""

import numpy as np
from jaxtyping import Float32, Float64

from spider_jax.training.arrays import TrainingArrays
from spider_jax.training.config import TrainConfig
from spider_jax.training.learn_belief import Learned
from spider_jax.training.loop import TrainingResult


def network_share(
    config: TrainConfig, arrays: TrainingArrays, result: TrainingResult, learned: Learned | None
) -> float:
    """The weight of the network's score beside the memory, in standard units.

    On the tasks that a member has held out, with n its network's score in units of the memory's
    deviation and e what the known tasks leave of the standings, both centred over the models,

        w = sum n e / sum n^2,

    between 0 and 1; 0 where the squared error does not become less by more than its standard error
    over members.

    Args:
        config: its `memory` is read here.
        arrays: of the training.
        result: what came of it.
        learned: for beliefs; None where the network ranks alone.

    Returns:
        What the network's score is multiplied by; 1 where it ranks alone.
    """
    if learned is None or arrays.prior is None:
        return 1.0
    if arrays.held.size == 0:
        return 0.0
    prior = held_prior(arrays)
    network = _centred((result.held_scores - prior) / config.memory)
    left = _centred(learned.standings[arrays.held] - prior / config.memory)
    size = float((network**2).sum())
    weight = float(np.clip((network * left).sum() / size, 0, 1)) if size > 0 else 0.0
    gains = (left**2 - (left - weight * network) ** 2).mean((1, 2))
    error = gains.std(ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else np.inf
    return weight / config.memory if gains.mean() > error else 0.0


def held_prior(arrays: TrainingArrays) -> Float32[np.ndarray, "E V M"]:
    """What the memory says of the tasks that each member has held out."""
    assert arrays.prior is not None
    return np.stack([prior[held] for prior, held in zip(arrays.prior, arrays.held, strict=True)])


def _centred(values: Float32[np.ndarray, "E V M"]) -> Float64[np.ndarray, "E V M"]:
    wide = values.astype(np.float64)
    return wide - wide.mean(-1, keepdims=True)
