"""An encoder that is no function of its row is refused before anything is written."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.extract.data.dataset import BrokenItemError, Dataset
from spider_jax.extract.export.guard import refuse_unsteady
from spider_jax.extract.export.run import Settings, export
from spider_jax.extract.models.encoder import Encoded, Encoder

ROWS, WIDTH = 40, 6
RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=(ROWS, WIDTH)).astype(np.float32)
TEXTS = [" ".join(["word"] * (1 + row % 7)) for row in range(ROWS)]
Matrix = NDArray[np.float32]
Function = Callable[[Matrix], Matrix]


def data_of(items: Sequence[Any], modality: Any) -> Dataset:
    return Dataset(
        name="toys",
        source="toys",
        modality=modality,
        rows=len(items),
        item=lambda row: items[row],
        where=lambda row: f"toys row {row}",
        labels=np.arange(len(items)) % 2,
        kind="classification",
        classes=None,
        fingerprint="0",
    )


def encoder_of(
    encode: Callable[[Sequence[Any]], Matrix],
    modality: str = "image",
    probabilities: Function | None = None,
) -> Encoder:
    def run(batch: Sequence[Any], settled: int | None) -> Encoded:
        features = np.asarray(encode(batch), np.float32)
        return Encoded(features, probabilities(features) if probabilities else None)

    return Encoder("model", modality, lambda item: item, run, {"layer": "last"}, {})


def dropped(x: Matrix) -> Matrix:
    return x * (RNG.random(x.shape) > 0.1)


def by_batch(x: Matrix) -> Matrix:
    return x - x.mean(0)


def by_neighbour(x: Matrix) -> Matrix:
    return x + np.float32(0.1) * np.roll(x, 1, 0)


def masked(x: Matrix) -> Matrix:
    return x * (np.argsort(RNG.random(x.shape), 1) < WIDTH // 2)


def padded_length(texts: Sequence[str]) -> Matrix:
    """Positions counted from the left of the longest text, as left padding does."""
    counts = np.array([[len(text.split())] for text in texts], np.float32)
    return (counts.max() - counts + np.arange(WIDTH)).astype(np.float32)


def noisy_softmax(x: Matrix) -> Matrix:
    return np.asarray(RNG.random((len(x), 3)), np.float32)


UNSTEADY = {
    "functional dropout": (encoder_of(lambda b: dropped(np.stack(b))), "dropout or masking"),
    "random masks": (encoder_of(lambda b: masked(np.stack(b))), "dropout or masking"),
    "dropout in the head": (encoder_of(np.stack, probabilities=noisy_softmax), "probabilities"),
    "batch statistics": (encoder_of(lambda b: by_batch(np.stack(b))), "batch statistics"),
    "neighbours": (encoder_of(lambda b: by_neighbour(np.stack(b))), "rows that are mixed"),
    "padding": (encoder_of(padded_length, "text"), "padding that is seen"),
}


@pytest.mark.parametrize("kind", UNSTEADY)
def test_an_unsteady_encoder_is_refused(tmp_path: Path, kind: str) -> None:
    encoder, cause = UNSTEADY[kind]
    items = TEXTS if encoder.modality == "text" else list(VALUES)
    with pytest.raises(InputError) as caught:
        export(tmp_path / "zoo", encoder, data_of(items, encoder.modality), Settings(batch=16))
    message = str(caught.value)
    assert "'model' is no function of a row" in message
    assert cause in message
    assert "toys row" in message
    assert len(message.splitlines()) == 1
    assert not (tmp_path / "zoo").exists()


STEADY: dict[str, Function] = {
    "rounding": lambda x: x * np.float32(1 + 1e-6 * RNG.normal()),
    "rounding of values that are nearly equal": lambda x: 1 + 1e-4 * x + 1e-6 * RNG.random(),
    "float16": lambda x: (x * np.float32(1 + 3e-4 * RNG.normal())).astype(np.float16),
    "constant": lambda x: np.ones_like(x),
    "zero": lambda x: np.zeros_like(x),
}


@pytest.mark.parametrize("kind", STEADY)
@pytest.mark.parametrize("rows", [1, 2, ROWS])
def test_a_steady_encoder_is_exported(tmp_path: Path, kind: str, rows: int) -> None:
    change = STEADY[kind]
    encoder = encoder_of(lambda b: np.asarray(change(np.stack(b)), np.float32))
    data = data_of(list(VALUES[:rows]), "image")
    assert export(tmp_path / "zoo", encoder, data, Settings()) == "written"


@pytest.mark.parametrize("batch", [1, 2, 5, 64])
def test_three_batches_more_at_most(tmp_path: Path, batch: int) -> None:
    sizes: list[int] = []

    def count(items: Sequence[Any]) -> Matrix:
        sizes.append(len(items))
        return np.stack(items)

    data = data_of(list(VALUES), "image")
    export(tmp_path / "zoo", encoder_of(count), data, Settings(batch=batch))
    exported, width = -(-ROWS // batch), 1
    assert len(sizes) <= exported + width + 3
    assert sum(sizes) <= ROWS + 1 + 3 * batch
    assert max(sizes) <= batch


def test_another_width_in_another_batch(tmp_path: Path) -> None:
    encoder = encoder_of(lambda b: np.repeat(np.stack(b), len(b), 1))
    with pytest.raises(InputError, match="another width in another batch"):
        export(tmp_path / "zoo", encoder, data_of(list(VALUES), "image"), Settings(batch=8))


@pytest.mark.parametrize("broken", [{0}, {0, 1, 5}, set(range(ROWS))])
def test_broken_items_are_passed_over(broken: set[int]) -> None:
    def item(row: int) -> Any:
        if row in broken:
            raise BrokenItemError(f"row {row}")
        return VALUES[row]

    data = replace(data_of(list(VALUES), "image"), item=item)
    refuse_unsteady(encoder_of(np.stack), data, None, 8)
    if len(broken) < ROWS:
        with pytest.raises(InputError, match="no function of a row"):
            refuse_unsteady(encoder_of(lambda b: by_batch(np.stack(b))), data, None, 8)
