"""Teachers: training-free metrics of every model on every meta-task, in batches.

Features are centred within each task, and standardised unless the zoo's already are (doing it
again would undo a projection). One decomposition then serves all metrics.
"""

import logging
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.metrics.compiled import CLASS_BUCKET, ROW_BUCKET, Core, bucket, compiled
from spider_jax.metrics.h_score import h_score_core
from spider_jax.metrics.knn import knn_core
from spider_jax.metrics.logme import logme_core
from spider_jax.metrics.ridge import ridge_core
from spider_jax.metrics.statistics import Side, Statistics
from spider_jax.progress import progress
from spider_jax.store import FeatureStore, Problem
from spider_jax.tasks import MetaTask, gather, load_sources

log = logging.getLogger("spider_jax")


class Sheet(NamedTuple):
    """What the teachers read of one model on one task, centred, padded; stacked for a batch."""

    s: Any
    x: Any
    U: Any
    rows_gram: Any
    side: Any
    targets: Any
    rows: Any
    n: Any
    width: Any
    quartic: Any


TEACHERS: dict[str, Callable[[Sheet], jax.Array]] = {
    "logme": lambda a: logme_core(a.s, a.x, a.targets.sum(0), a.n),
    "knn": lambda a: knn_core(a.rows_gram, a.targets, a.rows, a.n),
    "h_score_shrunk": lambda a: h_score_core(
        a.side.gram, a.side.left, a.side.right, a.targets.sum(0), a.n, a.width, a.quartic
    ),
    "ridge": lambda a: ridge_core(a.s, a.U, a.targets, a.rows, a.n),
}
BATCH = 16


def teach(
    zoo: FeatureStore,
    tasks: Sequence[MetaTask],
    metrics: Sequence[str],
    *,
    show_progress: bool = False,
) -> tuple[tuple[str, ...], NDArray[np.float64], tuple[Problem, ...]]:
    """Metrics of all models on all meta-tasks.

    Args:
        zoo: features of the tasks' datasets.
        tasks: T meta-tasks.
        metrics: K names in TEACHERS.
        show_progress: a bar on stderr.

    Returns:
        names of the M models that could be read on every dataset, their metrics [T, K, M], and
        the models that were left out, with the reason.

    Raises:
        InputError: an unknown metric, or no model that can be read.
    """
    unknown = [name for name in metrics if name not in TEACHERS]
    if unknown:
        raise InputError(f"unknown teacher {unknown[0]!r}: known are {', '.join(TEACHERS)}")
    datasets = sorted({dataset for task in tasks for dataset in task.datasets})
    found: dict[str, NDArray[np.float64]] = {}
    problems: list[Problem] = []

    for model in progress(zoo.models, "teachers", show_progress):
        try:
            found[model] = _teach_model(zoo, model, tasks, tuple(metrics), datasets)
        except InputError as error:
            problems.append(Problem(model, None, str(error)))
            log.warning("left out of training: %s", problems[-1])
    if len(found) < 2:
        raise InputError(f"fewer than two models of {zoo.folder} can be read on {datasets}")
    return tuple(found), np.stack(list(found.values()), axis=-1), tuple(problems)


def _teach_model(
    zoo: FeatureStore,
    model: str,
    tasks: Sequence[MetaTask],
    metrics: tuple[str, ...],
    datasets: Sequence[str],
) -> NDArray[np.float64]:
    """[T, K] metrics of one model; tasks are padded to one shape and run BATCH at a time."""
    features = load_sources(zoo, model, datasets)
    N = bucket(max(len(task.rows) for task in tasks), ROW_BUCKET)
    C = bucket(max(int(task.labels.max()) + 1 for task in tasks), CLASS_BUCKET)
    sizes = N, C, bucket(min(N, zoo.width(model)), ROW_BUCKET)
    out = []
    for start in range(0, len(tasks), BATCH):
        batch = tasks[start : start + BATCH]
        sheets = [
            _sheet(gather(task, features), task.labels, sizes, standardize=not zoo.standardized)
            for task in batch
        ]
        sheets += sheets[:1] * (BATCH - len(batch))  # a short last batch repeats a task
        with jax.enable_x64(True):  # dispatched: the host decomposes the next batch meanwhile
            stacked = jax.tree.map(lambda *a: np.stack(a), *sheets)
            out.append(compiled(_all_of(metrics), batch=True)(stacked))
    return np.concatenate([np.asarray(scores) for scores in out])[: len(tasks)]


def _sheet(
    features: NDArray[np.float32],
    labels: NDArray[np.integer],
    sizes: tuple[int, int, int],
    *,
    standardize: bool,
) -> Sheet:
    """Statistics of one task, zeros up to N rows, C classes and k directions."""
    N, C, k = sizes
    given = Statistics(features, labels.astype(np.int64), standardize=standardize)
    s, U = given.left_vectors()
    gram, left, right = given.centred
    return Sheet(
        s=_fill(s, k),
        x=_fill(given.centred_spectrum.x, k, C),
        U=_fill(U, N, k),
        rows_gram=_fill((U * s) @ U.T if given.tall else gram, N, N),
        side=Side(_fill(gram, k, k), _fill(left, k, C), _fill(right, k, C)),
        targets=_fill(given.targets(), N, C),
        rows=np.arange(N) < given.n,
        n=np.float64(given.n),
        width=np.float64(given.width),
        quartic=np.float64(given.moments.quartic),
    )


def _fill(array: NDArray[np.float64], *shape: int) -> NDArray[np.float64]:
    """`array` in the corner of zeros of a shape."""
    whole = np.zeros(shape)
    whole[tuple(slice(n) for n in array.shape)] = array
    return whole


@lru_cache(maxsize=16)
def _all_of(metrics: tuple[str, ...]) -> Core:
    def core(sheet: Sheet) -> jax.Array:
        return jnp.stack([TEACHERS[name](sheet) for name in metrics])

    return core
