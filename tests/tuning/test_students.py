"""Students of Flax modules and on features; what is frozen in them does not move."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from spider_jax.heads.targets import make_targets
from spider_jax.tuning.config import TuneConfig
from spider_jax.tuning.files import TunedStudent
from spider_jax.tuning.problem import TuningProblem, make_problem
from spider_jax.tuning.students import (
    Student,
    feature_student,
    features_on,
    linen_student,
    nnx_student,
)
from spider_jax.tuning.tune_student import tune
from spider_jax.zoo.splits import TaskSplit

pytestmark = pytest.mark.slow

Refused = Callable[..., AbstractContextManager[None]]
ROWS = np.arange(12)
SPLIT = TaskSplit(ROWS[:8], ROWS[8:10], ROWS[10:], "toy")
CONFIG = TuneConfig(learning_rates=(0.05,), seeds=1, epochs=2, batch=4)


class Convolutions(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.convolution = nnx.Conv(1, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.dropout(nnx.relu(self.norm(self.convolution(x)))).mean((1, 2))


class LinenConvolutions(linen.Module):
    @linen.compact
    def __call__(self, x: Any) -> Any:
        x = linen.Conv(4, (3, 3))(x)
        return linen.relu(linen.BatchNorm(use_running_average=True)(x)).mean((1, 2))


def pictures() -> Any:
    return np.random.default_rng(0).normal(size=(12, 5, 5, 1)).astype(np.float32)


def problem(student: Student) -> TuningProblem:
    x, labels = pictures(), (ROWS % 2).astype(np.int32)
    targets = make_targets("classification", labels, SPLIT.train)
    return make_problem(student, x[None], targets, labels, SPLIT, "accuracy", None)


def moved(before: Any, after: Any) -> list[bool]:
    pairs = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
    return [bool(np.any(np.asarray(a) != np.asarray(b))) for a, b in pairs]


def test_an_nnx_module_from_pixels() -> None:
    module = Convolutions(nnx.Rngs(0))
    with jax.numpy_dtype_promotion("standard"):
        student = nnx_student(module)
        np.testing.assert_allclose(
            features_on(student, student.params, pictures(), ROWS),
            module(jnp.asarray(pictures())),
            atol=1e-6,
        )
        found = tune(problem(student), ("fine-tuning",), CONFIG)
    assert all(moved(student.params, found.results[0].params["student"]))
    assert len(jax.tree.leaves(student.params)) == 4  # two of the convolution, two of the norm


def test_a_part_of_an_nnx_module() -> None:
    """Only what the filter names is trained; the norm's scale and statistics are frozen."""

    def kernels(path: Any, value: Any) -> bool:
        return isinstance(value, nnx.Param) and "convolution" in path

    with jax.numpy_dtype_promotion("standard"):
        student = nnx_student(Convolutions(nnx.Rngs(0)), kernels)
        found = tune(problem(student), ("fine-tuning",), CONFIG)
    assert len(jax.tree.leaves(student.params)) == 2
    assert all(moved(student.params, found.results[0].params["student"]))


def test_a_linen_module_from_pixels() -> None:
    module = LinenConvolutions()
    with jax.numpy_dtype_promotion("standard"):
        variables = module.init(jax.random.key(0), jnp.asarray(pictures()))
        student = linen_student(module, variables)
        wanted = module.apply(variables, jnp.asarray(pictures()))
        found = features_on(student, student.params, pictures(), ROWS)
        np.testing.assert_allclose(found, wanted, atol=1e-6)
        tuned = tune(problem(student), ("fine-tuning",), CONFIG)
    assert all(moved(student.params, tuned.results[0].params["student"]))


def test_a_student_on_features_begins_as_they_are() -> None:
    features = np.random.default_rng(0).normal(3, 2, size=(12, 4)).astype(np.float16)
    features[:, 1] = 5  # constant: stays 0
    student = feature_student(features, SPLIT.train, hidden=3)
    F = features[SPLIT.train].astype(np.float64)
    scale = np.where(F.std(0) > 0, F.std(0), 1)
    wanted = (features - F.mean(0)) / scale / 2  # sqrt(D) = 2
    found = features_on(student, student.params, features, ROWS)
    np.testing.assert_allclose(found, np.c_[wanted, np.ones(12)], atol=1e-5)


def test_the_adapter_is_residual() -> None:
    features = np.random.default_rng(0).normal(size=(12, 4)).astype(np.float32)
    student = feature_student(features, ROWS, hidden=3)
    u = features_on(student, student.params, features, ROWS)[:, :4]
    params = student.params | {
        "W": np.ones((3, 4), np.float32),
        "c": np.array([0, 0, -9e9], np.float32),
    }
    inner = np.maximum(u @ student.params["V"][:, :2], 0)  # the third unit is never on
    found = features_on(student, params, features, ROWS)[:, :4]
    np.testing.assert_allclose(found, u + inner.sum(1, keepdims=True), atol=1e-5)


def test_what_is_refused(refused: Refused, tmp_path: Any) -> None:
    features = np.ones((12, 4), np.float32)
    with refused("hidden must be >= 1", 0):
        feature_student(features, ROWS, hidden=0)
    with refused("apply must give features [B, D]", "pool them"):
        problem(Student(lambda params, x: x * params, np.ones((), np.float32)))
    with refused("tuned.json is missing"):
        TunedStudent.load(tmp_path)
