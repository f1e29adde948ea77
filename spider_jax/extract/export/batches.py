"""How many rows are encoded together, and how they are prepared while the model runs."""

import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, MutableMapping
from concurrent.futures import Future, ThreadPoolExecutor

from spider_jax.errors import InputError, one_line
from spider_jax.extract.data.dataset import BrokenItemError, Dataset
from spider_jax.extract.data.items import Item
from spider_jax.runtime.memory import free_pages

MOST = 64  # rows of a batch where nothing else is known
BLOCK_ROWS = 256  # at least so many in a file: a second on a fast GPU, half a minute on a slow CPU
SHARE = 8  # a batch may take this part of the free memory
AHEAD = 2  # batches that are prepared while one is encoded


def batch_rows(row_bytes: int, free: int) -> int:
    """Rows of a batch: a power of two up to 64 that takes at most an eighth of the free memory.

    Args:
        row_bytes: memory that one row takes; 0: not known.
        free: bytes of memory that are free.

    Returns:
        The number of rows.

    >>> [batch_rows(size, 1 << 30) for size in (0, 1 << 20, 1 << 24, 1 << 34)]
    [64, 64, 8, 1]
    """
    fits = MOST if row_bytes <= 0 else free // (SHARE * row_bytes)
    return min(MOST, 1 << max(0, fits.bit_length() - 1))


def free_memory() -> int:
    """Bytes that are free: of the GPU where torch has one, else of the machine."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    return free_pages()


def block_rows(batch: int) -> int:
    """Rows of a block: the smallest multiple of the batch that is at least 256.

    Args:
        batch: rows that are encoded together.
    """
    return batch * -(-BLOCK_ROWS // batch)


def spans(start: int, stop: int, batch: int) -> list[range]:
    """Batches of the rows start..stop-1, in order.

    Args:
        start: the first row.
        stop: the row after the last.
        batch: rows of a batch.
    """
    return [range(first, min(first + batch, stop)) for first in range(start, stop, batch)]


def prepared_item(data: Dataset, prepare: Callable[[Item], Item], row: int) -> Item:
    """An item as the model takes it.

    Args:
        data: where the item is from.
        prepare: of the model.
        row: of the item.

    Returns:
        The prepared item.

    Raises:
        BrokenItemError: the item cannot be read; the message names file and row.
        InputError: this model cannot take the item.
    """
    try:
        item = data.item(row)
    except BrokenItemError:
        raise
    except Exception as error:  # a reader of someone else's format
        text = (
            str(error) if data.where(row) in str(error) else f"{data.where(row)}: {one_line(error)}"
        )
        raise BrokenItemError(text) from None
    try:
        return prepare(item)
    except InputError as error:
        raise InputError(f"{data.where(row)} {error}") from None


def sound_items(
    data: Dataset, prepare: Callable[[Item], Item], rows: Iterable[int]
) -> Generator[tuple[int, Item], None, None]:
    """Items that can be read, one after the other.

    Args:
        data: where the items are from.
        prepare: of the model.
        rows: of the items; those that are broken or left out are passed over.

    Yields:
        The row of an item, and the prepared item.

    Raises:
        BrokenItemError: none of them can be read.
    """
    broken, found = list[str](), False
    for row in rows:
        if row in data.left_out:
            continue
        try:
            item = prepared_item(data, prepare, row)
        except BrokenItemError as error:
            broken += error.messages
        else:
            found = True
            yield row, item
    if broken and not found:
        raise BrokenItemError(*broken)


def prepared_batches(
    data: Dataset,
    prepare: Callable[[Item], Item],
    batches: Iterable[range],
    broken: MutableMapping[int, str],
) -> Generator[tuple[range, list[int], list[Item]], None, None]:
    """Batches of prepared items, in order; the next two are prepared in threads meanwhile.

    Args:
        data: where the items are from.
        prepare: of the model.
        batches: rows of every batch.
        broken: filled with the row and the message of every item that cannot be read.

    Yields:
        The rows of a batch, those of them that can be read, and their prepared items.
    """
    waiting: deque[tuple[range, dict[int, Future[Item]]]] = deque()
    out = frozenset(data.left_out)

    def ready() -> tuple[range, list[int], list[Item]]:
        rows, futures = waiting.popleft()
        items = {}
        for row, future in futures.items():
            try:
                items[row] = future.result()
            except BrokenItemError as error:  # the rest is read, so that all are named at once
                broken[row] = str(error)
        return rows, list(items), list(items.values())

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for rows in batches:
                wanted = [row for row in rows if row not in out]
                futures = {row: pool.submit(prepared_item, data, prepare, row) for row in wanted}
                waiting.append((rows, futures))
                if len(waiting) > AHEAD:
                    yield ready()
            while waiting:
                yield ready()
        finally:  # where the caller stops early, the rest need not be read
            pool.shutdown(wait=False, cancel_futures=True)
