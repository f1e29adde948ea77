"""Plain .npy files: checked by their header, then in chunks; written all or nothing.

They are never unpickled: an array of Python objects is refused on both ways.
"""

import functools
import io
import math
import os
from pathlib import Path
from tokenize import TokenError
from typing import Any, NamedTuple
from urllib.parse import unquote

import numpy as np
from jaxtyping import Float, Shaped

from spider_jax.errors import InputError
from spider_jax.storage.files import atomic_file, name_to_component, refuse_case_twin
from spider_jax.storage.opening import open_regular

CHUNK_BYTES = 1 << 24
MAX_HEADER_BYTES = 1 << 16
# what NumPy's parser raises on broken headers
UNREADABLE = (OSError, EOFError, ValueError, SyntaxError, TokenError, MemoryError, RecursionError)


class Header(NamedTuple):
    """What an .npy file says of itself, read without its data.

    Attributes:
        shape: of the array.
        dtype: of the array.
        bytes: size of its data, without the header.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    bytes: int


def read_header(path: Path) -> Header:
    """Shape and dtype of an .npy file; the size of the file must fit them, its data is not read.

    Args:
        path: the file.

    Returns:
        The header.

    Raises:
        InputError: not a whole .npy file, or one that holds Python objects.
    """
    try:
        with open_regular(path) as file:
            magic = file.read(np.lib.format.MAGIC_LEN)
            length = file.read(2 if magic[-2:] == b"\1\0" else 4)
            literal = file.read(min(int.from_bytes(length, "little"), MAX_HEADER_BYTES))
            found = os.fstat(file.fileno()).st_size - file.tell()
        shape, dtype = _parse_header(magic + length + literal)
    except InputError:
        raise
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


def check_finite(matrix: Float[np.ndarray, "N D"], what: str) -> None:
    """Refuse a matrix with values that are not finite; a memmap is read once, a chunk at a time.

    Args:
        matrix: the values.
        what: what they are, for the message.

    Raises:
        InputError: a NaN or an infinity; the message counts the rows and names the first.
    """
    step = max(1, CHUNK_BYTES // max(1, matrix.shape[1] * matrix.itemsize))
    count, first = 0, -1
    for start in range(0, len(matrix), step):
        bad = ~np.isfinite(matrix[start : start + step]).all(1)
        if first < 0 and bad.any():
            first = start + int(np.flatnonzero(bad)[0])
        count += int(bad.sum())
    if count:
        raise InputError(f"{what}: {count} rows have NaN or infinite values. First row: {first}")


def check_rows_sum_to_one(matrix: Float[np.ndarray, "N Z"], what: str) -> None:
    """Refuse a matrix whose rows are no distributions; 1e-2 is allowed, for float16.

    Args:
        matrix: the values.
        what: what they are, for the message.

    Raises:
        InputError: a row that does not sum to 1, or a negative value; the message names the first.
    """
    sums, least = matrix.sum(1, dtype=np.float64), matrix.min(1)
    off = (np.abs(sums - 1) > 1e-2) | (least < 0)
    if off.any():
        row = int(np.flatnonzero(off)[0])
        raise InputError(
            f"{what} must be a softmax: row {row} sums to {sums[row]:.4g}, "
            f"its smallest value is {least[row]:.4g}"
        )


def refuse_twin_on_disk(folder: Path, name: str, suffix: str = "") -> None:
    """Refuse a name that differs from that of an existing <folder>/<name><suffix> only in case.

    Args:
        folder: where the name will be written.
        name: a model or task name.
        suffix: of the files there.

    Raises:
        InputError: such a twin exists.
    """
    if folder.is_dir():
        refuse_case_twin(name, (unquote(p.name.removesuffix(suffix)) for p in folder.iterdir()))


def write_array(folder: Path, name: str, array: Shaped[np.ndarray, "..."]) -> None:
    """Write <folder>/<quoted name>.npy, all or nothing.

    Args:
        folder: where to; made if it is not there.
        name: a model or task name, quoted by `name_to_component`.
        array: of any shape and dtype but Python objects.

    Raises:
        InputError: Python objects, a name that cannot be written, or one that differs from an
            existing one only in case.
    """
    if array.dtype.hasobject:
        raise InputError(f"{name!r}: an array of Python objects is never written")
    refuse_twin_on_disk(folder, name, ".npy")
    with atomic_file(folder / f"{name_to_component(name)}.npy") as file:
        np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
