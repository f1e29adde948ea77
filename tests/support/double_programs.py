"""Every program of float64 that the package compiles, on shapes of a small problem."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from spider_jax.belief import learn_process
from spider_jax.ensemble.feature_selection import select_features
from spider_jax.metrics.methods.otce import otce
from spider_jax.metrics.table import METRICS, SHIFT_METRICS
from spider_jax.recommend import covariance, factor_analysis, task_kernel
from spider_jax.records.trends import mine_trends, trend_predictions
from spider_jax.runtime import buckets
from spider_jax.training import teachers
from support.lowered import Program, abstract, of_shape
from support.toy_tasks import blobs

CORES = "runtime.buckets:compiled"


def float64_programs(patch: Any) -> Iterator[Program]:
    """All of them; what metrics compile is written down while they are computed.

    Args:
        patch: pytest's monkeypatch.
    """
    yield from _cores(patch)
    yield _teachers()
    yield from _learned()


def _cores(patch: Any) -> list[Program]:
    """What goes through `buckets.run`, with the arguments that it is called with."""
    found: dict[tuple[Any, ...], Program] = {}
    compiled = buckets.compiled

    def spy(core: Any, options: Any = (), **more: Any) -> Callable[..., Any]:
        call = compiled(core, options, **more)

        def called(*given: Any) -> Any:
            program = Program(f"core {core.__name__}", CORES, call, abstract(given), double=True)
            found.setdefault((core, options), program)
            return call(*given)

        return called

    patch.setattr(buckets, "compiled", spy)
    _compute()
    patch.undo()
    return list(found.values())


def _compute() -> None:
    """Everything that is computed through `buckets.run`, once."""
    F, y = blobs()
    domains = np.arange(len(y)) % 2
    for name, metric in METRICS.items():
        if metric.needs == "features" and name != "linear_probe":  # which is of float32
            metric.score(F, y)
    SHIFT_METRICS["zood"].score(F, y, domains=domains)
    otce(F, y, F[:20], y[:20])
    rng = np.random.default_rng(0)
    select_features(F, np.eye(3)[y])
    curves, finals = rng.random((4, 5, 3)), rng.random((4, 5))
    mine_trends(curves, finals, k=2)
    trend_predictions(curves, finals, k=2)


def _teachers() -> Program:
    """All teachers of a batch of tasks."""
    F, y = blobs()
    inputs = teachers._teacher_inputs(np.float32(F), y, (64, 8, 64), standardize=True)
    batch = jax.tree.map(lambda a: np.stack([a, a]), inputs)
    call = buckets.compiled(teachers._all_of(tuple(teachers.TEACHERS)), batch=True)
    return Program("teachers", CORES, call, (abstract(batch),), double=True)


def _learned() -> Iterator[Program]:
    """What is learned of records and held-out tasks by its gradient."""
    a, n, r, F, T, M, G = 3, 5, 2, 4, 6, 7, 2
    rows = (a, n, r), (a, n), (a, n, F), *((a, n),) * 5, (a,)
    given: tuple[Any, ...] = _(5), _(5), covariance._Rows(*map(_of, rows))
    yield _gradient(covariance, given)
    P = F + task_kernel.OTHERS
    near = _(F, a, T), of_shape(a, T, dtype="bool"), _(T, M), _(T, M)
    asked = of_shape(a, dtype="int64")
    yield _gradient(task_kernel, (_(P), _(P), _(), *near, asked, _(a, M), _(a, M), _(a)))
    every, group = n + G + a, of_shape(a, dtype="int64")
    whole = of_shape(a, dtype="bool")
    distances = _(2, n, n), _(2, a, n), _(every, every), _(G, n)
    yield _gradient(learn_process, (_(5), *distances, group, whole, _(a)))
    places = of_shape(2, n, dtype="int64")
    table = factor_analysis._Table(places, places, _(2, n), _(2, n))
    static = {"tasks": T, "steps": 3}
    given = table, _(M, r), _(M), _(M), _(M)
    more = {"steady": _(), "least": _()}
    at = "recommend.factor_analysis:_fit"
    fit = factor_analysis._fit
    yield Program("factor analysis", at, fit, given, static | more, double=True)


def _gradient(module: Any, given: tuple[Any, ...]) -> Program:
    name = module.__name__.removeprefix("spider_jax.")
    return Program(name, f"{name}:_loss_and_slope", module._loss_and_slope, given, double=True)


def _(*shape: int) -> Any:
    return of_shape(*shape, dtype="float64")


def _of(shape: tuple[int, ...]) -> Any:
    return _(*shape)
