"""Plain .npy files: read by header, checked in chunks, written all or nothing, never unpickled."""

import functools
import io
import math
import os
from pathlib import Path
from tokenize import TokenError
from typing import Any, NamedTuple
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.storage.files import atomic_file, name_to_component, refuse_case_twin

CHUNK_BYTES = 1 << 24
MAX_HEADER_BYTES = 1 << 16
# what NumPy's parser raises on broken headers
UNREADABLE = (OSError, EOFError, ValueError, SyntaxError, TokenError, MemoryError, RecursionError)


class Header(NamedTuple):
    """What an .npy file says of itself, read without its data."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    bytes: int


def read_header(path: Path) -> Header:
    """Shape and dtype of an .npy file, its size checked against them; no data is read.

    Raises:
        InputError: not a whole .npy file, or one that holds Python objects.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(np.lib.format.MAGIC_LEN)
            length = file.read(2 if magic[-2:] == b"\1\0" else 4)
            literal = file.read(min(int.from_bytes(length, "little"), MAX_HEADER_BYTES))
            found = os.fstat(file.fileno()).st_size - file.tell()
        shape, dtype = _parse_header(magic + length + literal)
    except UNREADABLE as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path} is not a readable .npy file: {reason}") from None
    if dtype.hasobject:
        raise InputError(f"{path} holds Python objects (dtype {dtype}), which are never loaded")
    needed = math.prod(shape) * dtype.itemsize
    if found != needed:
        raise InputError(f"{path} is cut or padded: {needed} bytes of data expected, got {found}")
    return Header(shape, dtype, needed)


@functools.lru_cache(maxsize=1024)  # the files of a zoo share a few headers, parsing is slow
def _parse_header(header: bytes) -> tuple[tuple[int, ...], np.dtype[Any]]:
    file = io.BytesIO(header)
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"its version is {version}, save it with np.save")
    if min(shape, default=0) < 0:
        raise ValueError(f"its shape is {shape}")
    return shape, dtype


def check_finite(matrix: NDArray[Any], what: str) -> None:
    """Raise if any row is not finite; reads the file once, a chunk at a time."""
    step = max(1, CHUNK_BYTES // max(1, matrix.shape[1] * matrix.itemsize))
    count, first = 0, -1
    for start in range(0, len(matrix), step):
        bad = ~np.isfinite(matrix[start : start + step]).all(1)
        if first < 0 and bad.any():
            first = start + int(np.flatnonzero(bad)[0])
        count += int(bad.sum())
    if count:
        raise InputError(f"{what}: {count} rows have NaN or infinite values. First row: {first}")


def check_rows_sum_to_one(matrix: NDArray[Any], what: str) -> None:
    """Raise unless every row is a distribution (to 1e-2, for float16)."""
    sums, least = matrix.sum(1, dtype=np.float64), matrix.min(1)
    off = (np.abs(sums - 1) > 1e-2) | (least < 0)
    if off.any():
        row = int(np.flatnonzero(off)[0])
        raise InputError(
            f"{what} must be a softmax: row {row} sums to {sums[row]:.4g}, "
            f"its smallest value is {least[row]:.4g}"
        )


def refuse_twin_on_disk(folder: Path, name: str, suffix: str = "") -> None:
    """Refuse a name that differs from that of an existing <folder>/<name><suffix> only in case."""
    if folder.is_dir():
        refuse_case_twin(name, (unquote(p.name.removesuffix(suffix)) for p in folder.iterdir()))


def write_array(folder: Path, name: str, array: NDArray[Any]) -> None:
    """Write <folder>/<quoted name>.npy, all or nothing."""
    if array.dtype.hasobject:
        raise InputError(f"{name!r}: an array of Python objects is never written")
    refuse_twin_on_disk(folder, name, ".npy")
    with atomic_file(folder / f"{name_to_component(name)}.npy") as file:
        np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
