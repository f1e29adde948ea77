"""What a spider learns from: meta-tasks of the source datasets, their tokens and target orders."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spider_jax.aggregate import AGGREGATES
from spider_jax.errors import InputError
from spider_jax.store import FeatureStore, Problem
from spider_jax.tasks import (
    MetaTask,
    class_centres,
    gather,
    load_sources,
    pad_tokens,
    sample_tasks,
)
from spider_jax.teachers import teach
from spider_jax.train_config import TrainConfig


class TrainingSet(NamedTuple):
    """Meta-tasks with everything training needs.

    models: names [M]. meta: T tasks. tokens [T, C, D], mask [T, C]: raw class centres. targets
    [T, M]. problems: models that were left out.
    """

    models: tuple[str, ...]
    meta: list[MetaTask]
    tokens: NDArray[np.float32]
    mask: NDArray[np.bool_]
    targets: NDArray[np.float32]
    problems: tuple[Problem, ...]


def source_datasets(zoo: FeatureStore) -> tuple[str, ...]:
    """The zoo's classification tasks that its manifest does not hold out."""
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
    show_progress: bool = False,
) -> TrainingSet:
    """Sample meta-tasks and let the teachers order the models on them (the expensive part)."""
    extractor = zoo.extractor
    if extractor is None:
        raise InputError(
            f'{zoo.folder} names no general extractor: set "extractor" in manifest.json'
        )
    labels = {dataset: zoo.training_labels(dataset) for dataset in datasets}
    meta = sample_tasks(labels, config.tasks, config.seed)
    features = load_sources(zoo, extractor, datasets)
    centres = [class_centres(gather(t, features), t.labels) for t in meta]
    tokens, mask = pad_tokens(centres, classes=config.tasks.max_classes)
    models, metrics, problems = teach(zoo, meta, config.teachers, show_progress=show_progress)
    targets = AGGREGATES[config.aggregate](metrics).astype(np.float32)
    return TrainingSet(models, meta, tokens, mask, targets, problems)
