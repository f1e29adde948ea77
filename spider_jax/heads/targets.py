"""What a head is trained towards, by kind of task."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int, Shaped

from spider_jax.heads.measures import TaskMeasure


class Targets(NamedTuple):
    """What heads are trained to give, and how their outputs become predictions.

    Attributes:
        kind: of the task: "classification", "multi-label" or "regression".
        values: for the loss of this kind: one-hot classes, 0 or 1 a label, or standardised numbers.
        shift: added to outputs of a regression.
        unit: that outputs of a regression are multiplied by, before the shift.
    """

    kind: str
    values: Float32[np.ndarray, "N K"]
    shift: Float32[np.ndarray, " K"]
    unit: Float32[np.ndarray, " K"]

    def predictions(self, outputs: Float32[np.ndarray, "n K"]) -> Shaped[np.ndarray, "n ..."]:
        """What a head says of some rows.

        Args:
            outputs: of the head.

        Returns:
            Classes [n], labels bool [n, K], or numbers [n, K] in their own unit.
        """
        if self.kind == "classification":
            return outputs.argmax(1)
        return outputs > 0 if self.kind == "multi-label" else outputs * self.unit + self.shift

    def probabilities(self, outputs: Float32[np.ndarray, "n K"]) -> Float64[np.ndarray, "n K"]:
        """How sure a head is of each class or label: softmax or sigmoid, in float64.

        Args:
            outputs: of the head, for classes or labels.

        Returns:
            Rows that sum to 1, or one probability a label.
        """
        logits = np.asarray(outputs, np.float64)
        if self.kind == "multi-label":
            return np.exp(-np.logaddexp(0, -logits))
        weights = np.exp(logits - logits.max(1, keepdims=True))
        return np.asarray(weights / weights.sum(1, keepdims=True))

    def answers(
        self, outputs: Float32[np.ndarray, "n K"], measure: TaskMeasure
    ) -> Shaped[np.ndarray, "n ..."]:
        """What a measure reads: `probabilities` or `predictions`.

        Args:
            outputs: of the head.
            measure: of this kind of task.
        """
        return (self.probabilities if measure.probabilities else self.predictions)(outputs)


def make_targets(
    kind: str, labels: Shaped[np.ndarray, "N ..."], train: Int[np.ndarray, " n"]
) -> Targets:
    """Targets of a task from its labels.

    Args:
        kind: "classification", "multi-label" or "regression".
        labels: of every row: classes 0..C-1 [N], labels [N, K], or numbers [N] or [N, K].
        train: the rows whose mean and deviation standardise numbers; a constant column has unit 1.

    Returns:
        The targets of every row.
    """
    if kind == "classification":
        values = np.eye(int(labels.max()) + 1, dtype=np.float32)[labels]
    else:
        values = labels.reshape(len(labels), -1).astype(np.float32)
    shift, unit = np.zeros((2, values.shape[1]), np.float32)
    unit += 1
    if kind == "regression":
        shift, deviation = values[train].mean(0), values[train].std(0)
        unit = np.where(deviation > 0, deviation, 1).astype(np.float32)
        values = (values - shift) / unit
    return Targets(kind, values, shift, unit)
