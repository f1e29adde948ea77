"""Matrices of a zoo written as they come, block by block, checked, all or nothing."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from spider_jax.errors import InputError, one_line
from spider_jax.storage.files import atomic_file, name_to_component
from spider_jax.storage.npy import refuse_twin_on_disk
from spider_jax.storage.opening import refuse_links

log = logging.getLogger("spider_jax")

FLOAT16_MAX = float(np.finfo(np.float16).max)  # 65,504
Blocks = Callable[[], Iterable[Float[np.ndarray, "b D"]]]


class _TooLargeError(Exception):
    """A value that float16 cannot hold."""


def matrix_path(folder: Path, model: str, task: str) -> Path:
    """The path <folder>/<model>/<task>.npy.

    Args:
        folder: of the features or probabilities of a zoo.
        model: its name.
        task: its name.

    Returns:
        The path.

    Raises:
        InputError: a name that differs from one on disk only in case, or a link in the way.
    """
    refuse_twin_on_disk(folder, model)
    below = folder / name_to_component(model)
    refuse_twin_on_disk(below, task, ".npy")
    return refuse_links(folder.parent, below / f"{name_to_component(task)}.npy")


def write_matrix(path: Path, shape: tuple[int, int], dtype: str, blocks: Blocks, what: str) -> str:
    """Write [N, D] rows that come in blocks, in order; memory holds one block.

    A value beyond 65,504 does not fit float16: the file becomes float32, and the log says so.

    Args:
        path: the .npy file.
        shape: N and D.
        dtype: "float16" or "float32".
        blocks: gives the blocks [b, D]; called again where float16 was asked for and does not
            suffice.
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


def as_stored(
    block: Float[np.ndarray, "b D"], dtype: np.dtype[Any], first: int, what: str
) -> Float[np.ndarray, "b D"]:
    """Rows in the dtype of the file.

    Args:
        block: rows that follow each other.
        dtype: float16 or float32.
        first: number of the first of these rows.
        what: where the rows are from, for errors.

    Returns:
        The rows, contiguous.

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


def refuse_not_finite(block: Float[np.ndarray, "b D"], first: int, what: str) -> None:
    """Refuse NaN and infinities.

    Args:
        block: rows that follow each other.
        first: number of the first of these rows.
        what: where the rows are from, for errors.

    Raises:
        InputError: there is one; the message names its row.
    """
    bad = ~np.isfinite(block).all(1)
    if bad.any():
        row = first + int(np.flatnonzero(bad)[0])
        raise InputError(f"{what}: row {row} has NaN or infinite values")
