"""A small task with a student and teachers that see it through random matrices."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from spider_jax.heads.targets import make_targets
from spider_jax.tuning.config import TuneConfig
from spider_jax.tuning.problem import TuningProblem, make_problem
from spider_jax.tuning.students import Student
from spider_jax.tuning.teachers import Teacher, fit_teachers
from spider_jax.zoo.splits import TaskSplit

N, P, D, C = 60, 6, 5, 3
MEASURES = {"classification": "accuracy", "multi-label": "accuracy", "regression": "r2"}
CONFIG = TuneConfig(
    learning_rates=(0.05,), weights=(2.0,), seeds=1, epochs=3, batch=8, checkpoint_every=1
)


def linear(params: Any, x: Array) -> Array:
    """f(x) = x A, [B, D]."""
    return jnp.matmul(x, params["A"])


class Toy(NamedTuple):
    problem: TuningProblem
    teachers: list[Teacher]
    x: Any
    labels: Any


def toy(
    kind: str = "classification",
    *,
    views: int = 1,
    teachers: int = 2,
    live: bool = False,
    seed: int = 0,
    n: int = N,
    other_tests: bool = False,
) -> Toy:
    """Rows are dealt 60/20/20; with other_tests the test rows hold something else."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(views, n, P)).astype(np.float32)
    seen = x[0] @ rng.normal(size=(P, C)) + 0.3 * rng.normal(size=(n, C))
    labels: Any = {
        "classification": seen.argmax(1).astype(np.int32),
        "multi-label": seen > 0,
        "regression": seen.astype(np.float32),
    }[kind]
    matrices = [rng.normal(size=(P, 4 + k)).astype(np.float32) for k in range(teachers)]
    A = np.linalg.qr(rng.normal(size=(P, D)))[0].astype(np.float32)
    parts = np.split(rng.permutation(n), [3 * n // 5, 4 * n // 5])
    split = TaskSplit(*(np.sort(part) for part in parts), "toy")
    if other_tests:
        x[:, split.test] = rng.normal(size=(views, len(split.test), P))
        labels[split.test] = labels[split.test][::-1]
    known = [
        Teacher(f"t{k}", None, linear, {"A": M}) if live else Teacher(f"t{k}", x @ M)
        for k, M in enumerate(matrices)
    ]
    targets = make_targets(kind, labels, split.train)
    fitted = fit_teachers(known, x, targets.values, split.train) if known else None
    student = Student(linear, {"A": A})
    problem = make_problem(student, x, targets, labels, split, MEASURES[kind], fitted)
    return Toy(problem, known, x, labels)
