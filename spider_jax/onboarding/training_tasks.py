"""The tasks that a spider was trained on, drawn again."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.spider.spider import Spider
from spider_jax.tasks.moments import digest_of
from spider_jax.tasks.sampling import MetaTask
from spider_jax.training.config import read_config
from spider_jax.training.training_set import SAMPLERS, tokens_of_tasks
from spider_jax.zoo.store import FeatureStore


class TrainingTasks(NamedTuple):
    """The meta-tasks of a training, again: what the extractor shows of them."""

    meta: list[MetaTask]
    tokens: NDArray[np.float32]
    mask: NDArray[np.bool_]
    deviations: NDArray[np.float32]


def need_teacher_table(spider: Spider) -> None:
    if spider.teacher_table is None or len(spider.teacher_table.measured()) < 2:
        raise InputError(
            "the spider keeps no teacher table for new models (it comes from elsewhere or from an "
            "older version, or too few of the models that it was trained with are left): train it "
            "again, or add models cold"
        )


def redraw_training_tasks(spider: Spider, zoo: FeatureStore) -> TrainingTasks:
    """The meta-tasks that the spider was trained on, drawn again.

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
    config, datasets = read_config(about.training["config"]), about.training["datasets"]
    labels = {name: zoo.training_labels(name) for name in datasets}
    meta = SAMPLERS[config.targets](labels, config.tasks, config.seed)
    if digest_of(meta) != about.training["meta_tasks"]:
        raise InputError(
            f"labels of the source datasets in {zoo.folder} are not those of the training: new "
            "models cannot be compared with the known ones there"
        )
    everything = np.arange(len(meta))
    seen = tokens_of_tasks(zoo, extractor, meta, everything, config.tasks.max_classes)
    return TrainingTasks(meta, *seen)
