"""A model that turns items into features: what every reader of models returns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spider_jax.errors import InputError


class Encoded(NamedTuple):
    """Of a batch: features float32 [b, D], the source head's softmax float32 [b, Z] or None."""

    features: NDArray[np.float32]
    probabilities: NDArray[np.float32] | None


@dataclass(frozen=True)
class Encoder:
    """A model, ready to run.

    name: in the zoo. modality: the items it takes, "image" or "text". prepare: an item to what
    `encode` takes; runs in threads. encode: a batch of prepared items, and what `settle` said.
    facts: what tells this export from another (weights, preprocessing, layer); for the manifest.
    versions: of the libraries that ran it. settle: from some prepared items and their labels, the
    layer to read on a task; only where that depends on the task. row_bytes: of memory that one row
    takes while it is encoded (0: not known); batch: the batch that the model asks for, if it does.
    """

    name: str
    modality: str
    prepare: Callable[[Any], Any]
    encode: Callable[[Sequence[Any], int | None], Encoded]
    facts: Mapping[str, Any]
    versions: Mapping[str, str]
    settle: Callable[[Sequence[Any], NDArray[Any] | None, str], int] | None = None
    row_bytes: Callable[[Any], int] = field(default=lambda prepared: 0)
    batch: int | None = None


def check_encoded(encoded: Encoded, rows: int, encoder: str) -> None:
    """Refuse what is not [rows, D > 0] of numbers.

    Raises:
        InputError: another shape.
    """
    for what, array in zip(Encoded._fields, encoded, strict=True):
        if array is not None and (array.ndim != 2 or len(array) != rows or array.shape[1] == 0):
            raise InputError(f"{what} of {encoder!r} must be [{rows}, width], got {array.shape}")


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """exp(l - max l) / sum, float32 [b, Z], computed in float64."""
    shifted = np.asarray(logits, np.float64)
    weights = np.exp(shifted - shifted.max(1, keepdims=True))
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)
