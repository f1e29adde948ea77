"""How many rows are encoded together, and how they get ready while the model runs."""

import os
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from spider_jax.errors import InputError, one_line
from spider_jax.extract.data.dataset import BrokenItemError, Dataset

MOST = 64  # rows of a batch where nothing else is known
BLOCK_ROWS = 256  # at least so many in a file: a second on a fast GPU, half a minute on a slow CPU
SHARE = 8  # a batch may take this part of the free memory
AHEAD = 2  # batches that get ready while one is encoded


def batch_rows(row_bytes: int, free: int) -> int:
    """Rows of a batch: a power of two up to MOST whose memory is at most free / SHARE.

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
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # not every system says so
        return 1 << 31


def block_rows(batch: int) -> int:
    """Rows of a block: the least multiple of the batch that is at least BLOCK_ROWS."""
    return batch * -(-BLOCK_ROWS // batch)


def spans(start: int, stop: int, batch: int) -> list[range]:
    """Batches of the rows start..stop-1."""
    return [range(first, min(first + batch, stop)) for first in range(start, stop, batch)]


def prepared_item(data: Dataset, prepare: Callable[[Any], Any], row: int) -> Any:
    """An item as the model wants it.

    Raises:
        BrokenItemError: it cannot be read; the message names file and row. InputError: it can, but
            is nothing for this model.
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


def prepared_batches(
    data: Dataset, prepare: Callable[[Any], Any], batches: Iterable[range]
) -> Generator[tuple[range, list[Any]], None, None]:
    """Batches of prepared items, in order; the next ones get ready in threads meanwhile."""
    waiting: deque[tuple[range, list[Future[Any]]]] = deque()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            for rows in batches:
                waiting.append((rows, [pool.submit(prepared_item, data, prepare, r) for r in rows]))
                if len(waiting) > AHEAD:
                    yield _ready(waiting)
            while waiting:
                yield _ready(waiting)
        finally:  # the caller has left: what waits is not read for nothing
            pool.shutdown(wait=False, cancel_futures=True)


def _ready(waiting: "deque[tuple[range, list[Future[Any]]]]") -> tuple[range, list[Any]]:
    rows, futures = waiting.popleft()
    return rows, [future.result() for future in futures]
