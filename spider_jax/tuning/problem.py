"""A student, its task and its teachers: what a tuning is about."""

import hashlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Shaped

from spider_jax.heads.targets import Targets
from spider_jax.metrics.methods.logme import fit_logme
from spider_jax.tuning.students import Student, features_on
from spider_jax.tuning.teachers import FittedTeachers
from spider_jax.zoo.splits import TaskSplit

SAMPLED = 64  # rows that stand for the inputs in a problem's identity


class TuningProblem(NamedTuple):
    """A student, its task, and teachers.

    Attributes:
        student: what is tuned.
        inputs: V views of every row: view 0 is the plain one; others are augmentations, which are
            read in training alone.
        targets: what is learned.
        truth: what predictions are measured by: [N] or [N, K].
        split: rows that train, validate and test.
        measure: name in TASK_MEASURES.
        teachers: fitted to the training rows; None for methods without.
        mean: LogME's posterior means of the student's first features.
        identity: a digest; checkpoints of another problem are not taken for this one's.
    """

    student: Student
    inputs: Shaped[np.ndarray, "V N ..."]
    targets: Targets
    truth: Shaped[np.ndarray, "N ..."]
    split: TaskSplit
    measure: str
    teachers: FittedTeachers | None
    mean: Float32[np.ndarray, "C D"]
    identity: str


def make_problem(
    student: Student,
    inputs: Shaped[np.ndarray, "V N ..."],
    targets: Targets,
    truth: Shaped[np.ndarray, "N ..."],
    split: TaskSplit,
    measure: str,
    teachers: FittedTeachers | None,
) -> TuningProblem:
    """A problem; LogME is fitted to the student's first features on the training rows.

    Args:
        student: what is tuned.
        inputs: V views of every row, the plain one first; also a memmap.
        targets: of `make_targets`.
        truth: labels [N], or labels or numbers [N, K].
        split: rows that train, validate and test.
        measure: name in TASK_MEASURES.
        teachers: of `fit_teachers`; None for methods that need none.

    Returns:
        The problem.

    Raises:
        InputError: the student's features are not [B, D].
    """
    first = features_on(student, student.params, inputs[0], split.train)
    fit = fit_logme(first, targets.values[split.train].astype(np.float64))
    mean = fit.posterior_mean.astype(np.float32)
    digest = hashlib.sha256(repr((inputs.shape, str(inputs.dtype), measure)).encode())
    rows = np.linspace(0, inputs.shape[1] - 1, SAMPLED).astype(np.int64)
    held = [*jax.tree.leaves((student.params, student.frozen)), *split[:3], targets.values, mean]
    held += [inputs[:, rows]] if teachers is None else [inputs[:, rows], *teachers.means]
    for array in held:
        digest.update(_plain_array(array).tobytes())
    return TuningProblem(
        student, inputs, targets, truth, split, measure, teachers, mean, digest.hexdigest()
    )


def _plain_array(leaf: Array | np.ndarray) -> np.ndarray:
    """A leaf in memory; the keys of a module's random streams by their numbers."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.ascontiguousarray(leaf)
