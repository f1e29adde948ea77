"""What a spider is: its names, numbers and provenance, without a verb."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class TeacherTable(NamedTuple):
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
    ) -> "TeacherTable":
        """Of a training set's metrics and accuracies, [M] by dataset where these are known."""
        unknown = np.full(metrics.shape[2], np.nan)
        rows = [accuracies.get(name, unknown) for name in datasets]
        return TeacherTable(
            metrics, np.array(rows, np.float32).reshape(len(rows), metrics.shape[2])
        )

    def measured(self) -> list[int]:
        """Models with all metrics."""
        return [int(i) for i in np.flatnonzero(np.isfinite(self.metrics).all((0, 1)))]

    def by_dataset(self, datasets: Sequence[str]) -> dict[str, NDArray[np.float64]]:
        """Accuracies [M] by the names of the source datasets."""
        return dict(zip(datasets, self.accuracies.astype(np.float64), strict=True))

    def take(self, models: Sequence[int]) -> "TeacherTable":
        """Of some of the models."""
        return TeacherTable(self.metrics[..., models], self.accuracies[:, models])

    def joined(self, more: "TeacherTable") -> "TeacherTable":
        """With more models behind its own."""
        both = zip(self, more, strict=True)
        return TeacherTable(*(np.concatenate(pair, axis=-1) for pair in both))

    def columns(self) -> list["TeacherTable"]:
        """One for every model."""
        return [self.take([i]) for i in range(self.metrics.shape[2])]


@dataclass(frozen=True)
class Description:
    """Everything of a spider but its numbers: what stands in its JSON.

    models: names [M], the order of the tokens. widths: feature width by model. extractor: name and
    width. width: d. members: spiders in the ensemble. resolution: score difference from which the
    order of two models held for 4 of 5 pairs on held-out source tasks. precision, form: of its
    scores, see `folding`; they stay with it. training: what it was trained on and how, as plain
    JSON values.
    """

    models: tuple[str, ...]
    widths: Mapping[str, int]
    extractor: Mapping[str, Any]
    width: int
    members: int
    token_width: int
    resolution: float
    precision: str = "float32"
    form: str = "many"
    training: Mapping[str, Any] = field(default_factory=dict)
