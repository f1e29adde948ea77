"""An index on disk: folded rows in blocks of plain .npy, complete or not there at all.

index/
  index.json        what it is: the spider but its models, blocks in order, rows that were removed
  building.json     instead of it while `build` has not ended
  shared/           what all models share, and the scaling of tokens
  blocks/<number>/  key, self_logit, self_value, base [E, rows, ...], names.txt, block.json;
                    memory [1, rows, S] and errors [rows, r + 1] of spiders that have them

A block is written aside and renamed, and counts only once index.json lists it: whatever a killed
run leaves behind is not read, and is cleared by the next run that writes.
"""

import contextlib
import hashlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float32, Shaped
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.spider.folding import ModelRows, check_precision
from spider_jax.storage.files import (
    atomic_folder,
    damaged_file,
    digests,
    name_to_component,
    read_json,
    seal,
    write_json,
    write_text,
)
from spider_jax.storage.json_fields import json_fields
from spider_jax.storage.locks import lock_file
from spider_jax.storage.npy import read_header, write_array
from spider_jax.storage.opening import open_regular, refuse_link

INDEX, BUILDING, SHARED, BLOCKS, LOCK = "index.json", "building.json", "shared", "blocks", ".lock"
NAMES, BLOCK = "names.txt", "block.json"
ERRORS = "errors"  # loadings and own variance of every model's error
# A block is what is mapped, read ahead and checked at once.
BLOCK_BYTES = 1 << 26
LEAST = {"width": 1, "key_width": 1, "members": 1, "memory": 0, "rank": 0}


@dataclass(frozen=True)
class IndexDescription:
    """What stands in index.json beside the blocks.

    Attributes:
        extractor: name and width.
        width: d.
        key_width: K.
        members: E.
        resolution: of the spider.
        precision: of the spider.
        spread: whether the scaling appends it.
        memory: S, remembered tasks.
        shared: SHA-256 of everything that models share, scaling included;
        source: of the whole spider that it was built from.
        rank: r, factors of the models' errors; None where it knows of none.
        metrics: names of those that a belief reads.
    """

    extractor: Mapping[str, Any]
    width: int
    key_width: int
    members: int
    resolution: float | None
    precision: str
    spread: bool
    memory: int
    shared: str
    source: str
    rank: int | None = None
    metrics: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raise where a number is too small: arrays are measured by these."""
        for name, least in LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")

    @property
    def block_rows(self) -> int:
        """Rows of a full block: a power of two."""
        row = 4 * (self.members * (self.key_width + 2 * self.width + 1) + self.memory)
        return 1 << max(10, (BLOCK_BYTES // row).bit_length() - 1)


@dataclass(frozen=True)
class Block:
    """A block as index.json lists it.

    Attributes:
        name: its number, eight digits.
        rows: of models, also removed ones.
        removed: rows whose models were removed.
        names_bytes: size of names.txt.
        guessed: rows of models that were added without features.
        checksum: of the list of its files and their digests; None in an older index.
    """

    name: str
    rows: int
    names_bytes: int
    removed: tuple[int, ...] = ()
    guessed: tuple[int, ...] = ()
    checksum: str | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch("[0-9]{8}", self.name) or self.rows < 1:
            raise ValueError(f"no block: {self.name!r} of {self.rows} rows")
        for what, which in (("removed", self.removed), ("guessed", self.guessed)):
            if list(which) != sorted(set(which)):
                raise ValueError(f"{what} rows of block {self.name} must rise")
            if which and not 0 <= which[0] <= which[-1] < self.rows:
                raise ValueError(f"{what} rows of block {self.name} must be among its {self.rows}")

    def alive(self) -> Bool[np.ndarray, " rows"]:
        """[rows] False where a row was removed."""
        alive = np.ones(self.rows, bool)
        alive[list(self.removed)] = False
        return alive


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: one writer at a time, released whatever becomes of the process.

    Raises:
        InputError: another process is writing, or a part of the index is a link.
    """
    for part in (INDEX, BUILDING, SHARED, BLOCKS):
        refuse_link(folder / part)
    busy = f"{folder} is being written by another process: wait for it"
    with lock_file(folder / LOCK, busy):
        yield


def block_folder(folder: Path, name: str) -> Path:
    """Where the block of this number lies."""
    return folder / BLOCKS / name


def write_block(
    folder: Path,
    name: str,
    rows: ModelRows,
    names: Sequence[str],
    errors: Float32[np.ndarray, "rows r1"] | None = None,
) -> Block:
    """Write a block with its checksums, all or nothing."""
    for model in names:
        name_to_component(model)  # raises where it could not stand on a line of its own
    with atomic_folder(block_folder(folder, name)) as temporary:
        for array, values in rows._asdict().items():
            if values is not None:
                write_array(temporary, array, _on_disk(values))
        if errors is not None:
            write_array(temporary, ERRORS, errors)
        write_text(temporary / NAMES, "\n".join(names) + "\n")
        write_json(temporary / BLOCK, "index-block", {"files": digests(temporary)})
    return listed_block(folder, name, len(names))


def listed_block(folder: Path, name: str, rows: int) -> Block:
    """A whole block that lies there, as index.json lists it; nobody of it is guessed."""
    part = block_folder(folder, name)
    return Block(name, rows, (part / NAMES).stat().st_size, checksum=_checksum(part))


def _checksum(part: Path) -> str:
    """Binds a block's place in the index to its files."""
    return seal({"files": _files(part)})


def _files(part: Path) -> object:
    return read_json(part / BLOCK, "index-block").get("files")


def _on_disk(values: Any) -> NDArray[Any]:
    """float32 as it is, bfloat16 by its bits: .npy has no name for it."""
    array = np.asarray(values)
    return array.view(np.uint16) if array.dtype == jnp.bfloat16 else array


def open_block(folder: Path, name: str) -> ModelRows:
    """Memmaps of a block's rows; nothing is read yet."""
    arrays: dict[str, Any] = {}
    for array in ModelRows._fields:
        path = block_folder(folder, name) / f"{array}.npy"
        if array in ModelRows._field_defaults and not path.exists():
            continue
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        arrays[array] = mapped.view(jnp.bfloat16) if mapped.dtype == np.uint16 else mapped
    return ModelRows(**arrays)


def read_errors(folder: Path, block: Block) -> Float32[np.ndarray, "rows r1"]:
    """A memmap of the loadings and, last, the own variance of a block's models."""
    path = block_folder(folder, block.name) / f"{ERRORS}.npy"
    return np.load(path, mmap_mode="r", allow_pickle=False)


def read_names(folder: Path, block: Block) -> list[str]:
    """Names of a block's rows, removed ones too.

    Raises:
        InputError: the file is missing, not text, not as written, or has not one name a row.
    """
    path = block_folder(folder, block.name) / NAMES
    try:
        with open_regular(path) as file:
            content = file.read(block.names_bytes + 1)
        names = content.decode().removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}: copy the index again") from None
    files = _files(path.parent)
    wanted = files.get(NAMES) if isinstance(files, dict) else None
    if hashlib.sha256(content).hexdigest() != wanted:
        raise InputError(f"{path} is not as it was written: copy the index again")
    if len(names) != block.rows:
        raise InputError(
            f"{path} must have {block.rows} names, got {len(names)}: copy the index again"
        )
    return names


def check_block(folder: Path, block: Block, about: IndexDescription) -> None:
    """Raise unless all arrays have the size that index.json and the description say.

    Raises:
        InputError: a file is missing, cut or of another shape: it is named.
    """
    names = block_folder(folder, block.name) / NAMES
    if not names.is_file() or names.stat().st_size != block.names_bytes:
        raise InputError(f"{names} is missing or cut: copy the index again")
    if block.checksum not in (None, _checksum(names.parent)):
        raise InputError(f"{names.parent} is another block than was written: copy the index again")
    E, n = about.members, block.rows
    wide = (E, n, about.width)
    shapes = ((E, n, about.key_width), (E, n), wide, wide, (1, n, about.memory))
    expected = dict(zip(ModelRows._fields, shapes, strict=True))
    if not about.memory:
        del expected["memory"]
    if about.rank is not None:
        expected[ERRORS] = (n, about.rank + 1)
    for array, shape in expected.items():
        path = block_folder(folder, block.name) / f"{array}.npy"
        if not path.is_file():
            raise InputError(f"{path} is missing: copy the index again")
        narrow = array == "key" and about.precision == "bfloat16"
        header, dtype = read_header(path), np.dtype(np.uint16 if narrow else np.float32)
        if (header.shape, header.dtype) != (shape, dtype):
            raise InputError(
                f"{path} must be {dtype} {shape}, got {header.dtype} {header.shape}: "
                "copy the index again"
            )


def damage(folder: Path, blocks: Sequence[Block]) -> Iterator[str]:
    """One line for every file of the shared part and of these blocks that is not as written."""
    for part in (folder / SHARED, *(block_folder(folder, block.name) for block in blocks)):
        problem = part_damage(part)
        if problem:
            yield problem


def part_damage(part: Path) -> str | None:
    """What is wrong with the folder of a block or of the shared part; None if nothing is."""
    try:
        return damaged_file(part, read_json(part / BLOCK, "index-block").get("files"))
    except InputError as error:
        return str(error)


def write_shared(folder: Path, arrays: Mapping[str, Shaped[np.ndarray, "..."]]) -> None:
    """Write what all models share, with its checksums."""
    with atomic_folder(folder / SHARED) as temporary:
        for name, array in arrays.items():
            write_array(temporary, name, np.asarray(array))
        write_json(temporary / BLOCK, "index-block", {"files": digests(temporary)})


def read_shared(folder: Path) -> dict[str, Float32[np.ndarray, "..."]]:
    """What `write_shared` wrote, checked: it is small, and everything hangs on it."""
    problem = part_damage(folder / SHARED)
    if problem:
        raise InputError(f"{problem}: copy the index again")
    paths = sorted((folder / SHARED).glob("*.npy"))
    return {path.stem: np.load(path, allow_pickle=False) for path in paths}


def write_index(folder: Path, about: IndexDescription, blocks: Sequence[Block]) -> None:
    """Make these blocks the index: the one moment at which it changes for its readers."""
    content = asdict(about) | {"blocks": [asdict(block) for block in blocks]}
    write_json(folder / INDEX, "index", content | {"checksum": seal(content)})
    (folder / BUILDING).unlink(missing_ok=True)


def read_index(folder: Path) -> tuple[IndexDescription, tuple[Block, ...]]:
    """The description and the blocks, every header and size checked; no row is read.

    Raises:
        InputError: no index, an unfinished one, a newer format, or a file that does not fit.
    """
    if (folder / BUILDING).exists() and not (folder / INDEX).exists():
        raise InputError(f"{folder} is not built to the end: run the same `index build` again")
    content = read_json(folder / INDEX, "index")
    if content.get("checksum", seal(content)) != seal(content):  # older indices have none
        raise InputError(f"{folder / INDEX} is not as it was written: copy the index again")
    try:
        late = {"rank": None, "metrics": ()} | content  # older indices do not have them
        about = IndexDescription(**json_fields(IndexDescription, late))
        check_precision(about.precision)
        width, name = about.extractor["width"], about.extractor["name"]
        blocks = tuple(map(_read_block, content["blocks"]))
        names = [block.name for block in blocks]
        if (type(width), type(name)) != (int, str) or names != sorted(set(names)):
            raise ValueError("extractor or the order of blocks")
    except (AttributeError, InputError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder / INDEX} is not a whole index: {error!r}") from None
    for block in blocks:
        check_block(folder, block, about)
    return about, blocks


def _read_block(entry: Mapping[str, Any]) -> Block:
    guessed = entry.get("guessed", ())  # older indices do not know
    numbers = [entry["rows"], entry["names_bytes"], *entry["removed"], *guessed]
    if not all(type(number) is int for number in numbers):
        raise TypeError(f"block {entry['name']!r} must have whole numbers")
    size = entry["rows"], entry["names_bytes"]
    removed = tuple(entry["removed"])
    return Block(entry["name"], *size, removed, tuple(guessed), entry.get("checksum"))


def clear_strays(folder: Path, blocks: Sequence[Block] | None) -> None:
    """Delete what killed runs left: our temporary files, and blocks that are not among these.

    Args:
        folder: of the index.
        blocks: None keeps every block, while an index is being built.
    """
    listed = None if blocks is None else {block.name for block in blocks}
    parts = (folder / BLOCKS).glob("*")
    strays = [path for path in parts if is_stray_block(path.name, listed)]
    names = (INDEX, BUILDING, SHARED)
    strays += [path for name in names for path in folder.glob(f".{name}.*")]
    for path in strays:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def is_stray_block(name: str, listed: set[str] | None) -> bool:
    """Whether this is a block, whole or in the making, that the index does not list."""
    if name.startswith("."):
        return re.fullmatch(r"\.[0-9]{8}\..*", name) is not None
    is_block = re.fullmatch("[0-9]{8}", name) is not None
    return is_block and listed is not None and name not in listed


def without(blocks: Sequence[Block], places: Mapping[str, Sequence[int]]) -> tuple[Block, ...]:
    """Blocks with further rows removed: block name -> rows."""
    return tuple(
        replace(block, removed=tuple(sorted({*block.removed, *places.get(block.name, ())})))
        for block in blocks
    )
