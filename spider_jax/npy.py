"""Plain .npy files: read by header, checked in chunks, written all or nothing, never unpickled."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.files import atomic_file, name_to_component, refuse_case_twin

CHUNK_BYTES = 1 << 24


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
            version = np.lib.format.read_magic(file)
            read = {
                (1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0,
            }.get(version)
            if read is None:
                raise InputError(f"{path} has .npy version {version}: save it with np.save")
            shape, _, dtype = read(file)
            start = file.tell()
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a readable .npy file: {error}") from None
    if dtype.hasobject:
        raise InputError(f"{path} holds Python objects (dtype {dtype}), which are never loaded")
    needed, found = int(np.prod(shape)) * dtype.itemsize, path.stat().st_size - start
    if found != needed:
        raise InputError(f"{path} is cut or padded: {needed} bytes of data expected, got {found}")
    return Header(shape, dtype, needed)


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
    sums = matrix.sum(1, dtype=np.float64)
    off = (np.abs(sums - 1) > 1e-2) | (matrix.min(1) < 0)
    if off.any():
        row = int(np.flatnonzero(off)[0])
        raise InputError(f"{what} must be a softmax: row {row} sums to {sums[row]:.4g}")


def refuse_twin_on_disk(folder: Path, name: str) -> None:
    """Refuse a name whose file would differ from an existing one only in case."""
    if folder.is_dir():
        refuse_case_twin(
            name_to_component(name), (path.name.removesuffix(".npy") for path in folder.iterdir())
        )


def write_array(folder: Path, name: str, array: NDArray[Any]) -> None:
    """Write <folder>/<quoted name>.npy, all or nothing."""
    if array.dtype.hasobject:
        raise InputError(f"{name!r}: an array of Python objects is never written")
    refuse_twin_on_disk(folder, name)
    with atomic_file(folder / f"{name_to_component(name)}.npy") as file:
        np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
