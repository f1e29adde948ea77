"""The training step that train.py times: ours and the torch forms, and how they are timed.

Letters: B tasks a step, C classes, M models, d token width, D_psi width of the extractor.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from spider_jax.spider.from_torch import read_state
from spider_jax.spider.weights import Weights
from spider_jax.training.arrays import TrainingArrays, deal, rates
from spider_jax.training.config import TrainConfig
from spider_jax.training.parallel import runner
from spider_jax.training.state import Members, State
from spider_jax.training.step import direction

if TYPE_CHECKING:
    from bench.peers.torch_scoring import PublishedState

EXTRACTOR, CLASSES = 1280, 100
LEARNING_RATE = 2.5e-4
TRAINING_STEPS = 100_000  # of the schedule, more than are run
OURS, TORCH, PUBLISHED = "spider_jax", "torch factorised", "published"
COMPILED, RECOMPUTED = "torch compiled", "torch recomputed"
PLAIN = TrainConfig(
    members=1,
    held_out=0,
    memory=0.0,
    dropout=0.0,
    token_dropout=0.0,
    token_noise=0.0,
    clip=0.0,
    weight_decay=0.0,
    learning_rate=LEARNING_RATE,
)
Call = Callable[[], float]


class Size(NamedTuple):
    """Of a training step.

    Attributes:
        B: tasks a step.
        M: models.
        d: width of tokens.
        steps: of a timed call.
    """

    B: int
    M: int
    d: int
    steps: int


class Times(NamedTuple):
    """Milliseconds a step.

    Attributes:
        median: of all runs.
        fastest: of all runs.
        spread: half the range between the quartiles.
    """

    median: float
    fastest: float
    spread: float


def random_tasks(size: Size, steps: int) -> TrainingArrays:
    """As many random tasks as some batches hold; the last classes of most are padding.

    Args:
        size: of the step.
        steps: how many batches.
    """
    rng, T = np.random.default_rng(0), size.B * steps
    tokens = rng.standard_normal((T, CLASSES, EXTRACTOR), dtype=np.float32)
    mask = np.arange(CLASSES)[None] < rng.integers(CLASSES // 2, CLASSES + 1, T)[:, None]
    return TrainingArrays(
        tokens * mask[..., None],
        mask,
        targets=rng.standard_normal((T, size.M), dtype=np.float32),
        prior=None,
        inside=np.ones((1, T), bool),
        held=np.zeros((1, 0), np.int64),
    )


def start(size: Size) -> "PublishedState":
    """Random weights under the published names, none at a neutral value.

    Args:
        size: of the step.
    """
    from bench.peers.torch_scoring import random_state

    return random_state(size.M, size.d, EXTRACTOR, seed=0)


def ours_of(state: "PublishedState") -> Weights:
    """The same weights under our names, one member.

    Args:
        state: the weights.
    """
    models = [str(i) for i in range(state["model_prompt"].shape[1])]
    return read_state(state, models)[0]


class Ours:
    """The training that `spider_jax.train` runs, from given weights; a call is one epoch.

    Args:
        weights: where it begins.
        given: the tasks.
        batch: tasks a step.
        devices: default: all.
        changes: of the configuration.
    """

    def __init__(
        self,
        weights: Weights,
        given: TrainingArrays,
        batch: int,
        devices: Sequence[jax.Device] | None = None,
        **changes: Any,  # fields of TrainConfig are of several types
    ) -> None:
        plain = replace(PLAIN, width=weights.theta.shape[2], batch=batch)
        config = replace(plain, **changes)
        self.steps, self.epoch = len(given.targets) // batch, 0
        self.runner = runner(config, weights.theta.shape[1], TRAINING_STEPS, devices)
        moments = jax.vmap(direction(config).init)(weights)
        key = jax.random.key_data(jax.random.split(jax.random.key(0), 1))
        self.state, self.lanes, self.members = self.runner.place(
            State(weights, moments, np.int32(0)),  # type: ignore[arg-type]
            deal(given, config, self.runner.lanes),
            Members(key, rates(config)),  # type: ignore[arg-type]
        )

    def __call__(self) -> float:
        """The mean loss of an epoch."""
        window = self.epoch, 0, self.steps
        self.state, loss = self.runner.run(self.state, self.lanes, self.members, window)
        self.epoch += 1
        return float(np.mean(jax.device_get(loss)))


def peer(form: str, state: "PublishedState", given: TrainingArrays, size: Size, steps: int) -> Call:
    """A call of a torch form.

    Args:
        form: its name.
        state: the weights.
        given: the tasks.
        size: of the step.
        steps: how many.
    """
    from bench.peers.torch_training import trainer

    training = trainer(form, state, given.tokens, given.mask, given.targets, size.B)
    return lambda: training.steps(steps)


def interleaved(calls: Mapping[str, tuple[Call, int, int]]) -> dict[str, Times]:
    """Times of calls in turns, after one of each that is not timed.

    Every call follows a pause, in which another library's threads stop spinning.

    Args:
        calls: (call, its steps, its runs) by name.
    """
    for call, _, _ in calls.values():
        call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(max(runs for _, _, runs in calls.values())):
        for name, (call, steps, runs) in calls.items():
            if i < runs:
                time.sleep(0.05)
                begun = time.perf_counter()
                call()
                taken[name].append(1e3 * (time.perf_counter() - begun) / steps)
    return {name: times_of(each) for name, each in taken.items()}


def times_of(taken: Sequence[float]) -> Times:
    """Summary of all runs.

    Args:
        taken: milliseconds of each.
    """
    low, median, high = np.percentile(taken, (25, 50, 75))
    return Times(float(median), min(taken), float(high - low) / 2)
