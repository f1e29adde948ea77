"""Where new models stand among the known ones on the spider's own meta-tasks."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from spider_jax.spider.state import TeacherTable
from spider_jax.tasks.sampling import MetaTask
from spider_jax.training.config import TrainConfig
from spider_jax.training.targets import target_orders


def place_among_known(
    config: TrainConfig,
    known: TeacherTable,
    new: TeacherTable,
    meta: Sequence[MetaTask],
    datasets: Sequence[str],
) -> Float32[np.ndarray, "S n"]:
    """Compute targets of new models where those of the known ones have mean 0 and deviation 1.

    Each new model is ordered among the known ones as training would order it there, alone: its
    target does not depend on which other models are new.

    Args:
        config: of the training.
        known: teacher table of M known models; those without metrics are left out.
        new: teacher table of n others on the same meta-tasks.
        meta: the S meta-tasks.
        datasets: names of the source datasets, in the tables' order.

    Returns:
        One target a task and new model; 0 where the known models do not differ.
    """
    measured = known.take(known.measured())
    out = []
    for column in new.columns():
        both = measured.joined(column)
        orders = target_orders(config, both.metrics, meta, both.by_dataset(datasets))
        others = orders[:, :-1].astype(np.float64)
        sd, gap = others.std(1), orders[:, -1] - others.mean(1)
        out.append(np.divide(gap, sd, out=np.zeros_like(gap), where=sd > 0))
    return np.stack(out, axis=1).astype(np.float32)
