"""Features larger than memory, block by block on a device; the next one is read meanwhile."""

from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

BLOCK_BYTES = 1 << 24
ALIGNMENT = 64  # bytes: JAX takes such memory on a CPU as it is
PAGE_BYTES = 4096


def device_blocks(
    matrix: NDArray[Any], *, rows: int | None = None, device: jax.Device | None = None
) -> Generator[tuple[int, jax.Array], None, None]:
    """Blocks of rows of a memmap as arrays on a device, in order.

    A thread reads the next block from disk and puts it on the device while the caller computes with
    this one; two blocks are held at a time. On a CPU a block is the file's own pages where its
    start is aligned: nothing is copied, and the file must not be changed while the array lives
    (replacing it by renaming is no change).

    Args:
        matrix: [N, D], as `FeatureStore.features` returns it.
        rows: of a block; default: about 16 MB, aligned.
        device: where to; default: JAX's own default.

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


def aligned_rows(matrix: NDArray[Any]) -> int:
    """Rows of about BLOCK_BYTES whose bytes are a multiple of ALIGNMENT.

    >>> aligned_rows(np.empty((10, 3), np.float16)) * 6 % 64
    0
    """
    width = max(1, matrix.shape[1] * matrix.itemsize)
    whole = ALIGNMENT // int(np.gcd(ALIGNMENT, width))
    return max(1, BLOCK_BYTES // (width * whole)) * whole


def _load(matrix: NDArray[Any], start: int, step: int, device: jax.Device | None) -> jax.Array:
    block = np.asarray(matrix[start : start + step])
    if block.flags.c_contiguous:  # every page is read here, not when it is computed with
        block.reshape(-1).view(np.uint8)[::PAGE_BYTES].max(initial=0)
    return jax.block_until_ready(jax.device_put(block, device))
