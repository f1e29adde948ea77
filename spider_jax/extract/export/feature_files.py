"""Features that exist already, read in blocks: .npy, .npz, .safetensors, .parquet, .csv."""

import json
import math
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped
from numpy.typing import NDArray

from spider_jax.errors import InputError, one_line
from spider_jax.extract.export.csv_features import CsvFeatures, is_no_feature
from spider_jax.runtime.optional import need
from spider_jax.storage.npy import UNREADABLE, read_header

BLOCK_BYTES = 1 << 24
MAX_HEADER = 1 << 27
SAFETENSORS = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2"}
SUFFIXES = (".npy", ".npz", ".safetensors", ".parquet", ".csv", ".tsv")


class Rows(NamedTuple):
    """A matrix on disk.

    Attributes:
        shape: N and D.
        dtype: of the numbers in the file.
        blocks: reads the rows in order, in blocks [b, D].
        columns: names [D], where the file is a table of columns.
    """

    shape: tuple[int, int]
    dtype: np.dtype[Any]
    blocks: Callable[[], Iterator[Shaped[np.ndarray, "b D"]]]
    columns: tuple[str, ...] = ()


def open_rows(path: Path, key: str | None) -> Rows:
    """The features of a file. They are read when they are used, and memory holds one block.

    Args:
        path: .npy, .npz, .safetensors, .parquet, .csv or .tsv. Of a table all columns of numbers
            are features, but for those that hold row numbers or are called label, text, id, index
            or the like.
        key: the array, tensor or column; None where there is only one, or one named features. Of
            a CSV, names of columns with commas between them.

    Returns:
        The matrix.

    Raises:
        InputError: no such file or key, Python objects, or no [N, D] of floats.
    """
    readers = {
        ".npy": _npy,
        ".npz": _npz,
        ".safetensors": _safetensors,
        ".parquet": _parquet,
        ".csv": _csv,
        ".tsv": _csv,
    }
    if path.suffix not in readers:
        raise InputError(f"{path} must be one of {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    rows = readers[path.suffix](path, key)
    if len(rows.shape) != 2 or 0 in rows.shape or rows.dtype.kind != "f":
        raw = rows.dtype.kind == "V"  # what NumPy makes of bfloat16 and its kin
        advice = ": save them as float32" if raw or rows.dtype.kind in "iu" else ""
        raise InputError(f"{path} must hold floats [N, D], got {rows.dtype} {rows.shape}{advice}")
    return rows


def _of_array(array: NDArray[np.generic]) -> Rows:
    def blocks() -> Iterator[NDArray[np.generic]]:
        step = max(1, BLOCK_BYTES // max(1, array[:1].nbytes))
        for start in range(0, len(array), step):
            yield array[start : start + step]

    return Rows(array.shape, array.dtype, blocks)


def _npy(path: Path, key: str | None) -> Rows:
    read_header(path)
    return _of_array(np.load(path, mmap_mode="r", allow_pickle=False))


def _one_of(path: Path, key: str | None, names: list[str]) -> str:
    if key is None and len(names) == 1:
        return names[0]
    if key is None and "features" in names:
        return "features"
    if key not in names:
        shown = ", ".join(map(repr, names[:12])) + (", ..." if len(names) > 12 else "")
        raise InputError(f"{path}: key must be one of {shown or 'nothing'}, got {key!r}")
    return key


# ---- .npz ------------------------------------------------------------------------------------


def _npz(path: Path, key: str | None) -> Rows:
    """Member by member through zipfile, which streams compressed ones too."""
    try:
        with zipfile.ZipFile(path) as file:
            names = [n.removesuffix(".npy") for n in file.namelist() if n.endswith(".npy")]
            member = _one_of(path, key, names) + ".npy"
            with file.open(member) as stream:
                shape, fortran, dtype = _npy_header(stream)
    except (zipfile.BadZipFile, NotImplementedError, *UNREADABLE) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a readable .npz file: {one_line(error)}") from None
    if dtype.hasobject:
        raise InputError(f"{path}: {member} holds Python objects, which are never loaded")
    if fortran:
        raise InputError(f"{path}: {member} is stored by columns: save np.ascontiguousarray of it")
    return Rows(shape, dtype, lambda: _stream(path, member, shape, dtype))


@runtime_checkable
class _Stream(Protocol):
    """What a member of a zip file has."""

    def read(self, count: int = -1, /) -> bytes: ...


def _npy_header(stream: _Stream) -> tuple[Any, bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    return np.lib.format.read_array_header_2_0(stream)


def _stream(
    path: Path, member: str, shape: tuple[int, int], dtype: np.dtype[Any]
) -> Iterator[NDArray[np.generic]]:
    width = shape[1] * dtype.itemsize
    step = max(1, BLOCK_BYTES // width)
    try:
        with zipfile.ZipFile(path) as file, file.open(member) as stream:
            _npy_header(stream)
            for start in range(0, shape[0], step):
                data = stream.read(min(step, shape[0] - start) * width)
                if len(data) % width:
                    raise InputError(f"{path}: {member} is cut in row {start + len(data) // width}")
                yield np.frombuffer(data, dtype).reshape(-1, shape[1])
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise InputError(f"{path}: {member} is damaged: {one_line(error)}") from None


# ---- .safetensors ----------------------------------------------------------------------------


def _safetensors(path: Path, key: str | None) -> Rows:
    """8 bytes of length, that much JSON {name: {dtype, shape, data_offsets}}, then the data."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(MAX_HEADER, path.stat().st_size - 8):
                raise ValueError("its header is longer than the file")
            header = json.loads(file.read(length))
        names = [name for name in header if name != "__metadata__"]
        entry = header[_one_of(path, key, names)]
        kind, shape = entry["dtype"], tuple(entry["shape"])
        start, stop = entry["data_offsets"]
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is not a .safetensors file: {one_line(error)}") from None
    if kind not in SAFETENSORS:
        raise InputError(f"{path}: dtype must be one of {', '.join(SAFETENSORS)}, got {kind!r}")
    dtype = np.dtype(SAFETENSORS[kind])
    whole = all(type(n) is int and n >= 0 for n in (*shape, start, stop))
    if not whole or stop - start != math.prod(shape) * dtype.itemsize:
        raise InputError(f"{path}: offsets do not fit shape {shape}")
    offset = 8 + length + start
    if offset + (stop - start) > path.stat().st_size:
        raise InputError(f"{path} is cut: its data should end at byte {offset + stop - start}")
    if 0 in shape:
        return Rows(shape, np.dtype(np.float32), lambda: iter(()))
    rows = _of_array(np.memmap(path, dtype, "r", offset, shape))
    if kind != "BF16":
        return rows
    return Rows(shape, np.dtype(np.float32), lambda: map(_of_bfloat16, rows.blocks()))


def _of_bfloat16(bits: NDArray[np.generic]) -> NDArray[np.float32]:
    """bfloat16 is the upper half of a float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


# ---- .parquet --------------------------------------------------------------------------------


def _parquet(path: Path, key: str | None) -> Rows:
    """A column of lists, or all columns of floats side by side where no key is given."""
    parquet = need("pyarrow.parquet", "pyarrow", "reading .parquet")
    types = need("pyarrow", "pyarrow", "reading .parquet").types
    try:
        file = parquet.ParquetFile(path)
        schema, count = file.schema_arrow, file.metadata.num_rows
    except Exception as error:  # pyarrow's own kinds
        raise InputError(f"{path} is not a readable .parquet file: {one_line(error)}") from None
    lists = [f.name for f in schema if _is_list(types, f.type)]
    floats = [f.name for f in schema if types.is_floating(f.type) and not is_no_feature(f.name)]
    columns = [_one_of(path, key, lists)] if key is not None or lists else floats
    if not columns or count == 0:
        raise InputError(f"{path} has no rows of floats: it has {', '.join(schema.names)}")

    def blocks() -> Iterator[NDArray[np.generic]]:
        row = 0
        for batch in file.iter_batches(batch_size=_batch(path, count), columns=columns):
            yield _matrix(batch, columns, row, path)
            row += len(batch)

    first = next(blocks())
    names = () if lists or key is not None else tuple(floats)
    return Rows((count, first.shape[1]), first.dtype, blocks, names)


def _is_list(types: ModuleType, kind: Any) -> bool:
    """Whether pyarrow's type `kind` is a list of floats."""
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return bool(is_list and types.is_floating(kind.value_type))


def _batch(path: Path, rows: int) -> int:
    return max(1, min(rows, BLOCK_BYTES * rows // max(1, path.stat().st_size)))


def _matrix(batch: Any, columns: list[str], first: int, path: Path) -> NDArray[np.generic]:
    """[b, D] of a record batch; lists of different lengths and missing values are refused."""
    for column in columns:
        missing = batch.column(column).is_null().to_numpy(zero_copy_only=False)
        if missing.any():
            row = first + int(np.flatnonzero(missing)[0])
            raise InputError(f"{path}: {column} has no value in row {row}")
    if len(columns) > 1 or not hasattr(batch.column(columns[0]), "flatten"):
        parts = [batch.column(c).to_numpy(zero_copy_only=False) for c in columns]
        return np.stack(parts, axis=1)
    lists = batch.column(columns[0])
    values = lists.flatten().to_numpy(zero_copy_only=False)
    width = len(lists[0])
    lengths = np.array(lists.value_lengths()) if hasattr(lists, "value_lengths") else None
    if lengths is not None and (lengths != width).any():
        row = first + int(np.flatnonzero(lengths != width)[0])
        raise InputError(f"{path}: {columns[0]} of row {row} has another length than {width}")
    return values.reshape(len(lists), -1)


# ---- .csv ------------------------------------------------------------------------------------


def _csv(path: Path, key: str | None) -> Rows:
    """The columns of numbers of a CSV file; read once for its length."""
    found = CsvFeatures(path, key)
    return Rows(
        (found.rows, len(found.columns)), np.dtype(np.float64), found.blocks, tuple(found.columns)
    )
