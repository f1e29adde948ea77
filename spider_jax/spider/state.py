"""What a spider is: names, numbers and provenance. It ranks nothing and knows no training code."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Float64

from spider_jax.belief.state import BeliefState
from spider_jax.spider.folding import Checkpoint, fold_checkpoint
from spider_jax.spider.own_maps import OwnMaps
from spider_jax.spider.task_memory import Memory
from spider_jax.spider.weights import Weights
from spider_jax.tasks.scaling import Scaling


class TeacherTable(NamedTuple):
    """Kept of a training so that models can be added to it.

    Attributes:
        metrics: [S, K, M] of the meta-tasks, NaN for a model that was added without features.
        accuracies: [G, M] of the source datasets in their order, NaN where unknown.
    """

    metrics: Float32[np.ndarray, "S K M"]
    accuracies: Float32[np.ndarray, "G M"]

    @staticmethod
    def of(
        metrics: Float32[np.ndarray, "S K M"],
        accuracies: Mapping[str, Float[np.ndarray, " M"]],
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

    def by_dataset(self, datasets: Sequence[str]) -> dict[str, Float64[np.ndarray, " M"]]:
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

    Attributes:
        models: names [M], the order of the tokens.
        widths: feature width by model.
        extractor: name and width.
        width: d.
        members: spiders in the ensemble.
        token_width: of a scaled class centre.
        resolution: score difference from which the order of two models held for 4 of 5 pairs on
            held-out source tasks.
        precision: of its products, "float32" or "bfloat16"; it stays with a spider for life.
        form: "many" or "few" models, see `folding`; it stays with a spider for life.
        training: what it was trained on and how, as plain JSON values.
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


@dataclass(frozen=True, eq=False)
class SpiderState:
    """The whole state of a trained spider.

    Attributes:
        description: names and provenance.
        scaling: of raw extractor features.
        weights: with a leading axis of ensemble members, float32.
        memory: of its training tasks, added to the network; None where it has none.
        own: how the models' own class centres become tokens, where it has learned that.
        teacher_table: what models that are added are measured against.
        beliefs: how sure it is and how evidence is read; None in older spiders and where the
            network ranks alone.
    """

    description: Description
    scaling: Scaling
    weights: Weights
    memory: Memory | None = None
    own: OwnMaps | None = None
    teacher_table: TeacherTable | None = None
    beliefs: BeliefState | None = None

    @property
    def network_weight(self) -> float:
        """What the network's score counts beside the memory; 1 where it ranks alone."""
        return float(self.description.training.get("network_weight", 1.0))

    @property
    def scoring_weights(self) -> Weights:
        """The weights with the network's share in its read-out."""
        if self.network_weight == 1:
            return self.weights
        share = np.float32(self.network_weight)
        head, bias = self.weights.head * share, self.weights.head_bias * share
        return self.weights._replace(head=head, head_bias=bias)

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models it ranks."""
        return self.description.models

    @property
    def guessed(self) -> tuple[str, ...]:
        """Models that were added without features, by a guess."""
        added = self.description.training.get("added", {})
        return tuple(m for m in self.models if str(added.get(m, "")).startswith("guessed"))

    @cached_property
    def folded(self) -> Checkpoint:
        """The weights ready to score, in the precision of the description."""
        about, weights = self.description, self.scoring_weights
        if self.token_scaling is None:
            factor = self.scaling.matrix[None, :, None]
            weights = weights._replace(project=weights.project * factor)
        return fold_checkpoint(
            weights, memory=self.memory, form=about.form, precision=about.precision
        )

    @cached_property
    def network(self) -> Checkpoint:
        """The network alone ready to score, whatever it counts beside the memory."""
        if self.network_weight == 1:
            return self.folded
        return fold_checkpoint(
            self.weights, form=self.description.form, precision=self.description.precision
        )

    @cached_property
    def token_scaling(self) -> Scaling | None:
        """Of tokens before they are scored: None where it is folded into the weights.

        A memory meets scaled tokens.
        """
        return None if self.scaling.folds and self.memory is None else self.scaling
