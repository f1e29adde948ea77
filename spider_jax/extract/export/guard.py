"""Before an export: is what the model gives a function of the row, and of the row alone?

A model that masks or drops at random, normalises by its batch or sees the padding of its neighbours
gives features that mean nothing later. A few rows are encoded together, together again, and one of
them alone: three small batches more.
"""

import numpy as np
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.extract.data.dataset import BrokenItemError, Dataset
from spider_jax.extract.data.items import Item
from spider_jax.extract.export.batches import prepared_item
from spider_jax.extract.export.encode import encode_batch
from spider_jax.extract.models.encoder import Encoded, Encoder

ROWS = 8  # encoded together
LOOKED_AT = 64  # first rows, among which the shortest and the longest text are found
# A row may change by this part of the spread over rows, and by this part of the values: rounding.
SINGLE, HALF = (5e-3, 1e-4), (2e-2, 5e-3)  # of values in float32, and of such that are float16
AGAIN = "the same rows encoded twice differ"
ALONE = "a row encoded alone and in a batch differs"
CAUSES = {
    AGAIN: "dropout or masking is on, or it draws at random",
    "image": "batch statistics in place of running ones, or rows that are mixed",
    "text": "padding that is seen: positions or a mask that count it, or batch statistics",
}


def refuse_unsteady(encoder: Encoder, data: Dataset, settled: int | None, batch: int) -> None:
    """Refuse a model whose features of a row depend on chance or on the other rows.

    Args:
        encoder: the model.
        data: whose first rows are encoded.
        settled: the layer that the model chose for the task, or None.
        batch: rows encoded together in the export; no more are here.

    Raises:
        InputError: a row changes by more than rounding; the message names the likely cause.
    """
    rows, items = _probes(encoder, data, min(ROWS, max(batch, 1)))
    if not items:
        return
    together = encode_batch(encoder, items, settled)
    again = encode_batch(encoder, items, settled)
    for row in range(len(items)):
        _compare(together, row, again, row, AGAIN, encoder, data.where(rows[row]))
    if len(items) > 1:
        row = len(items) // 2  # it has neighbours on both sides
        alone = encode_batch(encoder, items[row : row + 1], settled)
        _compare(together, row, alone, 0, ALONE, encoder, data.where(rows[row]))


def _probes(encoder: Encoder, data: Dataset, count: int) -> tuple[list[int], list[Item]]:
    """Rows and prepared items: the first ones; of texts the shortest in the middle of longer ones.

    Padding shows most in a short text beside a long one.
    """
    if encoder.modality != "text":
        return _first(encoder, data, count)
    rows, texts = _first(encoder, data, LOOKED_AT)
    order = sorted(range(len(texts)), key=lambda place: len(str(texts[place])))
    rest = order[1:][-(count - 1) :] if count > 1 else []
    middle = (len(rest) + 1) // 2
    chosen = [*rest[:middle], *order[:1], *rest[middle:]]
    return [rows[place] for place in chosen], [texts[place] for place in chosen]


def _first(encoder: Encoder, data: Dataset, count: int) -> tuple[list[int], list[Item]]:
    """The first rows that can be read, and their items; the export names the others."""
    rows: list[int] = []
    items: list[Item] = []
    for row in range(min(LOOKED_AT, data.rows)):
        if len(rows) == count:
            break
        try:
            items.append(prepared_item(data, encoder.prepare, row))
        except BrokenItemError:
            continue
        rows.append(row)
    return rows, items


def _compare(
    first: Encoded, row: int, second: Encoded, at: int, how: str, encoder: Encoder, where: str
) -> None:
    """Refuse a row that changes by more than its part of the spread over rows, and rounding."""
    for what, one, other in zip(Encoded._fields, first, second, strict=True):
        if one is None or other is None:
            continue
        if one.shape[1:] != other.shape[1:]:
            raise InputError(
                f"{encoder.name!r}: {what} of {where} have another width in another batch: "
                f"{one.shape[1]} and {other.shape[1]}"
            )
        change, allowed = _change(one, row, other[at])
        if change > allowed:
            cause = CAUSES[how] if how in CAUSES else CAUSES[encoder.modality]
            spread = _rms(one - one.mean(0))
            raise InputError(
                f"{encoder.name!r} is no function of a row: {how}, {what} of {where} by "
                f"{change:.3g} (spread over rows {spread:.3g}): likely {cause}"
            )


def _change(rows: NDArray[np.float32], row: int, other: NDArray[np.float32]) -> tuple[float, float]:
    """How far a row changes, and how far it may, as root mean squares over the columns."""
    if not (np.isfinite(rows).all() and np.isfinite(other).all()):
        return 0.0, 0.0  # the export names the file and row of such a value
    half = np.abs(rows).max() < 6e4 and (rows == rows.astype(np.float16)).all()
    of_spread, of_size = HALF if half else SINGLE
    allowed = of_spread * _rms(rows - rows.mean(0)) + of_size * _rms(rows)
    return _rms(rows[row] - other), allowed


def _rms(values: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
