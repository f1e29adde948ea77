"""Teachers: what each predicts of the task by LogME, from exported features or as it runs."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.heads.blocks import blocks, column_scaling
from spider_jax.metrics.methods.logme import fit_logme
from spider_jax.metrics.shared.eigen import leading_eigenpairs
from spider_jax.tuning.students import Params, Student, features_on

COMPONENTS = 64  # of the best teacher's features, for distillation
HIGHEST = jax.lax.Precision.HIGHEST
Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


class Teacher(NamedTuple):
    """A frozen model. Either its exported features [V, N, D], a memmap, view v of row i made from
    view v of the student's input ([N, D] is one view), or `apply(params, x) -> [B, D]`, which runs
    in every step on the student's own batch."""

    name: str
    features: Any = None
    apply: Callable[[Params, Array], Array] | None = None
    params: Params = None


class Live(NamedTuple):
    """Teachers that run: functions, and for each its params and posterior mean [C, D]."""

    applies: tuple[Callable[[Params, Array], Array], ...] = ()
    params: tuple[Params, ...] = ()
    means: tuple[Array, ...] = ()


class FittedTeachers(NamedTuple):
    """Teachers on the training rows of a task: exported ones first, then those that run.

    names: [K]. scores: [K] LogME. means: of each the posterior mean [C, D_k]. exported: how many.
    teachers: in the same order.
    """

    names: tuple[str, ...]
    scores: NDArray[np.float64]
    means: tuple[Floats, ...]
    exported: int
    teachers: tuple[Teacher, ...]

    @property
    def best(self) -> int:
        """Position of the largest LogME."""
        return int(self.scores.argmax())

    def live(self) -> Live:
        """Those that run."""
        running = self.teachers[self.exported :]
        applies = tuple(t.apply for t in running if t.apply is not None)
        means = tuple(jnp.asarray(mean) for mean in self.means[self.exported :])
        return Live(applies, tuple(t.params for t in running), means)

    def predictions(self, rows: Rows, views: int) -> Floats:
        """f_k(x) M_k^T [V, n, K, C] of the exported ones, float32; features are read by blocks."""
        C = self.means[0].shape[0]
        found = np.empty((views, len(rows), self.exported, C), np.float32)
        for k, teacher in enumerate(self.teachers[: self.exported]):
            for v, view in enumerate(as_views(teacher.features, views, teacher.name)):
                done = 0
                for part in blocks(rows, view.shape[1]):
                    block = np.asarray(view[part], np.float32)
                    found[v, done : done + len(part), k] = block @ self.means[k].T
                    done += len(part)
        return found

    def best_features(self, rows: Rows, views: int) -> Floats:
        """What distillation copies: [V, n, E] of the best teacher, see `principal_parts`.

        Raises:
            InputError: the best one runs; distillation reads exported features.
        """
        teacher = self.teachers[self.best]
        if self.best >= self.exported:
            raise InputError(f"distillation reads exported features, {teacher.name!r} has none")
        given = as_views(teacher.features, views, teacher.name)
        return principal_parts([np.asarray(view[rows], np.float32) for view in given])


def principal_parts(views: Sequence[Floats]) -> Floats:
    """[V, n, E] of features: standardised, then the E <= 64 principal components of view 0, all in
    one unit so that their mean square is 1. A projection onto all columns would cost as much as
    the rest of a step."""
    mean, scale = column_scaling(views[0], np.arange(len(views[0])))
    Z = [((view - mean) / scale).astype(np.float64) for view in views]
    _, basis = leading_eigenpairs(Z[0].T @ Z[0], min(COMPONENTS, len(mean)))
    parts = np.stack([z @ basis for z in Z])
    unit = np.sqrt((parts[0] ** 2).mean())
    return np.asarray(parts / (unit if unit > 0 else 1), np.float32)


def fit_teachers(
    teachers: Sequence[Teacher], inputs: Any, Y: Floats, train: Rows
) -> FittedTeachers:
    """LogME of every teacher on the training rows, plain view.

    Args:
        teachers: at least one. inputs: [V, N, ...] of the student, for teachers that run.
        Y: [N, C] columns to predict. train: row numbers.

    Raises:
        InputError: no teacher, a teacher without features and function, or other rows.
    """
    if not teachers:
        raise InputError("teachers must name at least one model")
    ordered = sorted(teachers, key=lambda t: t.features is None)  # stable
    scores, means = [], []
    for teacher in ordered:
        fit = fit_logme(_plain(teacher, inputs, len(Y), train), Y[train].astype(np.float64))
        scores.append(fit.score)
        means.append(fit.posterior_mean.astype(np.float32))
    return FittedTeachers(
        tuple(t.name for t in ordered),
        np.array(scores),
        tuple(means),
        sum(t.features is not None for t in ordered),
        tuple(ordered),
    )


def _plain(teacher: Teacher, inputs: Any, n: int, train: Rows) -> Floats:
    if teacher.features is None:
        if teacher.apply is None:
            raise InputError(f"teacher {teacher.name!r} needs features or apply")
        student = Student(teacher.apply, teacher.params)
        return features_on(student, teacher.params, inputs[0], train)
    view = teacher.features if teacher.features.ndim == 2 else teacher.features[0]
    if len(view) != n:
        raise InputError(f"features of teacher {teacher.name!r} must have {n} rows: {len(view)}")
    return np.asarray(view[train], np.float32)


def live_predictions(live: Live, x: Array) -> list[Array]:
    """f_k(x) M_k^T [B, C] of the teachers that run; no gradient reaches them."""
    found = []
    for apply, params, mean in zip(live.applies, live.params, live.means, strict=True):
        features = jax.lax.stop_gradient(apply(params, x))
        found.append(jnp.matmul(features, mean.T, precision=HIGHEST))
    return found


def as_views(features: Any, views: int, name: str) -> list[Any]:
    """The [N, D] of every view.

    Raises:
        InputError: another number of views than the student's input has.
    """
    given = [features] if features.ndim == 2 else list(features)
    if len(given) != views:
        raise InputError(f"features of {name!r} must have {views} views, as the student's input")
    return given
