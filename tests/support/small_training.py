"""A training small enough for a test, and tokens for its spider."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from spider_jax.spider.spider import Spider
from spider_jax.tasks.sampling import TaskConfig
from spider_jax.training.config import TrainConfig
from spider_jax.training.train_spider import train as train_spider
from spider_jax.zoo.store import FeatureStore
from support.quick_compilation import quick_compilation

Refused = Callable[..., AbstractContextManager[None]]
PSI_WIDTH = 6  # of the extractor psi
CONFIG = TrainConfig(
    width=8,
    members=2,
    epochs=40,
    batch=8,
    learning_rate=5e-3,
    held_out=1,
    scaling="pca",
    components=4,
    memory=1.0,
    calibration=0.0,
    tasks=TaskConfig(count=24, max_classes=4, rows=32, min_per_class=4, max_per_class=8),
)


@contextmanager
def for_training() -> Iterator[None]:
    """Nearly all of a tiny training is compilation; and optax is not for strict promotion."""
    with quick_compilation(), jax.numpy_dtype_promotion("standard"):
        yield


def train(zoo: FeatureStore, config: TrainConfig = CONFIG, **options: Any) -> Spider:
    with for_training():
        return train_spider(zoo, config, **options)


def tokens(seed: int = 0, classes: int = 3) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(classes, PSI_WIDTH)).astype(np.float32)


def with_resolution(spider: Spider, resolution: float) -> Spider:
    return replace(spider, description=replace(spider.description, resolution=resolution))
