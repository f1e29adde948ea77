"""The memory of a spider: training tasks, their models' order, and how much each says of a new one.

A new task's score begins with a weighted sum of the remembered tasks' targets: attention over
training tasks, with weights of the process over tasks (`belief.task_process`; in older spiders of
the task ridge, `task_ridge`); or, where nothing but class centres is known of a task, of the task
kernel (`kernel`). The network learns what this leaves.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64
from numpy.typing import NDArray

from spider_jax.belief.task_process import TaskProcess, constant_weights, predict_apart
from spider_jax.spider.task_kernel import embed, kernel_weights
from spider_jax.spider.task_ridge import TaskRidge, predict_held_out
from spider_jax.tasks.description import describe
from spider_jax.tasks.sampling import MetaTask


class MemoryWeights(NamedTuple):
    """How a task finds what is remembered.

    Attributes:
        embeddings: [S, e] of scaled tokens, for the kernel where only class centres are known.
        ridge: for tasks whose deviations are known, in older spiders.
        process: the same in those of today.
    """

    embeddings: Float32[np.ndarray, "S e"]
    ridge: TaskRidge | None = None
    process: TaskProcess | None = None

    def arrays(self) -> dict[str, Float32[np.ndarray, "..."]]:
        """By the names under which files hold them."""
        ridge = {} if self.ridge is None else self.ridge._asdict()
        process = {} if self.process is None else self.process.arrays()
        named = {f"ridge_{n}": a for n, a in ridge.items()}
        named |= {f"process_{n}": a for n, a in process.items()}
        return {"embeddings": self.embeddings} | named

    @staticmethod
    def of(arrays: Mapping[str, Float32[np.ndarray, "..."]]) -> "MemoryWeights | None":
        """The inverse of `arrays`; None where there is no memory, no ridge in older files."""
        if "embeddings" not in arrays:
            return None
        names = [f"ridge_{name}" for name in TaskRidge._fields]
        whole = all(name in arrays for name in names)
        ridge = TaskRidge(*(arrays[name] for name in names)) if whole else None
        own = {n.removeprefix("process_"): a for n, a in arrays.items() if n.startswith("process_")}
        process = TaskProcess.from_arrays(own) if own else None
        return MemoryWeights(arrays["embeddings"], ridge, process)

    @property
    def unit(self) -> Float32[np.ndarray, " D"] | None:
        """[D] deviation of the sources' features, by which tasks are described; None without."""
        kept = self.process or self.ridge
        return None if kept is None else kept.unit

    def of_described(self, asked: Float64[np.ndarray, "T f"]) -> Float32[np.ndarray, "T S"]:
        """Weights for tasks of which more than the class centres is known."""
        if self.process is not None:
            return self.process.predict(asked)[0].astype(np.float32)
        assert self.ridge is not None
        return self.ridge.weights(asked)


class Memory(NamedTuple):
    """What is kept of the training tasks.

    Attributes:
        weights: how a new task weighs them.
        targets: float32 [S, M], standings in standard units; in older spiders every row has the
            deviation `memory` of the configuration.
    """

    weights: MemoryWeights
    targets: Float32[np.ndarray, "S M"]


def memory_weights(
    kept: MemoryWeights,
    scaled: Float32[np.ndarray, "T C p"],
    mask: Bool[np.ndarray, "T C"],
    tokens: Float32[np.ndarray, "T C D"],
    deviations: Float32[np.ndarray, "T 2 D"] | None = None,
) -> Float32[np.ndarray, "T S"]:
    """How much every remembered task counts for these tasks.

    Args:
        kept: of a memory.
        scaled: [T, C, p] tokens.
        mask: [T, C].
        tokens: [T, C, D] raw.
        deviations: [T, 2, D], see `task_deviations`; None where only class centres are known.

    Returns:
        float32 [T, S]; 0 for a task without classes (padding).
    """
    real = mask.any(1)
    weights = np.zeros((len(mask), len(kept.embeddings)), np.float32)
    if not real.any():
        return weights
    if deviations is None or kept.unit is None:
        weights[real] = kernel_weights(embed(scaled[real], mask[real]), kept.embeddings)
    else:
        asked = describe(tokens[real], mask[real], deviations[real], kept.unit)
        weights[real] = kept.of_described(asked)
    return weights


def process_rows(
    process: TaskProcess,
    targets: Float[np.ndarray, "S M"],
    meta: Sequence[MetaTask],
    inside: Bool[np.ndarray, "E S"],
) -> Float32[np.ndarray, "E S M"]:
    """What a memory says of each training task, from tasks that share no dataset with it.

    So a training task meets the memory as a new task will.

    Args:
        process: over the S training tasks.
        targets: standings of the models on them.
        meta: the tasks, with their datasets.
        inside: [E, S] True for tasks that a member may remember.

    Returns:
        float32 [E, S, M]; 0 where nothing may be remembered.
    """
    groups, apart = _groups(meta)
    alone = tasks_alone(meta)
    out = np.zeros((len(inside), *targets.shape), np.float32)
    for e, own in enumerate(inside):
        allowed = apart & own
        constants = np.stack([constant_weights(alone & mine) for mine in allowed])
        out[e] = predict_apart(process.rows, targets, process.hyper, groups, allowed, constants)
    return out


def tasks_alone(meta: Sequence[MetaTask]) -> Bool[np.ndarray, "G S"]:
    """For every dataset, in the order of names, True for tasks of its rows alone."""
    names = sorted({name for task in meta for name in task.datasets})
    return np.array([[task.datasets == (name,) for task in meta] for name in names])


def memory_rows(
    rows: Float64[np.ndarray, "S f"],
    targets: Float[np.ndarray, "S M"],
    meta: Sequence[MetaTask],
    inside: Bool[np.ndarray, "E S"],
    weight: float,
    models: int | None = None,
) -> Float32[np.ndarray, "E S M"]:
    """`process_rows` of an older spider: by the task ridge.

    Args:
        rows: [S, 2 D] of their design.
        targets: [S, M] what is remembered of them.
        meta: the tasks, with their datasets.
        inside: [E, S] True for tasks that a member may remember.
        weight: deviation of what is remembered.
        models: so many of the first give the gain; default: all.

    Returns:
        float32 [E, S, M]; 0 where nothing may be remembered.
    """
    groups, apart = _groups(meta)
    gram = rows @ rows.T
    out = np.zeros((len(inside), *targets.shape), np.float32)
    for e, own in enumerate(inside):
        new = predict_held_out(gram, targets, groups, apart & own)
        out[e] = _gain(new[own, :models], weight) * new
    return out


def _groups(meta: Sequence[MetaTask]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Tasks of the same datasets, [S] 0..G-1, and what tasks share none with them, [G, S]."""
    names = sorted({name for task in meta for name in task.datasets})
    touches = np.array([[name in task.datasets for name in names] for task in meta], np.float32)
    distinct, groups = np.unique(touches, axis=0, return_inverse=True)
    return groups.reshape(-1), distinct @ touches.T == 0


def _gain(predicted: NDArray[np.float64], weight: float) -> float:
    """The factor that gives predictions [S, M] the deviation `weight`."""
    size = predicted.std(1)
    size = size[size > 0]
    return float(weight / size.mean()) if len(size) else 1.0
