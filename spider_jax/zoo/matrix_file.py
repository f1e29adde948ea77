"""Matrices of a zoo written as they come, block by block, checked, all or nothing."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spider_jax.errors import InputError, one_line
from spider_jax.storage.files import atomic_file, name_to_component
from spider_jax.storage.npy import refuse_twin_on_disk

log = logging.getLogger("spider_jax")

FLOAT16_MAX = float(np.finfo(np.float16).max)  # 65,504
Blocks = Callable[[], Iterable[NDArray[Any]]]


class _TooLargeError(Exception):
    """A value that float16 cannot hold."""


def matrix_path(folder: Path, model: str, task: str) -> Path:
    """<folder>/<model>/<task>.npy; names that differ from others only in case are refused."""
    refuse_twin_on_disk(folder, model)
    below = folder / name_to_component(model)
    refuse_twin_on_disk(below, task, ".npy")
    return below / f"{name_to_component(task)}.npy"


def write_matrix(path: Path, shape: tuple[int, int], dtype: str, blocks: Blocks, what: str) -> str:
    """Write [N, D] rows that come in blocks, in order; memory holds one block.

    A value beyond 65,504 makes a file that was to be float16 float32, which the log says.

    Args:
        path: the .npy file. shape: [N, D]. dtype: "float16" or "float32". blocks: makes the blocks,
            each [b, D] of floats; called a second time if the first ends in float32 after all.
        what: where the rows are from, for errors.

    Returns:
        The dtype written.

    Raises:
        InputError: a row that is not finite, fewer or more rows than N, or a file that cannot be
            written; then no file appears, and one that stood there stays.
    """
    try:
        return _write(path, shape, dtype, blocks, what)
    except _TooLargeError as too_large:
        log.warning("%s: %s: written as float32 instead of float16", what, too_large)
        return _write(path, shape, "float32", blocks, what)


def _write(path: Path, shape: tuple[int, int], dtype: str, blocks: Blocks, what: str) -> str:
    row = 0
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    try:
        with atomic_file(path) as file:
            np.lib.format.write_array_header_1_0(file, header)
            for block in blocks():
                checked = as_stored(block, np.dtype(dtype), row, what)
                if block.shape[1:] != shape[1:]:
                    raise InputError(f"{what}: row {row} has {block.shape[1:]}, not {shape[1:]}")
                file.write(checked.data)
                row += len(block)
            if row != shape[0]:
                raise InputError(f"{what} must have {shape[0]} rows, got {row}")
    except OSError as error:
        raise InputError(f"{path} cannot be written from row {row}: {one_line(error)}") from None
    return dtype


def as_stored(block: NDArray[Any], dtype: np.dtype[Any], first: int, what: str) -> NDArray[Any]:
    """Rows in the dtype of the file; first: the number of the block's first row.

    Raises:
        InputError: a row that is not finite.
        _TooLargeError: a value that float16 cannot hold.
    """
    refuse_not_finite(block, first, what)
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(block, dtype)
    over = ~np.isfinite(stored).all(1)
    if over.any():
        row = int(np.flatnonzero(over)[0])
        largest = float(np.abs(block[row]).max())
        if dtype == np.float16:
            raise _TooLargeError(f"row {first + row} holds {largest:g}, beyond {FLOAT16_MAX:.0f}")
        raise InputError(f"{what}: row {first + row} holds {largest:g}, beyond float32")
    return stored


def refuse_not_finite(block: NDArray[Any], first: int, what: str) -> None:
    """Refuse NaN and infinities.

    Raises:
        InputError: the first such row; first: the number of the block's first row.
    """
    bad = ~np.isfinite(block).all(1)
    if bad.any():
        row = first + int(np.flatnonzero(bad)[0])
        raise InputError(f"{what}: row {row} has NaN or infinite values")
