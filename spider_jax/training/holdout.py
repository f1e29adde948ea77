"""Which tasks a spider is judged by while it is trained: those of whole datasets held out."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int64

from spider_jax.errors import InputError
from spider_jax.tasks.sampling import MetaTask
from spider_jax.training.config import TrainConfig

log = logging.getLogger("spider_jax")

HELD_OUT_TASKS = 48  # of each member, at most


class Split(NamedTuple):
    """Which of the T meta-tasks each member trains on, and which it is judged on.

    Attributes:
        datasets: for every member the names of the source datasets that it leaves out.
        weight: 1 where a member trains on a task, else 0.
        held: positions of V held-out tasks of every member, as many for each.
    """

    datasets: list[list[str]]
    weight: Float32[np.ndarray, "E T"]
    held: Int64[np.ndarray, "E V"]


def leave_datasets_out(
    meta: Sequence[MetaTask], datasets: Sequence[str], config: TrainConfig
) -> Split:
    """Deal the source datasets out to the members: each leaves some out, every one about as often.

    A member trains on tasks that touch none of its left-out datasets, and is judged on those that
    touch nothing else.

    Args:
        meta: T meta-tasks.
        datasets: names of the source datasets.
        config: its `held_out`, `members` and `seed` are read here; no member leaves out more than
            half of the datasets.

    Returns:
        The split.

    Raises:
        InputError: no task is left for a member to train on.
    """
    rng = np.random.default_rng(config.seed)
    count = min(config.held_out, len(datasets) // 2)
    if count == 0 and config.held_out > 0:
        log.warning("one source dataset only: nothing can be held out to stop early on")
    dealt: list[str] = []
    left_out, weight, held = [], [], []
    for _ in range(config.members):
        # A new permutation joins when the last is used up, so each dataset comes about as often.
        while len(dealt) < count:
            dealt += [d for d in map(str, rng.permutation(datasets)) if d not in dealt]
        out, dealt = set(dealt[:count]), dealt[count:]
        inside = np.array([not out & set(task.datasets) for task in meta])
        outside = np.flatnonzero([bool(out) and out >= set(task.datasets) for task in meta])
        left_out.append(sorted(out))
        weight.append(inside.astype(np.float32))
        held.append(rng.permutation(outside)[:HELD_OUT_TASKS])
        if not inside.any():
            raise InputError("tasks: no meta-task is left to train on; sample more of them")
    fewest = min(map(len, held))
    return Split(left_out, np.stack(weight), np.stack([h[:fewest] for h in held]))
