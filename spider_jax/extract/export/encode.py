"""A model run over rows of data, batch by batch, in halves where memory does not suffice."""

import logging
from collections.abc import Generator, Iterator, MutableMapping, Sequence
from contextlib import closing, contextmanager

import numpy as np
from jaxtyping import Float32
from numpy.typing import NDArray
from tqdm import tqdm

from spider_jax.errors import InputError
from spider_jax.extract.data.dataset import Dataset
from spider_jax.extract.data.items import Item
from spider_jax.extract.export.batches import batch_rows, free_memory, prepared_batches
from spider_jax.extract.export.measured import Stopwatch
from spider_jax.extract.models.encoder import Encoded, Encoder, check_encoded
from spider_jax.runtime.progress import Bar
from spider_jax.zoo.matrix_file import refuse_not_finite

log = logging.getLogger("spider_jax")


def refuse_other_items(encoder: Encoder, data: Dataset) -> None:
    """Refuse data whose items the model does not take.

    Args:
        encoder: the model.
        data: the data.

    Raises:
        InputError: pictures for a text encoder, or the like.
    """
    if data.modality not in (encoder.modality, *encoder.also):
        has = "labels only" if data.modality == "none" else f"{data.modality}s"
        also = encoder.also if data.modality in ("pair", "word") else ()
        takes = ", ".join(f"{kind}s" for kind in (encoder.modality, *also))
        raise InputError(f"{encoder.name!r} takes {takes}, {data.source} has {has}")


def rows_of_batch(encoder: Encoder, prepared: Item) -> int:
    """Rows to encode together: as the model asks for, else as memory allows for such an item.

    Args:
        encoder: the model.
        prepared: one prepared item.
    """
    return encoder.batch or batch_rows(encoder.row_bytes(prepared), free_memory())


def encoded_batches(
    encoder: Encoder,
    data: Dataset,
    batches: Sequence[range],
    settled: int | None,
    show: bool,
    broken: MutableMapping[int, str],
    watch: Stopwatch,
) -> Generator[tuple[range, list[int], Encoded | None], None, None]:
    """Batches of rows, encoded in order, with a bar that shows items a second.

    Args:
        encoder: the model.
        data: the data.
        batches: rows of every batch.
        settled: the layer that the model chose for the task, or None.
        show: whether to show the bar.
        broken: filled with the row and the message of every item that cannot be read.
        watch: filled with the times of the batches.

    Yields:
        The rows of a batch, those of them that can be read, and what the model gives for these;
        None where there are none.

    Raises:
        InputError: a value that is not finite; the message names file and row.
    """
    total, phase = sum(map(len, batches)), f"{encoder.name} on {data.name}"
    with (
        _bar(total, phase, data.modality, show) as bar,
        closing(prepared_batches(data, encoder.prepare, batches, broken)) as prepared,
    ):
        for span, rows, items in prepared:
            watch.start()
            found = encode_batch(encoder, items, settled) if items else None
            if items:
                watch.stop(len(items))
            for part in found or ():
                if part is not None:
                    _refuse_not_finite(part, rows, encoder, data)
            yield span, rows, found
            bar.update(len(span))


def encode_batch(encoder: Encoder, items: Sequence[Item], settled: int | None) -> Encoded:
    """Encode prepared items; where memory does not suffice, in halves.

    Args:
        encoder: the model.
        items: b prepared items.
        settled: the layer that the model chose for the task, or None.

    Returns:
        What the model gives for them.

    Raises:
        InputError: what comes out has another shape than [rows, width].
    """
    try:
        found = encoder.encode(items, settled)
    except Exception as error:
        if len(items) == 1 or not _out_of_memory(error):
            raise
        log.warning("%s: no memory for a batch of %d, in halves", encoder.name, len(items))
    else:
        check_encoded(found, len(items), encoder.name)
        return found
    middle = len(items) // 2
    parts = [encode_batch(encoder, half, settled) for half in (items[:middle], items[middle:])]
    features = np.concatenate([part.features for part in parts])
    softmaxes = [part.probabilities for part in parts if part.probabilities is not None]
    return Encoded(features, np.concatenate(softmaxes) if softmaxes else None)


def _out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def _refuse_not_finite(
    part: NDArray[np.float32], rows: Sequence[int], encoder: Encoder, data: Dataset
) -> None:
    bad = np.flatnonzero(~np.isfinite(part).all(1))
    if len(bad):
        row = rows[int(bad[0])]
        refuse_not_finite(part[bad[:1]], row, f"{encoder.name!r} on {data.where(row)}")


def joined_columns(
    encoded: Encoded, width: int, classes: int, name: str
) -> Float32[np.ndarray, "b D_plus_Z"]:
    """Features and probabilities side by side.

    Args:
        encoded: what a model gave for a batch of b rows.
        width: D, columns of the features.
        classes: Z, columns of the probabilities; 0 where there are none.
        name: of the model, for errors.

    Returns:
        float32 [b, D + Z].

    Raises:
        InputError: another width than the first batch had.
    """
    joined = np.concatenate([part for part in encoded if part is not None], 1)
    if joined.shape[1] != width + classes:
        raise InputError(
            f"{name!r} gave rows of {joined.shape[1]} numbers, its first of {width + classes}"
        )
    return np.asarray(joined, np.float32)


@contextmanager
def _bar(total: int, phase: str, unit: str, show: bool) -> Iterator[Bar]:
    disable = None if show else True
    with tqdm(
        total=total, desc=phase, unit=unit, unit_scale=True, disable=disable, dynamic_ncols=True
    ) as bar:
        yield bar
