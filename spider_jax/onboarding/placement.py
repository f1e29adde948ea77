"""What a new model is measured against: the teachers' word on the spider's own models."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spider_jax.tasks.tokens import MetaTask
from spider_jax.training.config import TrainConfig
from spider_jax.training.training_set import target_orders


class Yardstick(NamedTuple):
    """Kept of a training so that models can be added to it.

    metrics: [S, K, M] of the meta-tasks, NaN for a model that was added without features.
    accuracies: [G, M] of the source datasets in their order, NaN where unknown.
    """

    metrics: NDArray[np.float32]
    accuracies: NDArray[np.float32]

    @staticmethod
    def of(
        metrics: NDArray[np.float32],
        accuracies: Mapping[str, NDArray[np.floating]],
        datasets: Sequence[str],
    ) -> "Yardstick":
        """Of a training set's metrics and accuracies, [M] by dataset where these are known."""
        unknown = np.full(metrics.shape[2], np.nan)
        rows = [accuracies.get(name, unknown) for name in datasets]
        return Yardstick(metrics, np.array(rows, np.float32).reshape(len(rows), metrics.shape[2]))

    def measured(self) -> list[int]:
        """Models with all metrics."""
        return [int(i) for i in np.flatnonzero(np.isfinite(self.metrics).all((0, 1)))]

    def by_dataset(self, datasets: Sequence[str]) -> dict[str, NDArray[np.float64]]:
        """Accuracies [M] by the names of the source datasets."""
        return dict(zip(datasets, self.accuracies.astype(np.float64), strict=True))

    def take(self, models: Sequence[int]) -> "Yardstick":
        """Of some of the models."""
        return Yardstick(self.metrics[..., models], self.accuracies[:, models])

    def joined(self, more: "Yardstick") -> "Yardstick":
        """With more models behind its own."""
        both = zip(self, more, strict=True)
        return Yardstick(*(np.concatenate(pair, axis=-1) for pair in both))

    def columns(self) -> list["Yardstick"]:
        """One for every model."""
        return [self.take([i]) for i in range(self.metrics.shape[2])]


def standing(
    config: TrainConfig,
    yard: Yardstick,
    new: Yardstick,
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
