"""The memory of a spider: training tasks, their models' order, and how much each says of a new one.

A new task's score begins with a weighted sum of the remembered tasks' targets: attention over
training tasks, with weights of the task ridge (`task_ridge`); or, where nothing but class centres
is known of a task, of the task kernel (`kernel`). The network learns what this leaves.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spider_jax.spider.task_kernel import embed, kernel_weights
from spider_jax.spider.task_ridge import (
    TaskRidge,
    describe,
    design,
    fit_task_ridge,
    predict_held_out,
)
from spider_jax.tasks.sampling import MetaTask


class MemoryWeights(NamedTuple):
    """How a task finds what is remembered. embeddings: [S, e] of scaled tokens, for the kernel."""

    embeddings: NDArray[np.float32]
    ridge: TaskRidge | None = None

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """By the names under which files hold them."""
        ridge = {} if self.ridge is None else self.ridge._asdict()
        return {"embeddings": self.embeddings} | {f"ridge_{n}": a for n, a in ridge.items()}

    @staticmethod
    def of(arrays: Mapping[str, NDArray[np.float32]]) -> "MemoryWeights | None":
        """The inverse of `arrays`; None where there is no memory, no ridge in older files."""
        if "embeddings" not in arrays:
            return None
        names = [f"ridge_{name}" for name in TaskRidge._fields]
        whole = all(name in arrays for name in names)
        ridge = TaskRidge(*(arrays[name] for name in names)) if whole else None
        return MemoryWeights(arrays["embeddings"], ridge)


class Memory(NamedTuple):
    """What is kept of the training tasks.

    weights: how a new task weighs them. targets: float32 [S, M], every row with mean 0 and
    deviation `weight` of the configuration.
    """

    weights: MemoryWeights
    targets: NDArray[np.float32]


def memory_weights(
    kept: MemoryWeights,
    scaled: NDArray[np.float32],
    mask: NDArray[np.bool_],
    tokens: NDArray[np.float32],
    deviations: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """How much every remembered task counts for these tasks.

    Args:
        kept: of a memory. scaled: [T, C, p] tokens. mask: [T, C]. tokens: [T, C, D] raw.
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

    scaled [S, C, p], tokens [S, C, D] raw, mask [S, C], deviations [S, 2, D]. unit: [D] deviation
    of the sources' features. targets [S, M]. weight: deviation of what is remembered.
    """

    scaled: NDArray[np.float32]
    tokens: NDArray[np.float32]
    mask: NDArray[np.bool_]
    deviations: NDArray[np.float32]
    unit: NDArray[np.float32]
    targets: NDArray[np.float32]
    weight: float

    def rows(self) -> NDArray[np.float64]:
        """[S, 2 D], centred and scaled descriptions."""
        return design(describe(self.tokens, self.mask, self.deviations, self.unit)).rows

    def remembered(self) -> NDArray[np.float32]:
        """[S, M] targets with mean 0 and the weight as deviation."""
        centred = self.targets - self.targets.mean(1, keepdims=True)
        deviation = np.maximum(self.targets.std(1, keepdims=True), 1e-12)
        return (centred * (self.weight / deviation)).astype(np.float32)


def build_memory(notes: MemoryInputs, meta: Sequence[MetaTask]) -> Memory:
    """The memory of training tasks; the gain is what brings its word on new ones to the weight."""
    given = design(describe(notes.tokens, notes.mask, notes.deviations, notes.unit))
    targets = notes.remembered()
    new = predict_held_out(given.rows @ given.rows.T, targets, *_groups(meta))
    ridge = fit_task_ridge(given, notes.unit, _gain(new, notes.weight))
    embeddings = embed(notes.scaled, notes.mask).astype(np.float32)
    return Memory(MemoryWeights(embeddings, ridge), targets)


def held_out_prior(
    notes: MemoryInputs, meta: Sequence[MetaTask], inside: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """What memories of these tasks say of them, from tasks that share no dataset with each.

    So a training task meets the memory as a new task will.

    Args:
        notes, meta: of S tasks. inside: [E, S] True for tasks that a member may recall.

    Returns:
        float32 [E, S, M]; 0 where nothing may be recalled.
    """
    return memory_rows(notes.rows(), notes.remembered(), meta, inside, notes.weight)


def memory_rows(
    rows: NDArray[np.float64],
    targets: NDArray[np.floating],
    meta: Sequence[MetaTask],
    inside: NDArray[np.bool_],
    weight: float,
    models: int | None = None,
) -> NDArray[np.float32]:
    """`recall_own` of described tasks [S, 2 D] and what is remembered of them, [S, M].

    models: so many of the first give the gain; default: all.
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
