"""Teachers: training-free metrics of every model on every meta-task, in batches.

Features are centred within each task, and standardised unless the zoo's already are (doing it
again would undo a projection). One decomposition then serves all metrics.
"""

import logging
from collections.abc import Sequence
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.metrics.h_score import h_score_core
from spider_jax.metrics.knn import knn_core
from spider_jax.metrics.logme import logme_core
from spider_jax.metrics.ridge import ridge_core
from spider_jax.metrics.statistics import (
    CLASS_BUCKET,
    ROW_BUCKET,
    Core,
    Statistics,
    bucket,
    compiled,
    statistics,
)
from spider_jax.progress import progress
from spider_jax.store import FeatureStore, Problem
from spider_jax.tasks import MetaTask, gather, load_sources

log = logging.getLogger("spider_jax")

TEACHERS: dict[str, Core] = {
    "logme": logme_core,
    "knn": knn_core,
    "h_score_shrunk": h_score_core,
    "ridge": ridge_core,
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
    width = zoo.width(model)
    out = []
    for start in range(0, len(tasks), BATCH):
        batch = tasks[start : start + BATCH]
        F = np.zeros((BATCH, N, width), np.float32)
        labels = np.full((BATCH, N), -1, np.int32)
        for i, task in enumerate(batch):
            F[i, : len(task.rows)] = gather(task, features)
            labels[i, : len(task.rows)] = task.labels
        labels[len(batch) :] = labels[0]  # a short last batch repeats a task
        F[len(batch) :] = F[0]
        targets = (labels[..., None] == np.arange(C)).astype(np.float64)
        rows, redo = labels >= 0, not zoo.standardized
        given = statistics(F, targets, rows, width, standardize=redo, centre=True)
        with jax.enable_x64(True):  # dispatched: the host decomposes the next batch meanwhile
            out.append(compiled(_all_of(metrics), batch=True)(given))
    return np.concatenate([np.asarray(scores) for scores in out])[: len(tasks)]


@lru_cache(maxsize=16)
def _all_of(metrics: tuple[str, ...]) -> Core:
    def core(given: Statistics) -> jax.Array:
        return jnp.stack([TEACHERS[name](given) for name in metrics])

    return core
