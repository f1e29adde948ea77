"""The tasks that a spider was trained on, drawn again."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32

from spider_jax.errors import InputError
from spider_jax.spider.spider import Spider
from spider_jax.tasks.moments import digest_of
from spider_jax.tasks.sampling import MetaTask
from spider_jax.training.config import read_config
from spider_jax.training.training_set import SAMPLERS, tokens_of_tasks
from spider_jax.zoo.store import FeatureStore


class TrainingTasks(NamedTuple):
    """The S meta-tasks of a training, drawn again, and what the extractor shows of them.

    Attributes:
        meta: the tasks.
        tokens: raw class centres, padded with 0.
        mask: True where a token is a class.
        deviations: of the extractor's features, see `task_deviations`.
    """

    meta: list[MetaTask]
    tokens: Float32[np.ndarray, "S C D"]
    mask: Bool[np.ndarray, "S C"]
    deviations: Float32[np.ndarray, "S 2 D"]


def need_teacher_table(spider: Spider) -> None:
    """Refuse a spider that new models cannot be compared in.

    Args:
        spider: any.

    Raises:
        InputError: no teacher table, or fewer than two models with metrics in it.
    """
    if spider.teacher_table is None or len(spider.teacher_table.measured()) < 2:
        raise InputError(
            "the spider keeps no teacher table for new models (it comes from elsewhere or from an "
            "older version, or too few of the models that it was trained with are left): train it "
            "again, or add models cold"
        )


def redraw_training_tasks(spider: Spider, zoo: FeatureStore) -> TrainingTasks:
    """Draw the meta-tasks that a spider was trained on again.

    Args:
        spider: with a teacher table.
        zoo: labels and extractor's features of the source datasets, as in training.

    Returns:
        The tasks.

    Raises:
        InputError: no teacher table, another extractor, or labels that have changed.
    """
    need_teacher_table(spider)
    about = spider.description
    extractor, width = str(about.extractor["name"]), int(about.extractor["width"])
    if zoo.extractor not in (None, extractor):
        raise InputError(
            f"{zoo.folder} has extractor {zoo.extractor!r}, the spider needs {extractor!r}"
        )
    if zoo.width(extractor) != width:
        raise InputError(
            f"features of the extractor {extractor!r} must be {width} wide as in training, got "
            f"{zoo.width(extractor)} in {zoo.folder}"
        )
    meta = redraw_meta(spider, zoo)
    config = read_config(about.training["config"])
    everything = np.arange(len(meta))
    seen = tokens_of_tasks(zoo, extractor, meta, everything, config.tasks.max_classes)
    return TrainingTasks(meta, *seen)


def redraw_meta(spider: Spider, zoo: FeatureStore) -> list[MetaTask]:
    """Which rows and datasets the training tasks of a spider are made of; no features are read.

    Args:
        spider: that was trained on a zoo.
        zoo: labels of the source datasets, as in training.

    Returns:
        The S meta-tasks.

    Raises:
        InputError: labels that have changed.
    """
    training = spider.description.training
    config = read_config(training["config"])
    labels = {name: zoo.training_labels(name) for name in training["datasets"]}
    meta = SAMPLERS[config.targets](labels, config.tasks, config.seed)
    if digest_of(meta) != training["meta_tasks"]:
        raise InputError(
            f"labels of the source datasets in {zoo.folder} are not those of the training: new "
            "models cannot be compared with the known ones there"
        )
    return meta


def names_of_training_tasks(spider: Spider, zoo: FeatureStore) -> tuple[str, ...]:
    """The datasets that each training task of a spider is drawn from.

    Args:
        spider: any.
        zoo: maybe the one it was trained on.

    Returns:
        A name for each of the S tasks; none where the zoo is not that of the training.
    """
    try:
        meta = redraw_meta(spider, zoo)
    except (InputError, KeyError):  # another zoo, or a spider that comes from elsewhere
        return ()
    return tuple(" + ".join(task.datasets) for task in meta)
