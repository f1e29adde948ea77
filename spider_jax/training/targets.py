"""The orders of models that a spider learns: of its teachers, or of true accuracies."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from spider_jax.ranking.aggregate import AGGREGATES, z_scores
from spider_jax.tasks.sampling import MetaTask
from spider_jax.training.config import TrainConfig
from spider_jax.zoo.store import FeatureStore


def target_orders(
    config: TrainConfig,
    metrics: NDArray[np.floating],
    meta: Sequence[MetaTask],
    accuracies: Mapping[str, NDArray[np.floating]],
) -> NDArray[np.float32]:
    """Targets: the teachers' metrics in one score, corrected where the truth is known.

    Teachers err alike on tasks of one dataset, so

        y_t <- z(y_t + a sum_d share_td (z(accuracies of d) - z(mean y of the tasks of d alone))),

    y z-scored over the models, share the part of a task's rows that come from d, a the
    configuration's `calibration`, 0 leaves y as it is. A model without an accuracy is not corrected
    for d. True accuracies as targets are taken as they are.

    Args:
        metrics: [T, K, M] of T tasks `meta`. accuracies: [M] by dataset, NaN where unknown.

    Returns:
        float32 [T, M].
    """
    if config.targets == "accuracies":
        return np.asarray(metrics[:, 0], np.float32)
    taught = AGGREGATES[config.aggregate](metrics)
    if config.calibration == 0:
        return taught.astype(np.float32)
    targets = z_scores(taught)
    shift = np.zeros(targets.shape)
    for name, truth in accuracies.items():
        alone = [i for i, task in enumerate(meta) if task.datasets == (name,)]
        known = np.isfinite(truth)
        if alone and known.any():
            gap = np.zeros(len(truth))
            gap[known] = z_scores(truth[known]) - z_scores(targets[alone].mean(0)[known])
            shift += class_shares(meta, name)[:, None] * gap
    return z_scores(targets + config.calibration * shift).astype(np.float32)


def known_accuracies(
    zoo: FeatureStore, models: Sequence[str], datasets: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Accuracies [M] of the datasets for which the zoo knows those of at least half the models."""
    table = {d: np.array([zoo.accuracies.get((m, d), np.nan) for m in models]) for d in datasets}
    return {d: row for d, row in table.items() if 2 * np.isfinite(row).sum() >= len(models)}


def class_shares(meta: Sequence[MetaTask], name: str) -> NDArray[np.float64]:
    """[T] part of every task's rows that come from a dataset."""
    of = [t.source == t.datasets.index(name) if name in t.datasets else np.zeros(1) for t in meta]
    return np.array([here.mean() for here in of])
