"""Tasks as tokens: class centres of the general extractor, and meta-tasks mixed from classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spider_jax.errors import InputError
from spider_jax.metrics.shared.inputs import check_labels, finite_features
from spider_jax.runtime.threads import aligned
from spider_jax.zoo.store import FeatureStore


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


def task_deviations(features: ArrayLike, labels: ArrayLike) -> NDArray[np.float32]:
    """How the features of a task spread: [sd over all rows; sd within classes] of each feature.

    Beside the class centres it says how far apart classes lie for their size, which tells models
    apart that centres alone do not.

    Args:
        features: [N, D] the general extractor's raw features. labels: [N] int.

    Returns:
        float32 [2, D].

    Raises:
        InputError: as `task_tokens`.
    """
    F = np.asarray(finite_features(features), np.float64)
    y = check_labels(labels, len(F))
    within = F - class_centres(F, y)[y]
    return np.asarray(np.stack([F.std(0), np.sqrt((within**2).mean(0))]), np.float32)


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
    return task_tokens(*_of_extractor(zoo, task, extractor))


def zoo_deviations(
    zoo: FeatureStore, task: str, extractor: Mapping[str, Any]
) -> NDArray[np.float32]:
    """`task_deviations` of a task of a zoo; arguments and errors as `zoo_tokens`."""
    return task_deviations(*_of_extractor(zoo, task, extractor))


def _of_extractor(
    zoo: FeatureStore, task: str, extractor: Mapping[str, Any]
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Training rows and labels of a task, of the extractor that a spider needs."""
    check_extractor(zoo, extractor)
    return zoo.training_features(extractor["name"], task), zoo.training_labels(task)


def check_extractor(zoo: FeatureStore, extractor: Mapping[str, Any]) -> None:
    """Refuse a zoo that names another extractor than a spider was trained with."""
    if zoo.extractor is not None and zoo.extractor != extractor["name"]:
        raise InputError(
            f"{zoo.folder} has extractor {zoo.extractor!r}, the spider needs "
            f"{extractor['name']!r}: export that extractor's features"
        )


def checked_deviations(
    deviations: Sequence[ArrayLike] | None, tasks: int, extractor: Mapping[str, Any]
) -> NDArray[np.float32] | None:
    """`task_deviations` of so many tasks as float32 [T, 2, D] of this extractor; None stays None.

    Raises:
        InputError: another shape, not finite, or negative.
    """
    if deviations is None:
        return None
    wanted = (2, extractor["width"])
    arrays = [np.asarray(array, np.float32) for array in deviations]
    shapes = [array.shape for array in arrays]
    sound = all(np.isfinite(array).all() and (array >= 0).all() for array in arrays)
    if shapes != [wanted] * tasks or not sound:
        raise InputError(
            f"deviations must be task_deviations of {extractor['name']!r}, {tasks} of {wanted}, "
            f"finite and not negative, got {', '.join(map(str, shapes))}"
        )
    return np.stack(arrays)


def check_tokens(tokens: ArrayLike, extractor: Mapping[str, Any], what: str) -> NDArray[np.float32]:
    """Tokens as float32 [C, D] of this extractor (its name and width); `what` they are called.

    Raises:
        InputError: no array of numbers, another width, no class, or not finite.
    """
    wanted = f"[C, {extractor['width']}] class centres of {extractor['name']!r}"
    try:
        values = np.asarray(tokens)
        if values.dtype != np.float32:
            with np.errstate(over="ignore"):  # what float32 cannot hold is found below
                values = values.astype(np.float32)
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
    min_per_class to max_per_class of each class. resamples: variants of every task, of the same
    classes with other rows; they share its target.
    """

    count: int = 1000
    single: float = 0.6
    max_datasets: int = 3
    min_classes: int = 3
    max_classes: int = 20
    rows: int = 192
    min_per_class: int = 8
    max_per_class: int = 32
    resamples: int = 1

    def __post_init__(self) -> None:
        if self.count < 1 or self.max_datasets < 1:
            raise InputError("tasks: count and max_datasets must be at least 1")
        if self.resamples < 1:
            raise InputError(f"tasks: resamples must be at least 1, got {self.resamples}")
        if not 0 <= self.single <= 1:
            raise InputError(f"tasks: single must be in [0, 1], got {self.single}")
        if not 2 <= self.min_classes <= self.max_classes:
            raise InputError("tasks: 2 <= min_classes <= max_classes must hold")
        if not 1 <= self.min_per_class <= self.max_per_class:
            raise InputError("tasks: 1 <= min_per_class <= max_per_class must hold")

    @property
    def max_rows(self) -> int:
        """No task that is sampled has more rows than this."""
        return max(self.rows, self.min_per_class * self.max_classes)


def sample_tasks(
    labels: dict[str, NDArray[np.int32]], config: TaskConfig, seed: int
) -> list[MetaTask]:
    """Draw meta-tasks: sources, then classes of their union, then rows of every class.

    Args:
        labels: dataset -> [N] classes 0..C-1 of its training rows.
        config: sizes. seed: the same seed draws the same tasks.

    Returns:
        config.count groups of config.resamples tasks: one as drawn, then its variants.

    Raises:
        InputError: no dataset.
    """
    _some(labels)
    rng = np.random.default_rng(seed)
    drawn = [_sample(labels, config, rng) for _ in range(config.count)]
    return _with_variants(drawn, labels, config.resamples, seed)


def whole_tasks(
    labels: dict[str, NDArray[np.int32]], config: TaskConfig, seed: int
) -> list[MetaTask]:
    """Tasks of all classes of one source each, the sources in turn; only their rows are drawn.

    Arguments, result and errors as `sample_tasks`; the number of classes has no bound.
    """
    rng, names = np.random.default_rng(seed), _some(labels)
    drawn = []
    for name in (names[i % len(names)] for i in range(config.count)):
        classes = [(name, c) for c in range(int(labels[name].max()) + 1)]
        rows = _rows_per_class(config, len(classes))
        drawn.append(_of_classes(classes, names, labels, rows, rng))
    return _with_variants(drawn, labels, config.resamples, seed)


def _some(labels: dict[str, NDArray[np.int32]]) -> list[str]:
    if not labels:
        raise InputError("tasks to train on must name at least one dataset, got none")
    return list(labels)


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
    return _of_classes(classes, drawn, labels, _rows_per_class(config, size), rng)


def _of_classes(
    classes: Sequence[tuple[str, int]],
    order: Sequence[str],
    labels: dict[str, NDArray[np.int32]],
    per_class: int,
    rng: np.random.Generator,
) -> MetaTask:
    """Some rows of every (dataset, class); order: of the datasets."""
    datasets = tuple(name for name in order if name in {d for d, _ in classes})
    chosen = [rng.permutation(np.flatnonzero(labels[d] == c))[:per_class] for d, c in classes]
    sizes = [len(rows) for rows in chosen]
    source = [datasets.index(d) for d, _ in classes]
    return MetaTask(
        datasets,
        np.repeat(np.array(source, np.int32), sizes),
        np.concatenate(chosen),
        np.repeat(np.arange(len(classes), dtype=np.int32), sizes),
    )


def _rows_per_class(config: TaskConfig, classes: int) -> int:
    return int(np.clip(config.rows // classes, config.min_per_class, config.max_per_class))


def _with_variants(
    drawn: Sequence[MetaTask], labels: dict[str, NDArray[np.int32]], resamples: int, seed: int
) -> list[MetaTask]:
    """Every task followed by its variants, whose rows come from a generator of their own."""
    found = []
    for position, task in enumerate(drawn):
        # the last entry tells it from the generator of the tasks: [seed, 0] would be seed again
        rng = np.random.default_rng([seed, position, 1])
        found += [task, *(_resampled(task, labels, rng) for _ in range(resamples - 1))]
    return found


def _resampled(
    task: MetaTask, labels: dict[str, NDArray[np.int32]], rng: np.random.Generator
) -> MetaTask:
    """The classes of a task with as many rows of each, drawn again."""
    first = np.unique(task.labels, return_index=True)[1]
    names = [task.datasets[source] for source in task.source[first]]
    classes = [(d, int(labels[d][row])) for d, row in zip(names, task.rows[first], strict=True)]
    per_class = int(np.bincount(task.labels).max())
    return _of_classes(classes, task.datasets, labels, per_class, rng)


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
    padded = aligned((len(tokens), C, tokens[0].shape[1]), np.float32)
    mask = np.zeros((len(tokens), C), bool)
    for i, task in enumerate(tokens):
        padded[i, : len(task)] = task
        padded[i, len(task) :] = 0
        mask[i, : len(task)] = True
    return padded, mask
