"""Features larger than memory, block by block on a device; the next block is read meanwhile."""

from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor

import jax
import numpy as np
from jaxtyping import Array, Shaped

BLOCK_BYTES = 1 << 24
ALIGNMENT = 64  # bytes: JAX takes such memory on a CPU as it is
PAGE_BYTES = 4096


def device_blocks(
    matrix: Shaped[np.ndarray, "N D"], *, rows: int | None = None, device: jax.Device | None = None
) -> Generator[tuple[int, Shaped[Array, "_ D"]], None, None]:
    """Blocks of rows of a memmap as arrays on a device, in order.

    A thread reads the next block from disk and puts it on the device while the caller computes with
    this one. Two blocks are held at a time. On a CPU a block whose start is aligned is not copied:
    it is the pages of the file, which must not be changed while the array lives (a file that is
    renamed over it changes nothing).

    Args:
        matrix: the rows, as `FeatureStore.features` returns them.
        rows: of a block; by default about 16 MB, aligned.
        device: where to; by default JAX's default device.

    Yields:
        (first row, [b, D] of the matrix's dtype); the last block may have fewer rows.

    >>> [(at, block.shape) for at, block in device_blocks(np.ones((5, 2), np.float32), rows=3)]
    [(0, (3, 2)), (3, (2, 2))]
    """
    step = rows or aligned_rows(matrix)
    starts = range(0, len(matrix), step)
    with ThreadPoolExecutor(1) as pool:
        waiting: Future[jax.Array] | None = None
        for start in starts:
            now = waiting or pool.submit(_load, matrix, start, step, device)
            after = start + step
            waiting = pool.submit(_load, matrix, after, step, device) if after in starts else None
            yield start, now.result()


def aligned_rows(matrix: Shaped[np.ndarray, "N D"]) -> int:
    """How many rows make a block of about BLOCK_BYTES and a multiple of ALIGNMENT bytes.

    Args:
        matrix: whose rows are counted; only its width and dtype are read.

    Returns:
        The number of rows, at least 1.

    >>> aligned_rows(np.empty((10, 3), np.float16)) * 6 % 64
    0
    """
    width = max(1, matrix.shape[1] * matrix.itemsize)
    whole = ALIGNMENT // int(np.gcd(ALIGNMENT, width))
    return max(1, BLOCK_BYTES // (width * whole)) * whole


def _load(
    matrix: Shaped[np.ndarray, "N D"], start: int, step: int, device: jax.Device | None
) -> Shaped[Array, "_ D"]:
    block = np.asarray(matrix[start : start + step])
    if block.flags.c_contiguous:  # read every page in this thread, not where it is computed with
        block.reshape(-1).view(np.uint8)[::PAGE_BYTES].max(initial=0)
    return jax.block_until_ready(jax.device_put(block, device))
