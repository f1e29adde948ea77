"""Tasks as tokens: class centres of the general extractor, and meta-tasks mixed from classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spider_jax.errors import InputError
from spider_jax.metrics.inputs import check_labels, finite_features
from spider_jax.store import FeatureStore


def task_tokens(features: ArrayLike, labels: ArrayLike) -> NDArray[np.float32]:
    """Class centres mu_c = mean of the features of class c: a task as a set of tokens.

    Args:
        features: [N, D] the general extractor's raw features. labels: [N] int.

    Returns:
        float32 [C, D], classes in sorted order of their labels.

    Raises:
        InputError: shapes that do not match, values that are not finite, one class only.
    """
    F = finite_features(features)
    return class_centres(F, check_labels(labels, len(F)))


def class_centres(
    features: NDArray[np.floating], labels: NDArray[np.integer]
) -> NDArray[np.float32]:
    """[C, D] means of the rows of each class 0..C-1 (segment sums in float64)."""
    members = np.eye(int(labels.max()) + 1)[labels]
    return np.asarray(members.T @ features / members.sum(0)[:, None], np.float32)


def zoo_tokens(zoo: FeatureStore, task: str, extractor: Mapping[str, Any]) -> NDArray[np.float32]:
    """`task_tokens` of a task of a zoo: class centres of this extractor on its training rows.

    Raises:
        InputError: unknown task, or a zoo with another extractor.
    """
    if zoo.extractor is not None and zoo.extractor != extractor["name"]:
        raise InputError(
            f"{zoo.folder} has extractor {zoo.extractor!r}, the spider needs "
            f"{extractor['name']!r}: export that extractor's features"
        )
    features = zoo.training_features(extractor["name"], task)
    return task_tokens(features, zoo.training_labels(task))


def check_tokens(tokens: ArrayLike, extractor: Mapping[str, Any], what: str) -> NDArray[np.float32]:
    """Tokens as float32 [C, D] of this extractor (its name and width); `what` they are called.

    Raises:
        InputError: no array of numbers, another width, no class, or not finite.
    """
    wanted = f"[C, {extractor['width']}] class centres of {extractor['name']!r}"
    try:
        with np.errstate(over="ignore"):  # what float32 cannot hold is found below
            values = np.asarray(tokens, np.float32)
    except (TypeError, ValueError):
        raise InputError(f"{what} must be {wanted}, got no array of numbers") from None
    if values.ndim != 2 or values.shape[1] != extractor["width"] or len(values) == 0:
        raise InputError(f"{what} must be {wanted}, got {values.shape}")
    if not np.isfinite(values).all():
        raise InputError(f"{what} must be finite, got NaN or infinity")
    return values


@dataclass(frozen=True)
class MetaTask:
    """A training task: classes drawn from one or more source datasets.

    datasets: names [S] of the sources it touches. source [N]: which of them a row comes from.
    rows [N]: its row there. labels [N]: 0..C-1.
    """

    datasets: tuple[str, ...]
    source: NDArray[np.int32]
    rows: NDArray[np.int64]
    labels: NDArray[np.int32]


@dataclass(frozen=True)
class TaskConfig:
    """How meta-tasks are sampled from the source datasets.

    count: tasks. single: share of tasks whose classes come from one source, as a user's do; the
    others mix two to max_datasets sources. min_classes, max_classes:
    classes of a task (fewer where the sources hold fewer). rows: about so many samples a task,
    min_per_class to max_per_class of each class.
    """

    count: int = 1000
    single: float = 0.6
    max_datasets: int = 3
    min_classes: int = 3
    max_classes: int = 20
    rows: int = 192
    min_per_class: int = 8
    max_per_class: int = 32

    def __post_init__(self) -> None:
        if self.count < 1 or self.max_datasets < 1:
            raise InputError("tasks: count and max_datasets must be at least 1")
        if not 0 <= self.single <= 1:
            raise InputError(f"tasks: single must be in [0, 1], got {self.single}")
        if not 2 <= self.min_classes <= self.max_classes:
            raise InputError("tasks: 2 <= min_classes <= max_classes must hold")
        if not 1 <= self.min_per_class <= self.max_per_class:
            raise InputError("tasks: 1 <= min_per_class <= max_per_class must hold")

    @property
    def max_rows(self) -> int:
        """No task has more rows than this."""
        return max(self.rows, self.min_per_class * self.max_classes)


def sample_tasks(
    labels: dict[str, NDArray[np.int32]], config: TaskConfig, seed: int
) -> list[MetaTask]:
    """Draw meta-tasks: sources, then classes of their union, then rows of every class.

    Args:
        labels: dataset -> [N] classes 0..C-1 of its training rows.
        config: sizes. seed: the same seed draws the same tasks.

    Returns:
        config.count tasks.

    Raises:
        InputError: no dataset.
    """
    if not labels:
        raise InputError("tasks to train on must name at least one dataset, got none")
    rng = np.random.default_rng(seed)
    return [_sample(labels, config, rng) for _ in range(config.count)]


def _sample(
    labels: dict[str, NDArray[np.int32]], config: TaskConfig, rng: np.random.Generator
) -> MetaTask:
    names = list(labels)
    most = min(config.max_datasets, len(names))
    count = 1 if most == 1 or rng.random() < config.single else int(rng.integers(2, most + 1))
    drawn = [names[i] for i in rng.permutation(len(names))[:count]]
    union = [(d, c) for d in drawn for c in range(int(labels[d].max()) + 1)]
    size = min(int(rng.integers(config.min_classes, config.max_classes + 1)), len(union))
    classes = [union[i] for i in rng.permutation(len(union))[:size]]
    datasets = tuple(d for d in drawn if d in {d for d, _ in classes})
    per_class = int(np.clip(config.rows // size, config.min_per_class, config.max_per_class))
    chosen = [rng.permutation(np.flatnonzero(labels[d] == c))[:per_class] for d, c in classes]
    sizes = [len(rows) for rows in chosen]
    source = [datasets.index(d) for d, _ in classes]
    return MetaTask(
        datasets,
        np.repeat(np.array(source, np.int32), sizes),
        np.concatenate(chosen),
        np.repeat(np.arange(size, dtype=np.int32), sizes),
    )


def gather(task: MetaTask, features: dict[str, NDArray[np.floating]]) -> NDArray[np.float32]:
    """Rows [N, D] of a meta-task from the features of its datasets."""
    width = features[task.datasets[0]].shape[1]
    out = np.empty((len(task.rows), width), np.float32)
    for i, dataset in enumerate(task.datasets):
        here = task.source == i
        out[here] = features[dataset][task.rows[here]]
    return out


def load_sources(
    zoo: FeatureStore, model: str, datasets: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """Training features of a model by dataset."""
    return {dataset: zoo.training_features(model, dataset) for dataset in datasets}


def class_bucket(classes: int) -> int:
    """The number of classes that a task is padded to: multiples of 8, at most 16 sizes an octave.

    A power of two would pad by a third on average; this does by 3 % where it costs anything, and a
    new task still meets a compiled size.

    >>> [class_bucket(c) for c in (3, 9, 60, 100, 130, 400)]
    [8, 16, 64, 104, 136, 400]
    """
    step = max(8, 1 << max(0, (classes - 1).bit_length() - 5))
    return -(-classes // step) * step


def class_buckets(tokens: Sequence[NDArray[np.float32]]) -> dict[int, list[int]]:
    """Positions of the tasks by class bucket."""
    buckets: dict[int, list[int]] = {}
    for position, task in enumerate(tokens):
        buckets.setdefault(class_bucket(len(task)), []).append(position)
    return buckets


def pad_tokens(
    tokens: Sequence[NDArray[np.float32]],
    *,
    classes: int | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Stack tasks of different class counts.

    Args:
        tokens: T arrays [C_t, D].
        classes: C, at least the largest C_t; default: the bucket of the largest.

    Returns:
        [T, C, D] with zero rows as padding, and the mask [T, C].
    """
    C = classes or class_bucket(max(len(task) for task in tokens))
    padded = np.zeros((len(tokens), C, tokens[0].shape[1]), np.float32)
    mask = np.zeros((len(tokens), C), bool)
    for i, task in enumerate(tokens):
        padded[i, : len(task)] = task
        mask[i, : len(task)] = True
    return padded, mask
