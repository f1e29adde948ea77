"""A model that turns items into features: what every reader of models returns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Shaped

from spider_jax.errors import InputError
from spider_jax.extract.data.items import Item


class Encoded(NamedTuple):
    """What a model gives for a batch of b items.

    Attributes:
        features: float32 [b, D].
        probabilities: the source head's softmax, float32 [b, Z], or None.
    """

    features: Float32[np.ndarray, "b D"]
    probabilities: Float32[np.ndarray, "b Z"] | None


@dataclass(frozen=True)
class Encoder:
    """A model, ready to run.

    Attributes:
        name: of the model in the zoo.
        modality: the items it takes, "image" or "text".
        prepare: turns an item of the data into what `encode` takes; runs in threads.
        encode: a batch of prepared items, and the layer that `settle` chose or None -> features.
        facts: what tells this export from another (weights, preprocessing, layer); these go into
            the manifest.
        versions: of the libraries that run it, by package.
        settle: some prepared items, their labels and the kind of the task -> the layer to read on
            that task; None where the layer does not depend on the task.
        row_bytes: bytes of memory that one prepared item takes while it is encoded; 0: not known.
        batch: rows to encode together, where the model asks for a number.
        also: other items that it takes: "pair" or "word".
        report: words for the log when a task is done, as how many texts were cut; "" for none.
        memory: bytes of its parameters, where they are known.
    """

    name: str
    modality: str
    prepare: Callable[[Item], Item]
    encode: Callable[[Sequence[Item], int | None], Encoded]
    facts: Mapping[str, object]
    versions: Mapping[str, str]
    settle: Callable[[Sequence[Item], Shaped[np.ndarray, "n ..."] | None, str], int] | None = None
    row_bytes: Callable[[Item], int] = field(default=lambda prepared: 0)
    batch: int | None = None
    also: tuple[str, ...] = ()
    report: Callable[[], str] = field(default=lambda: "")
    memory: int | None = None


def check_encoded(encoded: Encoded, rows: int, encoder: str) -> None:
    """Refuse features or probabilities that are not [rows, width > 0].

    Args:
        encoded: what a model gave.
        rows: of the batch.
        encoder: name of the model, for errors.

    Raises:
        InputError: another shape.
    """
    for what, array in zip(Encoded._fields, encoded, strict=True):
        if array is not None and (array.ndim != 2 or len(array) != rows or array.shape[1] == 0):
            raise InputError(f"{what} of {encoder!r} must be [{rows}, width], got {array.shape}")


def softmax(logits: Float[np.ndarray, "b Z"]) -> Float32[np.ndarray, "b Z"]:
    """exp(l - max l) / sum over the classes, computed in float64.

    Args:
        logits: [b, Z].

    Returns:
        float32 [b, Z].
    """
    shifted = np.asarray(logits, np.float64)
    weights = np.exp(shifted - shifted.max(1, keepdims=True))
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)
