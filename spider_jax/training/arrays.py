"""The arrays of a training: tasks, targets, rates, and how they are dealt."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spider_jax.spider.weights import OwnTokens
from spider_jax.training.config import TrainConfig
from spider_jax.training.state import Lanes


class TrainingArrays(NamedTuple):
    """What members learn from, on the host.

    tokens [T, C, p], mask [T, C]: scaled. targets [T, M]. prior [E, T, M]: what the score of every
    member begins with, or None. inside [E, T]: tasks that a member trains on. held [E, V]: tasks
    that each is judged on. own: class centres of R models a task, [T, R, C, q] and [T, R], or None.
    """

    tokens: NDArray[np.float32]
    mask: NDArray[np.bool_]
    targets: NDArray[np.float32]
    prior: NDArray[np.float32] | None
    inside: NDArray[np.bool_]
    held: NDArray[np.int64]
    own: OwnTokens | None = None


class Held(NamedTuple):
    """The tasks that members are judged on: tokens [E, V, C, p], mask, prior [E, V, M] or None."""

    tokens: Any
    mask: Any
    prior: Any


def rates(config: TrainConfig) -> NDArray[np.float32]:
    """[E] learning rates."""
    return np.array(config.learning_rates or (config.learning_rate,) * config.members, np.float32)


def deal(lesson: TrainingArrays, config: TrainConfig, multiple: int) -> Lanes:
    """Deal the tasks, shuffled once, into as many lanes as a batch has places.

    Lanes without tasks are added up to a multiple: nothing is drawn from them.
    """
    T, B = len(lesson.targets), config.batch
    order = np.random.default_rng([config.seed, 1]).permutation(T)
    lanes, places = B + (-B % multiple), -(-T // B)
    position = np.full((lanes, places), -1)
    position[:B] = np.append(order, np.full(places * B - T, -1)).reshape(places, B).T
    real, position = position >= 0, np.maximum(position, 0)
    prior = None if lesson.prior is None else np.moveaxis(lesson.prior, 0, 1)[position]
    own = lesson.own
    return Lanes(
        tokens=lesson.tokens[position],
        mask=lesson.mask[position],
        targets=lesson.targets[position],
        prior=prior,
        inside=np.moveaxis(lesson.inside, 0, 1)[position] & real[..., None],
        own=None if own is None else OwnTokens(own.tokens[position], own.models[position]),
    )


def held_tasks(lesson: TrainingArrays) -> Held:
    """Every member's own held-out tasks."""
    rows = lesson.held
    prior = None
    if lesson.prior is not None:
        prior = np.take_along_axis(lesson.prior, rows[..., None], axis=1)
    return Held(lesson.tokens[rows], lesson.mask[rows], prior)
