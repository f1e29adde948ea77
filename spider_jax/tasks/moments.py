"""Meta-tasks read from feature files, never whole in memory: their rows, their class centres."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32
from numpy.typing import NDArray

from spider_jax.tasks.sampling import MetaTask
from spider_jax.zoo.store import FeatureStore

BLOCK_NUMBERS = 1 << 22  # of a block of rows: 32 MB in float64


def datasets_of(tasks: Sequence[MetaTask]) -> list[str]:
    """Names of the datasets that the tasks touch, sorted."""
    return sorted({name for task in tasks for name in task.datasets})


def digest_of(tasks: Sequence[MetaTask]) -> str:
    """SHA-256 of what the tasks are: names, rows and labels."""
    digest = hashlib.sha256()
    for task in tasks:
        digest.update(repr(task.datasets).encode())
        for array in (task.source, task.rows, task.labels):
            digest.update(np.asarray(array, np.int64).tobytes())
    return digest.hexdigest()


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


def gather(
    task: MetaTask, features: Mapping[str, Float[np.ndarray, "_ D"]]
) -> Float32[np.ndarray, "n D"]:
    """Rows [N, D] of a meta-task from the features of its datasets, which may be memmaps."""
    width = features[task.datasets[0]].shape[1]
    out = np.empty((len(task.rows), width), np.float32)
    for i, name in enumerate(task.datasets):
        here = np.flatnonzero(task.source == i)
        here = here[np.argsort(task.rows[here])]  # a file is read forwards
        out[here] = features[name][task.rows[here]]
    return out


class Moments(NamedTuple):
    """What `task_tokens` holds, of many tasks.

    Attributes:
        centres: T arrays [C_t, D].
        deviations: [T, 2, D].
    """

    centres: list[Float32[np.ndarray, "C D"]]
    deviations: Float32[np.ndarray, "T 2 D"]


def moments_of_tasks(zoo: FeatureStore, model: str, tasks: Sequence[MetaTask]) -> Moments:
    """Class centres and deviations of all tasks, every dataset read once.

    sums [S, D] += members [S, b] F [b, D] for every block of b rows that some task uses, members
    sparse, S classes of all tasks that touch the dataset; of F^2 likewise, about the dataset's
    first row, so that nothing cancels. In float64; memory: the result, twice the sums
    of all classes and one block.

    Args:
        zoo: features of the model on the tasks' datasets.
        model: name of the model, or of the general extractor.
        tasks: T meta-tasks, their rows counted in the training rows.

    Returns:
        The moments.

    Raises:
        InputError: no such features, or values that are not finite.
    """
    sizes = [int(task.labels.max()) + 1 for task in tasks]
    starts = np.cumsum([0, *sizes])
    segment = _joined([task.labels + at for task, at in zip(tasks, starts, strict=False)])
    counts = np.bincount(segment, minlength=starts[-1])
    means, squares = np.zeros((2, starts[-1], zoo.width(model)))
    seen = np.zeros((starts[-1], 1))
    for name, row, where in _by_dataset(rows_of_files(zoo, tasks), starts):
        found, local, n = np.unique(where, return_inverse=True, return_counts=True)
        sums, pivot = _segment_sums(zoo.features(model, name), row, local)
        first, second = sums / n[:, None]
        # joined as Chan et al. do, for a class may be mixed of datasets
        total = seen[found] + n[:, None]
        part, apart = n[:, None] / total, first + pivot - means[found]
        own = np.maximum(second - first**2, 0)
        squares[found] += part * (own - squares[found] + (1 - part) * apart**2)
        means[found] += part * apart
        seen[found] = total
    task = np.repeat(np.arange(len(tasks)), sizes)
    weight = counts / np.maximum(np.bincount(task, counts, len(tasks)), 1)[task]
    within = _sums_by(task, weight[:, None] * squares, len(tasks))
    centre = _sums_by(task, weight[:, None] * means, len(tasks))
    between = _sums_by(task, weight[:, None] * (means - centre[task]) ** 2, len(tasks))
    deviations = np.sqrt(np.stack([within + between, within], axis=1))
    centres = np.split(means.astype(np.float32), starts[1:-1]) if tasks else []
    return Moments(centres, deviations.astype(np.float32))


def _sums_by(
    group: NDArray[np.int64], rows: NDArray[np.float64], groups: int
) -> NDArray[np.float64]:
    """[groups, D] sums of rows of sorted groups."""
    out = np.zeros((groups, rows.shape[1]))
    np.add.at(out, group, rows)
    return out


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
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sums [2, S, D] of features[row] - pivot and of its square by segment 0..S-1, and the pivot.

    One block of rows after another; the pivot [D] is the first row of the file, whatever the tasks.
    """
    from scipy.sparse import csr_array  # slow to import

    used, place = np.unique(row, return_inverse=True)
    sums = np.zeros((2, int(segment.max()) + 1, features.shape[1]))
    pivot = np.asarray(features[0], np.float64)
    step = max(1, BLOCK_NUMBERS // features.shape[1])
    for start in range(0, len(used), step):
        rows = used[start : start + step]
        block = np.asarray(features[rows], np.float64) - pivot
        here = (place >= start) & (place < start + step)
        where = segment[here], place[here] - start
        members = csr_array((np.ones(here.sum()), where), (sums.shape[1], len(rows)))
        sums[0] += members @ block
        sums[1] += members @ block**2
    return sums, pivot
