"""Meta-tasks read from feature files, never whole in memory: their rows, their class centres."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spider_jax.store import FeatureStore
from spider_jax.tasks import MetaTask

BLOCK_NUMBERS = 1 << 22  # of a block of rows: 32 MB in float64


def datasets_of(tasks: Sequence[MetaTask]) -> list[str]:
    """Names of the datasets that the tasks touch, sorted."""
    return sorted({name for task in tasks for name in task.datasets})


def rows_of_files(zoo: FeatureStore, tasks: Sequence[MetaTask]) -> list[MetaTask]:
    """The same tasks, their rows counted in the feature files instead of in the training rows."""
    training = {name: zoo.training_rows(name) for name in datasets_of(tasks)}
    return [replace(task, rows=_in_files(task, training)) for task in tasks]


def _in_files(task: MetaTask, training: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
    rows = np.empty_like(task.rows)
    for i, name in enumerate(task.datasets):
        here = task.source == i
        rows[here] = training[name][task.rows[here]]
    return rows


def gather(task: MetaTask, features: Mapping[str, NDArray[np.floating]]) -> NDArray[np.float32]:
    """Rows [N, D] of a meta-task from the features of its datasets, which may be memmaps."""
    width = features[task.datasets[0]].shape[1]
    out = np.empty((len(task.rows), width), np.float32)
    for i, name in enumerate(task.datasets):
        here = np.flatnonzero(task.source == i)
        here = here[np.argsort(task.rows[here])]  # a file is read forwards
        out[here] = features[name][task.rows[here]]
    return out


def centres_of_tasks(
    zoo: FeatureStore, model: str, tasks: Sequence[MetaTask]
) -> list[NDArray[np.float32]]:
    """Class centres of all tasks, every dataset read once: mean over a class of a task of its rows.

    sums [S, D] += members [S, b] F [b, D] for every block of b rows that some task uses, members
    sparse, S classes of all tasks that touch the dataset. Sums in float64; memory: the result, the
    sums of one dataset and one block.

    Args:
        zoo: features of the model on the tasks' datasets.
        model: name of the model, or of the general extractor.
        tasks: T meta-tasks, their rows counted in the training rows.

    Returns:
        T arrays [C_t, D].

    Raises:
        InputError: no such features, or values that are not finite.
    """
    sizes = [int(task.labels.max()) + 1 for task in tasks]
    starts = np.cumsum([0, *sizes])
    segment = _joined([task.labels + at for task, at in zip(tasks, starts, strict=False)])
    counts = np.bincount(segment, minlength=starts[-1])
    centres = np.zeros((starts[-1], zoo.width(model)), np.float32)
    for name, row, where in _by_dataset(rows_of_files(zoo, tasks), starts):
        found, local = np.unique(where, return_inverse=True)
        sums = _segment_sums(zoo.features(model, name), row, local)
        centres[found] += (sums / counts[found, None]).astype(np.float32)
    return np.split(centres, starts[1:-1]) if tasks else []


def _by_dataset(
    tasks: Sequence[MetaTask], starts: NDArray[np.int64]
) -> Iterator[tuple[str, NDArray[np.int64], NDArray[np.int64]]]:
    """(dataset, rows [n] that tasks use, their segments [n]: classes of all tasks in a row)."""
    for name in datasets_of(tasks):
        rows, segments = [], []
        for task, start in zip(tasks, starts, strict=False):
            if name in task.datasets:
                here = task.source == task.datasets.index(name)
                rows.append(task.rows[here])
                segments.append(task.labels[here] + start)
        yield name, _joined(rows), _joined(segments)


def _joined(parts: Sequence[NDArray[np.integer]]) -> NDArray[np.int64]:
    return np.concatenate([*parts, np.zeros(0, np.int64)]).astype(np.int64)


def _segment_sums(
    features: NDArray[Any], row: NDArray[np.int64], segment: NDArray[np.int64]
) -> NDArray[np.float64]:
    """[S, D] sums of features[row] by segment 0..S-1, one block of rows after another."""
    from scipy.sparse import csr_array  # slow to import

    used, place = np.unique(row, return_inverse=True)
    sums = np.zeros((int(segment.max()) + 1, features.shape[1]))
    step = max(1, BLOCK_NUMBERS // features.shape[1])
    for start in range(0, len(used), step):
        rows = used[start : start + step]
        block = np.asarray(features[rows], np.float64)
        here = (place >= start) & (place < start + step)
        where = segment[here], place[here] - start
        members = csr_array((np.ones(here.sum()), where), (len(sums), len(rows)))
        sums += members @ block
    return sums
