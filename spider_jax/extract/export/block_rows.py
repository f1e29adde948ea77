"""Which rows of an unfinished export are still to be encoded.

A row that is not encoded yet is NaN in its block: its item was broken, or has changed since. The
batch of such a row is encoded again, whole, so that the bytes are those of an export in one go.

    zoo/.extract/<model>/<task>/
      items.npy          uint8 [batches, 32]: SHA-256 of the items of every batch, where it is known
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int64, Shaped
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.extract.data.dataset import BrokenItemError, Dataset
from spider_jax.extract.export.batches import spans
from spider_jax.storage.npy import read_header, write_array
from spider_jax.zoo.unfinished import Plan, block_path, write_block

log = logging.getLogger("spider_jax")

ITEMS = "items"
NAMED = 1000  # broken items, a line each


def agree_on_items(folder: Path, plan: Plan, data: Dataset) -> None:
    """Forget the rows of batches whose items have changed. The caller holds the zoo's lock.

    Args:
        folder: of the blocks of the export.
        plan: of the export.
        data: of this process.
    """
    if data.content is None:
        return  # what tells these data from others is in the plan
    now = _batch_digests(data, plan)
    path = folder / f"{ITEMS}.npy"
    before = np.load(path, allow_pickle=False) if _fits(path, now) else np.zeros_like(now)
    changed = np.flatnonzero((before != now).any(1))
    if len(changed):
        for block in plan.blocks:
            _forget(folder, plan, block, changed)
        write_array(folder, ITEMS, now)


def _batch_digests(data: Dataset, plan: Plan) -> NDArray[np.uint8]:
    assert data.content is not None
    digests = data.content.digests
    cuts = [digests[span.start : span.stop] for span in spans(0, plan.rows, plan.batch)]
    hashed = b"".join(hashlib.sha256(rows.tobytes()).digest() for rows in cuts)
    return np.frombuffer(hashed, np.uint8).reshape(len(cuts), -1)


def _fits(path: Path, now: NDArray[np.uint8]) -> bool:
    try:
        return path.exists() and read_header(path)[:2] == (now.shape, now.dtype)
    except InputError:  # damaged: nothing is known of what the blocks were made of
        return False


def _forget(folder: Path, plan: Plan, block: int, changed: NDArray[np.int64]) -> None:
    start, stop = plan.span(block)
    first, last = start // plan.batch, -(-stop // plan.batch)
    stale = changed[(first <= changed) & (changed < last)] - first
    if len(stale) and block_path(folder, block).exists():
        rows = begun_block(folder, plan, block)
        for batch in stale:
            rows[batch * plan.batch : (batch + 1) * plan.batch] = np.nan
        write_block(folder, plan, block, rows)


def begun_block(folder: Path, plan: Plan, block: int) -> Float32[np.ndarray, "b D_plus_Z"]:
    """A block as far as it is encoded, NaN elsewhere.

    Args:
        folder: of the blocks of the export.
        plan: of the export.
        block: its number.
    """
    path, (start, stop) = block_path(folder, block), plan.span(block)
    shape = (stop - start, plan.width + plan.classes)
    if not path.exists():
        return np.full(shape, np.nan, np.float32)
    if read_header(path).shape != shape:
        raise InputError(f"{path} must be {shape}: remove it and run the export again")
    return np.load(path, allow_pickle=False)


def open_rows_of(
    folder: Path, plan: Plan, block: int, left_out: Sequence[int]
) -> Int64[np.ndarray, " n"]:
    """Rows of a block that are not encoded.

    Args:
        folder: of the blocks of the export.
        plan: of the export.
        block: its number.
        left_out: rows that need not be.
    """
    start, stop = plan.span(block)
    rows = np.arange(start, stop)
    if block_path(folder, block).exists():
        read_header(block_path(folder, block))  # cut or damaged files are refused in one line
        there = np.load(block_path(folder, block), mmap_mode="r", allow_pickle=False)
        rows = rows[np.isnan(there[:, 0])]
    return np.setdiff1d(rows, left_out)


def open_batches(folder: Path, plan: Plan, block: int, left_out: Sequence[int]) -> list[range]:
    """The batches of a block that have a row to be encoded.

    Args:
        folder: of the blocks of the export.
        plan: of the export.
        block: its number.
        left_out: rows that need not be.
    """
    rows = open_rows_of(folder, plan, block, left_out)
    wanted = frozenset((rows // plan.batch).tolist())
    return [s for s in spans(*plan.span(block), plan.batch) if s.start // plan.batch in wanted]


def leave_out(
    data: Dataset, broken: Mapping[int, str], share: float, labels: Shaped[np.ndarray, "N ..."]
) -> tuple[int, ...]:
    """The rows that a zoo is made without, where they are few.

    Args:
        data: the data.
        broken: messages of the items that cannot be read, by row.
        share: how many of all rows may be left out, as a fraction.
        labels: of all rows.

    Returns:
        The rows that are left out, in ascending order.

    Raises:
        BrokenItemError: there are more, or a class would lose its last row. All are named.
    """
    out = tuple(sorted({*data.left_out, *broken}))
    kept = np.delete(labels, out, axis=0)
    lost = data.kind == "classification" and len(np.unique(kept)) < len(np.unique(labels))
    if len(out) > share * data.rows or lost:
        rule = "a class would lose all its rows" if lost else f"at most {share:.2%} are left out"
        first, *others = (broken[row] for row in sorted(broken))
        head = f"{len(broken)} of {data.rows} items cannot be read, {rule}: mend or remove them"
        more = [f"and {len(others) - NAMED} more"] if len(others) > NAMED else []
        raise BrokenItemError(f"{head}: {first}", *others[:NAMED], *more)
    return out
