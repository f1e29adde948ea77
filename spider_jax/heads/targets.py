"""What a head is trained towards, by kind of task."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Targets(NamedTuple):
    """What heads are trained to give: Y [N, K] for the loss of this kind of task, and how outputs
    become predictions (`shift` and `unit` put standardised numbers back)."""

    kind: str
    values: NDArray[np.float32]
    shift: NDArray[np.float32]
    unit: NDArray[np.float32]

    def predictions(self, outputs: NDArray[np.float32]) -> NDArray[Any]:
        """[n] classes, [n, K] labels, or [n, K] numbers, of outputs [n, K]."""
        if self.kind == "classification":
            return outputs.argmax(1)
        return outputs > 0 if self.kind == "multi-label" else outputs * self.unit + self.shift


def make_targets(kind: str, labels: NDArray[Any], train: NDArray[np.int64]) -> Targets:
    """One-hot classes, 0/1 labels, or numbers standardised by the training rows."""
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
