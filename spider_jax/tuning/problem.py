"""A student, its task and its teachers: what a tuning is about."""

import hashlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from spider_jax.heads.targets import Targets
from spider_jax.metrics.methods.logme import fit_logme
from spider_jax.tuning.students import Student, features_on
from spider_jax.tuning.teachers import FittedTeachers
from spider_jax.zoo.splits import TaskSplit

SAMPLED = 64  # rows that stand for the inputs in a problem's identity
Floats = NDArray[np.float32]


class TuningProblem(NamedTuple):
    """A student, its task, and teachers.

    inputs: [V, N, ...], view 0 is the plain one; others are augmentations, read in training alone.
    targets, truth: what is learned and what predictions are measured by. measure: name in
    TASK_MEASURES. mean: LogME means [C, D] of the student's first features, see `make_problem`.
    """

    student: Student
    inputs: Any
    targets: Targets
    truth: NDArray[Any]
    split: TaskSplit
    measure: str
    teachers: FittedTeachers | None
    mean: Floats
    identity: str


def make_problem(
    student: Student,
    inputs: Any,
    targets: Targets,
    truth: NDArray[Any],
    split: TaskSplit,
    measure: str,
    teachers: FittedTeachers | None,
) -> TuningProblem:
    """A Problem: fits LogME to the student's features as they begin, on the training rows."""
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


def _plain_array(leaf: Any) -> NDArray[Any]:
    """A leaf in memory; the keys of a module's random streams by their numbers."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.ascontiguousarray(leaf)
