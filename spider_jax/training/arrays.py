"""The arrays of a training on the host, and how their tasks are dealt into lanes."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int64

from spider_jax.spider.weights import OwnTokens
from spider_jax.training.config import TrainConfig
from spider_jax.training.state import Lanes


class TrainingArrays(NamedTuple):
    """What E members learn from: T tasks and the orders of M models on them.

    Attributes:
        tokens: scaled class centres, padded with 0.
        mask: True where a token is a class.
        targets: the order of the models that is learned.
        prior: what the score of every member begins with; None for nothing.
        inside: True for a task that a member trains on.
        held: positions of V tasks that each member is judged on.
        own: own class centres of R models a task, tokens [T, R, C, q] of models [T, R]; None where
            no model's own features are read.
    """

    tokens: Float32[np.ndarray, "T C p"]
    mask: Bool[np.ndarray, "T C"]
    targets: Float32[np.ndarray, "T M"]
    prior: Float32[np.ndarray, "E T M"] | None
    inside: Bool[np.ndarray, "E T"]
    held: Int64[np.ndarray, "E V"]
    own: OwnTokens | None = None


class Held(NamedTuple):
    """The tasks that members are judged on, every member's own; on the devices while they train.

    Attributes:
        tokens: scaled class centres, padded with 0.
        mask: True where a token is a class.
        prior: what scores begin with; None for nothing.
    """

    tokens: Float[Array, "E V C p"]
    mask: Bool[Array, "E V C"]
    prior: Float[Array, "E V M"] | None


def rates(config: TrainConfig) -> Float32[np.ndarray, " E"]:
    """The learning rate of every member.

    Args:
        config: its `learning_rate`, `learning_rates` and `members` are read here.

    Returns:
        One rate a member.
    """
    return np.array(config.learning_rates or (config.learning_rate,) * config.members, np.float32)


def deal(given: TrainingArrays, config: TrainConfig, multiple: int) -> Lanes:
    """Deal the tasks, shuffled once, into as many lanes as a batch has places.

    Args:
        given: T tasks.
        config: its `batch` and `seed` are read here.
        multiple: the number of lanes is a multiple of it; nothing is drawn from lanes that are
            added for that.

    Returns:
        The lanes, on the host.
    """
    T, B = len(given.targets), config.batch
    order = np.random.default_rng([config.seed, 1]).permutation(T)
    lanes, places = B + (-B % multiple), -(-T // B)
    position = np.full((lanes, places), -1)
    position[:B] = np.append(order, np.full(places * B - T, -1)).reshape(places, B).T
    real, position = position >= 0, np.maximum(position, 0)
    prior = None if given.prior is None else np.moveaxis(given.prior, 0, 1)[position]
    own = given.own
    return Lanes(
        tokens=given.tokens[position],
        mask=given.mask[position],
        targets=given.targets[position],
        prior=prior,
        inside=np.moveaxis(given.inside, 0, 1)[position] & real[..., None],
        own=None if own is None else OwnTokens(own.tokens[position], own.models[position]),
    )


def held_tasks(given: TrainingArrays) -> Held:
    """Gather every member's own held-out tasks.

    Args:
        given: the tasks of a training.

    Returns:
        The held-out tasks, on the host.
    """
    rows = given.held
    prior: Any = None
    if given.prior is not None:
        prior = np.take_along_axis(given.prior, rows[..., None], axis=1)
    return Held(given.tokens[rows], given.mask[rows], prior)
