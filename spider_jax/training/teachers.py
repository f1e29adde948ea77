"""Teachers: training-free metrics of every model on every meta-task, in batches.

Features are centred within each task, and standardised unless the zoo's already are (doing it
again would undo a projection). One decomposition then serves all metrics.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Int
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.metrics.methods.h_score import h_score_core
from spider_jax.metrics.methods.knn import knn_core
from spider_jax.metrics.methods.logme import logme_core
from spider_jax.metrics.methods.ridge import ridge_core
from spider_jax.metrics.shared.statistics import Side, Statistics
from spider_jax.metrics.table import METRICS
from spider_jax.runtime.blas import one_blas_thread
from spider_jax.runtime.buckets import CLASS_BUCKET, ROW_BUCKET, Core, bucket, compiled
from spider_jax.runtime.double_precision import double_precision
from spider_jax.runtime.progress import progress
from spider_jax.storage.cache import ScoreCache, cache_key, default_folder, fingerprint
from spider_jax.tasks.moments import datasets_of, gather, rows_of_files
from spider_jax.tasks.sampling import MetaTask
from spider_jax.zoo.store import FeatureStore, Skipped

log = logging.getLogger("spider_jax")


class TeacherInputs(NamedTuple):
    """What the teachers read of one model on one task, in float64, centred and padded with 0.

    Shapes are those of one task; the arrays of a batch are stacked along a new first axis. See
    `metrics.shared.statistics` for the algebra.

    Attributes:
        s: eigenvalues of the centred Gram matrix, ascending.
        x: U^T Y, the classes' columns in the directions of U.
        U: left singular vectors of the features.
        rows_gram: inner products of the rows.
        side: Gram matrix of the smaller side, and the labels beside it.
        targets: Y, one column a class, 1 where a row belongs to it.
        rows: True where a row is one of the task.
        n: number of rows of the task.
        width: of the model's features.
        quartic: sum over the rows of |f_n|^4.
    """

    s: Float[Array, " k"]
    x: Float[Array, "k C"]
    U: Float[Array, "N k"]
    rows_gram: Float[Array, "N N"]
    side: Side
    targets: Float[Array, "N C"]
    rows: Bool[Array, " N"]
    n: Float[Array, ""]
    width: Float[Array, ""]
    quartic: Float[Array, ""]


TEACHERS: Mapping[str, Callable[[TeacherInputs], Float[Array, ""]]] = {
    "logme": lambda a: logme_core(a.s, a.x, a.targets.sum(0), a.n),
    "knn": lambda a: knn_core(a.rows_gram, a.targets, a.rows, a.n),
    "h_score_shrunk": lambda a: h_score_core(
        a.side.gram, a.side.left, a.side.right, a.targets.sum(0), a.n, a.width, a.quartic
    ),
    "ridge": lambda a: ridge_core(a.s, a.U, a.targets, a.rows, a.n),
}
BATCH, BATCH_BYTES = 16, 1 << 28  # most tasks of a batch, and most bytes of their large arrays
WORKERS = min(8, os.cpu_count() or 1)  # threads that decompose the tasks of the next batch
LABELS = 1  # raised when TeacherInputs change, so that no cached metric outlives them


def teach(
    zoo: FeatureStore,
    tasks: Sequence[MetaTask],
    metrics: Sequence[str],
    *,
    models: Sequence[str] | None = None,
    only: Int[np.ndarray, " t"] | None = None,
    holes: bool = False,
    cache: str | Path | bool = True,
    show_progress: bool = False,
) -> tuple[tuple[str, ...], Float64[np.ndarray, "_ K M"], tuple[Skipped, ...]]:
    """Compute metrics of all models on all meta-tasks.

    Args:
        zoo: features of the tasks' datasets; a batch's rows at a time are read.
        tasks: T meta-tasks.
        metrics: K names in TEACHERS.
        models: names of those to score; None for all of the zoo.
        only: positions of the tasks to score; None for all. Models are left out as if it were all,
            so that processes which share the tasks out keep the same models.
        holes: whether a model stays that cannot be read on up to half of the datasets; its metrics
            are NaN on tasks that touch these.
        cache: a folder for the metrics, True for the user's own, False for none. A metric is found
            again by the content of features and tasks, so an interrupted run does what is missing.
        show_progress: a bar on stderr.

    Returns:
        Names of the M models that could be read on every dataset; their metrics [T, K, M], or
        [t, K, M] with `only`; and what was left out, models or with `holes` a model on a dataset,
        with the reason.

    Raises:
        InputError: an unknown metric, or too few models that can be read: two, one where named.
    """
    unknown = [name for name in metrics if name not in TEACHERS]
    if unknown:
        raise InputError(f"unknown teacher {unknown[0]!r}: known are {', '.join(TEACHERS)}")
    job = _teacher_job(zoo, tasks, only, metrics, cache)
    found: dict[str, NDArray[np.float64]] = {}
    problems: list[Skipped] = []

    asked = zoo.models if models is None else models
    for model in progress(asked, "teachers", show_progress):
        lost = _unreadable(zoo, model, job.datasets) if holes else []
        try:
            if lost and 2 * len(lost) <= len(job.datasets):
                found[model] = _metrics_with_holes(zoo, model, job, {str(p.task) for p in lost})
            else:
                lost = []
                found[model] = _metrics_of(zoo, model, job)
        except InputError as error:
            lost = [Skipped(model, None, str(error))]
        for problem in lost:
            log.warning("left out of training: %s", problem)
        problems += lost
    if not found or (models is None and len(found) < 2):  # one model alone has no order
        raise InputError(
            f"fewer than two models of {zoo.folder} can be read on {list(job.datasets)}"
            if models is None
            else f"none of {list(models)} can be read: {problems[0]}"
        )
    return tuple(found), np.stack(list(found.values()), axis=-1), tuple(problems)


# ---- one model, from the cache where it knows ---------------------------------------------------


class _TeacherJob(NamedTuple):
    """What is asked of every model.

    Attributes:
        datasets: names of those that the tasks touch.
        tasks: to be scored, their rows counted in the files.
        metrics: names in TEACHERS.
        folder: of the cache; None for no cache.
        fingerprint: of the tasks' content.
    """

    datasets: Sequence[str]
    tasks: Sequence[MetaTask]
    metrics: tuple[str, ...]
    folder: Path | None
    fingerprint: str


def _teacher_job(
    zoo: FeatureStore,
    tasks: Sequence[MetaTask],
    only: NDArray[np.integer] | None,
    metrics: Sequence[str],
    cache: str | Path | bool,
) -> _TeacherJob:
    names = datasets_of(tasks)
    asked = rows_of_files(zoo, tasks if only is None else [tasks[i] for i in only])
    folder = default_folder("labels") if cache is True else Path(cache) if cache else None
    parts = (part for task in asked for part in _content(task, names))
    content = "" if folder is None else fingerprint(parts)
    return _TeacherJob(names, asked, tuple(metrics), folder, content)


def _content(task: MetaTask, names: Sequence[str]) -> tuple[NDArray[np.integer], ...]:
    """What a task is, by the places of its datasets among `names`: names are not content."""
    source = np.array([names.index(name) for name in task.datasets])[task.source]
    return source, task.rows, task.labels


def _metrics_of(zoo: FeatureStore, model: str, job: _TeacherJob) -> NDArray[np.float64]:
    """[T, K] metrics of one model; those that the cache lacks are computed and kept."""
    features = {name: zoo.features(model, name) for name in job.datasets}
    T, standardize = len(job.tasks), not zoo.standardized
    kept = ScoreCache(job.folder, _key(features, job, standardize))
    entries = {n: cache_key(n, METRICS[n].version, {"labels": LABELS}) for n in job.metrics}
    cached = {name: kept.get(key, T) for name, key in entries.items()}
    found = {name: values for name, values in cached.items() if values is not None}
    missing = tuple(name for name in job.metrics if name not in found)
    if missing:
        computed = _teach_model(features, job.tasks, missing, standardize=standardize)
        new = dict(zip(missing, computed.T, strict=True))
        kept.put_all({entries[name]: values for name, values in new.items()})
        found |= new
    return np.stack([found[name] for name in job.metrics], axis=-1)


def _unreadable(zoo: FeatureStore, model: str, datasets: Sequence[str]) -> list[Skipped]:
    """Datasets on which a model has no usable features, and why."""
    lost = []
    for name in datasets:
        try:
            zoo.features(model, name)
        except InputError as error:
            lost.append(Skipped(model, name, str(error)))
    return lost


def _metrics_with_holes(
    zoo: FeatureStore, model: str, job: _TeacherJob, lost: set[str]
) -> NDArray[np.float64]:
    """[T, K] metrics of one model, NaN on tasks that touch a dataset on which it cannot be read."""
    whole = np.array([lost.isdisjoint(task.datasets) for task in job.tasks], bool)
    tasks = [task for task, there in zip(job.tasks, whole, strict=True) if there]
    found = np.full((len(whole), len(job.metrics)), np.nan)
    if tasks:
        names = datasets_of(tasks)
        parts = (part for task in tasks for part in _content(task, names))
        content = "" if job.folder is None else fingerprint(parts)
        part = job._replace(datasets=names, tasks=tasks, fingerprint=content)
        found[whole] = _metrics_of(zoo, model, part)
    return found


def _key(features: Mapping[str, NDArray[Any]], job: _TeacherJob, standardize: bool) -> str:
    if job.folder is None:
        return ""
    content = json.dumps([fingerprint(features.values()), job.fingerprint, standardize])
    return hashlib.sha256(content.encode()).hexdigest()


# ---- batches -----------------------------------------------------------------------------------


def _teach_model(
    features: Mapping[str, NDArray[Any]],
    tasks: Sequence[MetaTask],
    metrics: tuple[str, ...],
    *,
    standardize: bool,
) -> NDArray[np.float64]:
    """[T, K] metrics of one model; tasks are padded to one shape and run in batches."""
    if not tasks:
        return np.zeros((0, len(metrics)))
    N = bucket(max(len(task.rows) for task in tasks), ROW_BUCKET)
    C = bucket(max(int(task.labels.max()) + 1 for task in tasks), CLASS_BUCKET)
    width = next(iter(features.values())).shape[1]
    sizes = N, C, bucket(min(N, width), ROW_BUCKET)

    size = int(np.clip(BATCH_BYTES // (32 * N * N), 1, BATCH))  # four squares of N a task

    def inputs(task: MetaTask) -> TeacherInputs:
        rows = gather(task, features)
        return _teacher_inputs(rows, task.labels, sizes, standardize=standardize)

    out: list[Array | NDArray[np.float64]] = []
    with one_blas_thread(), ThreadPoolExecutor(WORKERS) as pool:
        for start in range(0, len(tasks), size):
            batch = list(pool.map(inputs, tasks[start : start + size]))
            batch += batch[:1] * (size - len(batch))  # a short last batch repeats a task
            out[-1:] = [np.asarray(scores) for scores in out[-1:]]  # one batch at a time waits
            out.append(_dispatch(batch, metrics))
    return np.concatenate([np.asarray(scores) for scores in out])[: len(tasks)]


def _dispatch(batch: Sequence[TeacherInputs], metrics: tuple[str, ...]) -> Array:
    """[size, K], perhaps not there yet: the host decomposes the next batch meanwhile."""
    with double_precision():
        stacked = jax.tree.map(lambda *a: np.stack(a), *batch)
        scores: Array = compiled(_all_of(metrics), batch=True)(stacked)
    return scores


def _teacher_inputs(
    features: NDArray[np.float32],
    labels: NDArray[np.integer],
    sizes: tuple[int, int, int],
    *,
    standardize: bool,
) -> TeacherInputs:
    """What the teachers read of one task, on the host: zeros up to N rows, C classes, k directions.

    It is decomposed once for all teachers: F = U diag(sqrt s) V^T, centred.
    """
    N, C, k = sizes
    given = Statistics(features, labels.astype(np.int64), standardize=standardize)
    s, U = given.left_vectors()
    gram, left, right = given.centred
    arrays: dict[str, Any] = {
        "s": _fill(s, k),
        "x": _fill(given.centred_spectrum.x, k, C),
        "U": _fill(U, N, k),
        "rows_gram": _fill((U * s) @ U.T if given.tall else gram, N, N),
        "side": Side(_fill(gram, k, k), _fill(left, k, C), _fill(right, k, C)),
        "targets": _fill(given.targets(), N, C),
        "rows": np.arange(N) < given.n,
        "n": np.float64(given.n),
        "width": np.float64(given.width),
        "quartic": np.float64(given.moments.quartic),
    }
    return TeacherInputs(**arrays)


def _fill(array: NDArray[np.float64], *shape: int) -> NDArray[np.float64]:
    """`array` in the corner of zeros of a shape."""
    whole = np.zeros(shape)
    whole[tuple(slice(n) for n in array.shape)] = array
    return whole


@lru_cache(maxsize=16)
def _all_of(metrics: tuple[str, ...]) -> Core:
    def core(inputs: TeacherInputs) -> Float[Array, " K"]:
        return jnp.stack([TEACHERS[name](inputs) for name in metrics])

    return core
