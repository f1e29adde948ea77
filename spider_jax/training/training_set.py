"""What a spider learns from: meta-tasks of the source datasets, their tokens and target orders."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int, Int32
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.tasks.moments import moments_of_tasks
from spider_jax.tasks.padding import class_bucket
from spider_jax.tasks.sampling import (
    MetaTask,
    TaskConfig,
    sample_tasks,
    whole_task,
    whole_tasks,
)
from spider_jax.training.config import TrainConfig
from spider_jax.training.targets import (
    another_measure,
    has_fractions,
    known_accuracies,
    target_orders,
    without_holes,
)
from spider_jax.training.teachers import teach
from spider_jax.zoo.store import FeatureStore, Skipped

log = logging.getLogger("spider_jax")

Sampler = Callable[[dict[str, Int32[np.ndarray, "..."]], TaskConfig, int], list[MetaTask]]
# What draws the meta-tasks, by the configuration's `targets`.
MOST_ROWS = 512  # of a whole dataset, as its metrics are taken
SAMPLERS: Mapping[str, Sampler] = {"teachers": sample_tasks, "accuracies": whole_tasks}


class SourceTasks(NamedTuple):
    """The G source datasets whole, as a user's tasks are.

    Attributes:
        tokens: raw class centres, padded with 0.
        mask: True where a token is a class.
        deviations: of the extractor's features.
        metrics: what the K teachers say, or the true accuracies (K = 1).
    """

    tokens: Float32[np.ndarray, "G C D"]
    mask: Bool[np.ndarray, "G C"]
    deviations: Float32[np.ndarray, "G 2 D"]
    metrics: Float32[np.ndarray, "G K M"]


class TrainingSet(NamedTuple):
    """Meta-tasks with everything training needs.

    Attributes:
        models: names of the M models.
        meta: T tasks; with TaskConfig.resamples = r, groups of r variants that have one target.
        tokens: raw class centres, padded with 0.
        mask: True where a token is a class.
        deviations: of the extractor's features, see `task_deviations`.
        metrics: what the K teachers say, or the true accuracies (K = 1).
        accuracies: true accuracies of the models by dataset, of datasets for which they are known;
            NaN for a model without.
        targets: orders of the models, made of metrics and accuracies; no rows before that.
        problems: models that were left out.
        whole: the source datasets whole.
    """

    models: tuple[str, ...]
    meta: list[MetaTask]
    tokens: Float32[np.ndarray, "T C D"]
    mask: Bool[np.ndarray, "T C"]
    deviations: Float32[np.ndarray, "T 2 D"]
    metrics: Float32[np.ndarray, "T K M"]
    accuracies: Mapping[str, Float64[np.ndarray, " M"]]
    targets: Float32[np.ndarray, "T M"]
    problems: tuple[Skipped, ...]
    whole: SourceTasks


def source_datasets(zoo: FeatureStore) -> tuple[str, ...]:
    """List the zoo's classification tasks that its manifest does not hold out.

    Args:
        zoo: any.

    Returns:
        Names of tasks.
    """
    return tuple(
        task
        for task in zoo.tasks
        if zoo.kind(task) == "classification" and not zoo.task_info(task).get("held_out")
    )


def training_set(
    zoo: FeatureStore,
    config: TrainConfig,
    datasets: Sequence[str],
    *,
    only: Int[np.ndarray, " t"] | None = None,
    cache: str | Path | bool = True,
    show_progress: bool = False,
) -> TrainingSet:
    """Sample meta-tasks and let the teachers order the models on them (the expensive part).

    With config.targets "accuracies" the meta-tasks are the source datasets, all classes of one
    each, and the order is that of the true accuracies.

    Args:
        zoo: with a general extractor.
        config: see TrainConfig.
        datasets: names of the source datasets.
        only: positions of the meta-tasks that this process computes; None for all. Tokens and
            metrics of the others are 0, and there are no targets yet; models, meta, mask and
            problems are the same in every process that reads the same files.
        cache: a folder for the teachers' values, True for the user's own, False for none.
        show_progress: a bar on stderr.

    Returns:
        The training set.

    Raises:
        InputError: no extractor in the zoo, an unknown dataset, fewer than two usable models, or
            accuracies asked for that the zoo lacks.
    """
    refuse_untrainable(zoo, datasets)
    assert zoo.extractor is not None
    labels = {dataset: zoo.training_labels(dataset) for dataset in datasets}
    meta = SAMPLERS[config.targets](labels, config.tasks, config.seed)
    mine = np.arange(len(meta)) if only is None else only
    seen = tokens_of_tasks(zoo, zoo.extractor, meta, mine, config.tasks.max_classes)
    if config.targets == "accuracies":
        models, found, problems = _true_metrics(zoo, [meta[i] for i in mine], datasets)
    else:
        models, found, problems = _teacher_metrics(
            zoo, config, meta, mine, cache=cache, show_progress=show_progress
        )
    metrics = np.zeros((len(meta), *found.shape[1:]), np.float32)
    metrics[mine] = found
    known = known_accuracies(zoo, models, datasets)
    none = np.zeros((0, len(models)), np.float32)
    whole = source_tasks(zoo, config, datasets, models, cache=cache)
    given = TrainingSet(models, meta, *seen, metrics, known, none, problems, whole)
    return with_targets(given, config) if only is None else given


def source_tasks(
    zoo: FeatureStore,
    config: TrainConfig,
    datasets: Sequence[str],
    models: Sequence[str],
    *,
    cache: str | Path | bool = True,
) -> SourceTasks:
    """Read the source datasets whole, and let the teachers score the models on them.

    Args:
        zoo: as for `training_set`.
        config: as for `training_set`.
        datasets: names of the source datasets.
        models: names of the M models.
        cache: as for `training_set`.

    Returns:
        The tasks, of MOST_ROWS rows of a dataset at most.

    Raises:
        InputError: as for `training_set`.
    """
    assert zoo.extractor is not None
    labels = {name: zoo.training_labels(name) for name in datasets}
    meta = [whole_task(name, labels[name], MOST_ROWS, config.seed) for name in datasets]
    seen = tokens_of_tasks(zoo, zoo.extractor, meta, np.arange(len(meta)), 1)
    if config.targets == "accuracies":
        table = [[[zoo.accuracies[model, name] for model in models]] for name in datasets]
        found = np.array(table, np.float64)
    else:
        options: dict[str, Any] = {"models": models, "holes": config.k_max == 0, "cache": cache}
        found = teach(zoo, meta, config.teachers, **options)[1]
    return SourceTasks(*seen, found.astype(np.float32))


def refuse_untrainable(zoo: FeatureStore, datasets: Sequence[str]) -> None:
    """Refuse a zoo that no spider can be trained on.

    Args:
        zoo: any.
        datasets: names of the source datasets.

    Raises:
        InputError: the zoo names no general extractor, or there is no source dataset.
    """
    if zoo.extractor is None:
        raise InputError(
            f'{zoo.folder} names no general extractor: set "extractor" in manifest.json'
        )
    if not datasets:
        others = sorted({zoo.kind(task) for task in zoo.tasks} - {"classification"})
        learns = f": a spider learns from classes, here are tasks of {', '.join(others)}"
        raise InputError(
            f"tasks of {zoo.folder} to train on: at least one dataset is needed, got none"
            + learns * bool(others)
        )


def readable_datasets(
    zoo: FeatureStore, datasets: Sequence[str], targets: str = "teachers"
) -> tuple[tuple[str, ...], tuple[Skipped, ...]]:
    """The source datasets that can be trained on: their labels and the extractor's features.

    Args:
        zoo: with an extractor.
        datasets: names of tasks of the zoo.
        targets: what is learned of them; results in another measure are no accuracies.

    Returns:
        Their names, and the others with the reason.

    Raises:
        InputError: an unknown task, or none that can be used.
    """
    names, lost = list[str](), list[Skipped]()
    for name in datasets:
        kind = zoo.kind(name)  # an unknown name is an error, not a dataset less
        try:
            if kind != "classification":
                raise InputError(f"is {kind}: a spider ranks for it, but learns from classes alone")
            if targets == "accuracies" and not has_fractions(zoo, name):
                raise InputError(another_measure(zoo, name))
            zoo.training_labels(name)
            zoo.features(str(zoo.extractor), name)
        except InputError as error:
            lost.append(Skipped(None, name, str(error)))
            log.warning("left out of training: %s", lost[-1])
        else:
            names.append(name)
    if not names:
        raise InputError(f"no dataset of {zoo.folder} can be trained on: {lost[0]}")
    return tuple(names), tuple(lost)


def with_targets(given: TrainingSet, config: TrainConfig) -> TrainingSet:
    """Make the target orders of a training set, once holes of its metrics are filled.

    Args:
        given: with the metrics of all tasks.
        config: how targets are made, see `target_orders`.

    Returns:
        The training set with new targets.
    """
    metrics = without_holes(given.metrics)
    orders = target_orders(config, metrics, given.meta, given.accuracies)
    whole = given.whole._replace(metrics=without_holes(given.whole.metrics))
    return given._replace(metrics=metrics, targets=orders, whole=whole)


def tokens_of_tasks(
    zoo: FeatureStore,
    extractor: str,
    meta: Sequence[MetaTask],
    mine: Int[np.ndarray, " t"],
    classes: int,
) -> tuple[Float32[np.ndarray, "T C D"], Bool[np.ndarray, "T C"], Float32[np.ndarray, "T 2 D"]]:
    """Read what the extractor shows of meta-tasks.

    Args:
        zoo: features of the extractor on the tasks' datasets.
        extractor: its name.
        meta: T tasks.
        mine: positions of the tasks to read.
        classes: C at least; more where a task has more.

    Returns:
        Class centres and deviations, 0 for tasks that are not read; the mask is that of all tasks.

    Raises:
        InputError: no such features, or values that are not finite.
    """
    sizes = np.array([int(task.labels.max()) + 1 for task in meta])
    C = classes if sizes.max() <= classes else class_bucket(int(sizes.max()))
    mask = np.arange(C)[None] < sizes[:, None]
    tokens = np.zeros((len(meta), C, zoo.width(extractor)), np.float32)
    deviations = np.zeros((len(meta), 2, zoo.width(extractor)), np.float32)
    moments = moments_of_tasks(zoo, extractor, [meta[i] for i in mine])
    deviations[mine] = moments.deviations
    for i, found in zip(mine, moments.centres, strict=True):
        tokens[i, : len(found)] = found
    return tokens, mask, deviations


# Names of M models, their metrics [t, K, M], and the models that were left out.
Scored = tuple[tuple[str, ...], NDArray[np.float64], tuple[Skipped, ...]]


def _teacher_metrics(
    zoo: FeatureStore,
    config: TrainConfig,
    meta: Sequence[MetaTask],
    mine: NDArray[np.int64],
    *,
    cache: str | Path | bool,
    show_progress: bool,
) -> Scored:
    """By the teachers, who score the first task of a group; its variants have the same metrics."""
    groups, place = np.unique(mine // config.tasks.resamples, return_inverse=True)
    models, metrics, problems = teach(
        zoo,
        meta[:: config.tasks.resamples],
        config.teachers,
        only=groups,
        holes=config.k_max == 0,  # else every model's own features are read on every task
        cache=cache,
        show_progress=show_progress,
    )
    return models, metrics[place], problems


def _true_metrics(zoo: FeatureStore, meta: Sequence[MetaTask], datasets: Sequence[str]) -> Scored:
    """By true accuracies (K = 1), those of the one dataset of every task."""
    if not zoo.accuracies:
        raise InputError(
            f'targets = "accuracies" needs accuracies.csv with rows in {zoo.folder}, it has none'
        )
    missing = {m: [d for d in datasets if (m, d) not in zoo.accuracies] for m in zoo.models}
    models = tuple(model for model, lacks in missing.items() if not lacks)
    problems = tuple(
        Skipped(model, lacks[0], "no accuracy in accuracies.csv")
        for model, lacks in missing.items()
        if lacks
    )
    for problem in problems:
        log.warning("left out of training: %s", problem)
    if len(models) < 2:
        raise InputError(
            f"fewer than two models of {zoo.folder} have an accuracy on all of {list(datasets)}"
        )
    table = {d: [zoo.accuracies[model, d] for model in models] for d in datasets}
    orders = [table[task.datasets[0]] for task in meta]
    return models, np.array(orders, np.float64).reshape(-1, 1, len(models)), problems
