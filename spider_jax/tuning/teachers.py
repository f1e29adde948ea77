"""Teachers: what each predicts of the task by LogME, from exported features or as it runs."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Float64, Int, Num, Shaped

from spider_jax.errors import InputError
from spider_jax.heads.blocks import blocks, column_scaling
from spider_jax.metrics.methods.logme import fit_logme
from spider_jax.metrics.shared.eigen import leading_eigenpairs
from spider_jax.tuning.students import Apply, Params, Student, features_on

COMPONENTS = 64  # of the best teacher's features, for distillation
HIGHEST = jax.lax.Precision.HIGHEST


class Teacher(NamedTuple):
    """A frozen model: either its exported features, or a function that runs in every step.

    Attributes:
        name: of the model.
        features: [V, N, D], also a memmap: view v of row i is made from view v of the student's
            input; [N, D] is one view. None for a teacher that runs.
        apply: `apply(params, x)` gives [B, D] of the student's own batch; None for a teacher with
            exported features.
        params: of `apply`.
    """

    name: str
    features: Num[np.ndarray, "*V N D"] | None = None
    apply: Apply | None = None
    params: Params = None


class Live(NamedTuple):
    """Teachers that run.

    Attributes:
        applies: their functions.
        params: of each.
        means: LogME's posterior mean of each.
    """

    applies: tuple[Apply, ...] = ()
    params: tuple[Params, ...] = ()
    means: tuple[Float[Array, "C _"], ...] = ()


class FittedTeachers(NamedTuple):
    """Teachers on the training rows of a task: exported ones first, then those that run.

    Attributes:
        names: of the K teachers.
        scores: LogME of each.
        means: LogME's posterior mean of each.
        exported: how many have exported features.
        teachers: in the same order.
    """

    names: tuple[str, ...]
    scores: Float64[np.ndarray, " K"]
    means: tuple[Float32[np.ndarray, "C _"], ...]
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

    def predictions(
        self, rows: Int[np.ndarray, " n"], views: int
    ) -> Float32[np.ndarray, "V n K C"]:
        """f_k(x) M_k^T of the K exported ones; features are read by blocks.

        Args:
            rows: their numbers.
            views: V of the student's input.

        Raises:
            InputError: a teacher with another number of views.
        """
        C = self.means[0].shape[0]
        found = np.empty((views, len(rows), self.exported, C), np.float32)
        for k, teacher in enumerate(self.teachers[: self.exported]):
            for v, view in enumerate(as_views(teacher, views)):
                done = 0
                for part in blocks(rows, view.shape[1]):
                    block = np.asarray(view[part], np.float32)
                    found[v, done : done + len(part), k] = block @ self.means[k].T
                    done += len(part)
        return found

    def best_features(
        self, rows: Int[np.ndarray, " n"], views: int
    ) -> Float32[np.ndarray, "V n E"]:
        """What distillation copies of the best teacher, see `principal_parts`.

        Args:
            rows: their numbers.
            views: V of the student's input.

        Raises:
            InputError: the best one runs; distillation reads exported features.
        """
        teacher = self.teachers[self.best]
        if self.best >= self.exported:
            raise InputError(f"distillation reads exported features, {teacher.name!r} has none")
        given = as_views(teacher, views)
        return principal_parts([np.asarray(view[rows], np.float32) for view in given])


def principal_parts(
    views: Sequence[Float32[np.ndarray, "n D"]],
) -> Float32[np.ndarray, "V n E"]:
    """Features standardised, then projected onto the E <= 64 principal components of view 0.

    All are in one unit, so that the mean square of view 0 is 1. A projection onto all columns would
    cost as much as the rest of a step.

    Args:
        views: the features of every view.
    """
    mean, scale = column_scaling(views[0], np.arange(len(views[0])))
    Z = [((view - mean) / scale).astype(np.float64) for view in views]
    _, basis = leading_eigenpairs(Z[0].T @ Z[0], min(COMPONENTS, len(mean)))
    parts = np.stack([z @ basis for z in Z])
    unit = np.sqrt((parts[0] ** 2).mean())
    return np.asarray(parts / (unit if unit > 0 else 1), np.float32)


def fit_teachers(
    teachers: Sequence[Teacher],
    inputs: Shaped[np.ndarray, "V N ..."] | None,
    Y: Float32[np.ndarray, "N C"],
    train: Int[np.ndarray, " n"],
) -> FittedTeachers:
    """LogME of every teacher on the training rows, plain view.

    Args:
        teachers: at least one.
        inputs: of the student, for teachers that run; None where none does.
        Y: columns to predict, see `make_targets`.
        train: the rows to fit on.

    Returns:
        The teachers with their scores and posterior means.

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


def _plain(
    teacher: Teacher,
    inputs: Shaped[np.ndarray, "V N ..."] | None,
    n: int,
    train: Int[np.ndarray, " n"],
) -> Float32[np.ndarray, "n D"]:
    """Features of a teacher on the training rows, plain view."""
    if teacher.features is None:
        if teacher.apply is None or inputs is None:
            raise InputError(f"teacher {teacher.name!r} needs features or apply")
        student = Student(teacher.apply, teacher.params)
        return features_on(student, teacher.params, inputs[0], train)
    view = teacher.features if teacher.features.ndim == 2 else teacher.features[0]
    if len(view) != n:
        raise InputError(f"features of teacher {teacher.name!r} must have {n} rows: {len(view)}")
    return np.asarray(view[train], np.float32)


def live_predictions(live: Live, x: Shaped[Array, "B ..."]) -> list[Float[Array, "B C"]]:
    """f_k(x) M_k^T of the teachers that run; no gradient reaches them.

    Args:
        live: the teachers.
        x: rows of the student's input.
    """
    found = []
    for apply, params, mean in zip(live.applies, live.params, live.means, strict=True):
        features = jax.lax.stop_gradient(apply(params, x))
        found.append(jnp.matmul(features, mean.T, precision=HIGHEST))
    return found


def as_views(teacher: Teacher, views: int) -> list[Num[np.ndarray, "N D"]]:
    """The exported features of every view.

    Args:
        teacher: with features.
        views: V of the student's input.

    Raises:
        InputError: no features, or another number of views than the student's input has.
    """
    features = teacher.features
    given = [] if features is None else [features] if features.ndim == 2 else list(features)
    if len(given) != views:
        raise InputError(
            f"features of {teacher.name!r} must have {views} views, as the student's input"
        )
    return given
