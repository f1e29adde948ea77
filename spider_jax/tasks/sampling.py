"""Meta-tasks: sampled from the classes of source datasets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32, Int64
from numpy.typing import NDArray

from spider_jax.errors import InputError


@dataclass(frozen=True)
class MetaTask:
    """A training task: classes drawn from one or more source datasets.

    Attributes:
        datasets: names [S] of the sources it touches.
        source: [N] which of them a row comes from.
        rows: [N] its row there.
        labels: [N] 0..C-1.
    """

    datasets: tuple[str, ...]
    source: Int32[np.ndarray, " n"]
    rows: Int64[np.ndarray, " n"]
    labels: Int32[np.ndarray, " n"]


# Far beyond what anybody samples, see `training.config.AT_MOST`.
AT_MOST = {"count": 10**7, "max_classes": 1 << 17, "rows": 10**7, "resamples": 1 << 12}


@dataclass(frozen=True)
class TaskConfig:
    """How meta-tasks are sampled from the source datasets.

    Attributes:
        count: tasks.
        single: share of tasks whose classes come from one source, as a user's do; the others mix
            two to max_datasets sources.
        max_datasets: sources that a task may mix, at most.
        min_classes: classes of a task, at least (fewer where the sources hold fewer).
        max_classes: classes of a task, at most.
        rows: about so many samples a task.
        min_per_class: samples of each class, at least.
        max_per_class: samples of each class, at most.
        resamples: variants of every task, of the same classes with other rows; they share its
            target.
    """

    count: int = 1000
    single: float = 0.6
    max_datasets: int = 3
    min_classes: int = 3  # with 2, of which 5 % have two, tau moves by less than with the draw
    max_classes: int = 20
    rows: int = 192
    min_per_class: int = 8
    max_per_class: int = 32
    resamples: int = 1

    def __post_init__(self) -> None:
        for name in ("count", "max_datasets", "min_per_class", "resamples"):
            if getattr(self, name) < 1:
                raise InputError(f"tasks: {name} must be at least 1, got {getattr(self, name)}")
        for name, limit in AT_MOST.items():
            if getattr(self, name) > limit:
                raise InputError(
                    f"tasks: {name} must be at most {limit}, got {getattr(self, name)}"
                )
        if not 0 <= self.single <= 1:
            raise InputError(f"tasks: single must be in [0, 1], got {self.single}")
        if self.min_classes < 2:
            raise InputError(f"tasks: min_classes must be at least 2, got {self.min_classes}")
        for least, most in (("min_classes", "max_classes"), ("min_per_class", "max_per_class")):
            small, large = getattr(self, least), getattr(self, most)
            if large < small:
                raise InputError(
                    f"tasks: {most} must be such that {least} <= {most}, got {large}: "
                    f"{least} is {small}"
                )

    @property
    def max_rows(self) -> int:
        """No task that is sampled has more rows than this."""
        return max(self.rows, self.min_per_class * self.max_classes)


def sample_tasks(
    labels: dict[str, Int32[np.ndarray, " _"]], config: TaskConfig, seed: int
) -> list[MetaTask]:
    """Draw meta-tasks: sources, then classes of their union, then rows of every class.

    Args:
        labels: dataset -> [N] classes 0..C-1 of its training rows.
        config: sizes.
        seed: the same seed draws the same tasks.

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
    labels: dict[str, Int32[np.ndarray, " _"]], config: TaskConfig, seed: int
) -> list[MetaTask]:
    """Tasks of all classes of one source each, the sources in turn; only their rows are drawn.

    Arguments, result and errors as `sample_tasks`; the number of classes has no bound.
    """
    rng, names = np.random.default_rng(seed), _some(labels)
    drawn = []
    for name in (names[i % len(names)] for i in range(config.count)):
        classes = [(name, c) for c in range(int(labels[name].max()) + 1)]
        rows = rows_per_class(config, len(classes))
        drawn.append(_of_classes(classes, names, labels, rows, rng))
    return _with_variants(drawn, labels, config.resamples, seed)


def whole_task(name: str, labels: Int32[np.ndarray, " _"], most: int, seed: int) -> MetaTask:
    """A dataset as one task: all its rows, or about `most` of them with the classes' shares.

    Args:
        name: of the dataset.
        labels: classes 0..C-1 of its training rows.
        most: rows.
        seed: the same seed draws the same rows.
    """
    rows = np.arange(len(labels))
    if len(rows) > most:
        rng = np.random.default_rng(seed)
        share = most / len(rows)
        parts = [rng.permutation(np.flatnonzero(labels == c)) for c in range(labels.max() + 1)]
        rows = np.sort(np.concatenate([part[: max(2, round(share * len(part)))] for part in parts]))
    return MetaTask((name,), np.zeros(len(rows), np.int32), rows.astype(np.int64), labels[rows])


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
    return _of_classes(classes, drawn, labels, rows_per_class(config, size), rng)


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


def rows_per_class(config: TaskConfig, classes: int) -> int:
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
