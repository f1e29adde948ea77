"""The memory of a spider: training tasks, their models' order, and how much each says of a new one.

A new task's score begins with a weighted sum of the remembered tasks' targets: attention over
training tasks, with weights of the task ridge (`task_ridge`); or, where nothing but class centres
is known of a task, of the task kernel (`kernel`). The network learns what this leaves.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Float64
from numpy.typing import NDArray

from spider_jax.spider.task_kernel import embed, kernel_weights
from spider_jax.spider.task_ridge import TaskRidge, fit_task_ridge, predict_held_out
from spider_jax.tasks.description import describe, design
from spider_jax.tasks.sampling import MetaTask


class MemoryWeights(NamedTuple):
    """How a task finds what is remembered.

    Attributes:
        embeddings: [S, e] of scaled tokens, for the kernel where only class centres are known.
        ridge: for tasks whose deviations are known; None in older files.
    """

    embeddings: Float32[np.ndarray, "S e"]
    ridge: TaskRidge | None = None

    def arrays(self) -> dict[str, Float32[np.ndarray, "..."]]:
        """By the names under which files hold them."""
        ridge = {} if self.ridge is None else self.ridge._asdict()
        return {"embeddings": self.embeddings} | {f"ridge_{n}": a for n, a in ridge.items()}

    @staticmethod
    def of(arrays: Mapping[str, Float32[np.ndarray, "..."]]) -> "MemoryWeights | None":
        """The inverse of `arrays`; None where there is no memory, no ridge in older files."""
        if "embeddings" not in arrays:
            return None
        names = [f"ridge_{name}" for name in TaskRidge._fields]
        whole = all(name in arrays for name in names)
        ridge = TaskRidge(*(arrays[name] for name in names)) if whole else None
        return MemoryWeights(arrays["embeddings"], ridge)


class Memory(NamedTuple):
    """What is kept of the training tasks.

    Attributes:
        weights: how a new task weighs them.
        targets: float32 [S, M], every row with mean 0 and deviation `weight` of the configuration.
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
    if deviations is None or kept.ridge is None:
        weights[real] = kernel_weights(embed(scaled[real], mask[real]), kept.embeddings)
    else:
        asked = describe(tokens[real], mask[real], deviations[real], kept.ridge.unit)
        weights[real] = kept.ridge.weights(asked)
    return weights


class MemoryInputs(NamedTuple):
    """Training tasks as the memory reads them.

    Attributes:
        scaled: [S, C, p] scaled class centres.
        tokens: [S, C, D] raw class centres.
        mask: [S, C] True where a class is real.
        deviations: [S, 2, D], see `task_deviations`.
        unit: [D] deviation of the sources' features.
        targets: [S, M] what is remembered of each task.
        weight: deviation of what is remembered.
    """

    scaled: Float32[np.ndarray, "S C p"]
    tokens: Float32[np.ndarray, "S C D"]
    mask: Bool[np.ndarray, "S C"]
    deviations: Float32[np.ndarray, "S 2 D"]
    unit: Float32[np.ndarray, " D"]
    targets: Float32[np.ndarray, "S M"]
    weight: float

    def rows(self) -> Float64[np.ndarray, "S f"]:
        """[S, 2 D], centred and scaled descriptions."""
        return design(describe(self.tokens, self.mask, self.deviations, self.unit)).rows

    def remembered(self) -> Float32[np.ndarray, "S M"]:
        """[S, M] targets with mean 0 and the weight as deviation."""
        centred = self.targets - self.targets.mean(1, keepdims=True)
        deviation = np.maximum(self.targets.std(1, keepdims=True), 1e-12)
        return (centred * (self.weight / deviation)).astype(np.float32)


def build_memory(inputs: MemoryInputs, meta: Sequence[MetaTask]) -> Memory:
    """The memory of training tasks.

    The ridge's gain is set so that what the memory says of tasks it has not seen has the weight as
    its standard deviation: every task is predicted from those that share no dataset with it.

    Args:
        inputs: the S training tasks.
        meta: the same tasks, with their datasets.

    Returns:
        The memory.
    """
    given = design(describe(inputs.tokens, inputs.mask, inputs.deviations, inputs.unit))
    targets = inputs.remembered()
    new = predict_held_out(given.rows @ given.rows.T, targets, *_groups(meta))
    ridge = fit_task_ridge(given, inputs.unit, _gain(new, inputs.weight))
    embeddings = embed(inputs.scaled, inputs.mask).astype(np.float32)
    return Memory(MemoryWeights(embeddings, ridge), targets)


def held_out_prior(
    inputs: MemoryInputs, meta: Sequence[MetaTask], inside: Bool[np.ndarray, "E S"]
) -> Float32[np.ndarray, "E S M"]:
    """What the memory says of each training task, from tasks that share no dataset with it.

    So a training task meets the memory as a new task will.

    Args:
        inputs: of S tasks.
        meta: of S tasks.
        inside: [E, S] True for tasks that a member may remember.

    Returns:
        float32 [E, S, M]; 0 where nothing may be remembered.
    """
    return memory_rows(inputs.rows(), inputs.remembered(), meta, inside, inputs.weight)


def memory_rows(
    rows: Float64[np.ndarray, "S f"],
    targets: Float[np.ndarray, "S M"],
    meta: Sequence[MetaTask],
    inside: Bool[np.ndarray, "E S"],
    weight: float,
    models: int | None = None,
) -> Float32[np.ndarray, "E S M"]:
    """`held_out_prior` of tasks that are described already.

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
