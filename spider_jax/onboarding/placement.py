"""What a new model is measured against: the teachers' word on the spider's own models."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from spider_jax.spider.state import TeacherTable
from spider_jax.tasks.sampling import MetaTask
from spider_jax.training.config import TrainConfig
from spider_jax.training.targets import target_orders


def place_among_known(
    config: TrainConfig,
    yard: TeacherTable,
    new: TeacherTable,
    meta: Sequence[MetaTask],
    datasets: Sequence[str],
) -> NDArray[np.float32]:
    """Targets of new models where those of the known ones have mean 0 and deviation 1.

    Each new model is ordered among the known ones as training would order it among them, alone: the
    new ones do not meet.

    Args:
        config: of the training. yard: of M known models. new: of n others on the same meta-tasks.

    Returns:
        float32 [S, n]; 0 where the known models do not differ.
    """
    known = yard.take(yard.measured())
    out = []
    for column in new.columns():
        both = known.joined(column)
        orders = target_orders(config, both.metrics, meta, both.by_dataset(datasets))
        others = orders[:, :-1].astype(np.float64)
        sd, gap = others.std(1), orders[:, -1] - others.mean(1)
        out.append(np.divide(gap, sd, out=np.zeros_like(gap), where=sd > 0))
    return np.stack(out, axis=1).astype(np.float32)
