"""How this package writes files: one path component per name, all or nothing, versioned JSON."""

import contextlib
import hashlib
import json
import math
import os
import shutil
import tempfile
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, unquote

from spider_jax.errors import InputError
from spider_jax.storage.opening import open_regular, read_regular, refuse_link

MAX_NAME_BYTES = 200
VERSION = 1
MAX_JSON_BYTES = 1 << 28  # what a spider of a million models takes, twice
MAX_DEPTH = 50


def name_to_component(name: str) -> str:
    """The one path component that stands for `name` on disk.

    quote(name, safe="") with a leading dot written %2E, so that no name is hidden, climbs out of
    its folder or collides with a temporary file.

    Args:
        name: a model or task name: NFC, no control characters, at most 200 bytes when quoted.

    Returns:
        The path component; `component_to_name` is its inverse.

    Raises:
        InputError: the name is empty, not NFC, has a control character or is too long.

    >>> name_to_component("../org/model v1")
    '%2E.%2Forg%2Fmodel%20v1'
    """
    if not name:
        raise InputError("a name must not be empty")
    if name != unicodedata.normalize("NFC", name):
        raise InputError(f"name {name!r} is not in Unicode normal form NFC: write it normalised")
    if any(unicodedata.category(c).startswith("C") for c in name):
        raise InputError(f"name {name!r} has a control or unassigned character: take it out")
    component = quote(name, safe="")
    if component.startswith("."):
        component = "%2E" + component[1:]
    if len(component) > MAX_NAME_BYTES:
        raise InputError(
            f"name {name[:40]!r}... takes {len(component)} bytes when quoted, "
            f"at most {MAX_NAME_BYTES}: shorten it"
        )
    return component


def component_to_name(component: str) -> str:
    """The name that a path component stands for.

    Args:
        component: as `name_to_component` writes it.

    Returns:
        The name.

    Raises:
        InputError: the component is not how `name_to_component` writes any name.

    >>> component_to_name("%2E.%2Forg%2Fmodel%20v1")
    '../org/model v1'
    """
    name = unquote(component)
    if name_to_component(name) != component:
        raise InputError(
            f"{component!r} is not how a name is written on disk: "
            f"rename it to {name_to_component(name)!r}"
        )
    return name


def refuse_case_twin(name: str, existing: Iterable[str]) -> None:
    """Refuse a name that differs from an existing one only in case (some disks cannot hold both).

    Args:
        name: the new name.
        existing: the names that are there.

    Raises:
        InputError: such a twin exists.
    """
    for other in existing:
        if other != name and other.casefold() == name.casefold():
            raise InputError(f"name {name!r} differs from {other!r} only in case: choose another")


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a binary file that appears under `path` only once it is complete and on disk.

    Args:
        path: where the file goes; its folder is made, and a file that exists is replaced.

    Yields:
        A temporary file beside it, open for writing.

    Raises:
        InputError: a folder, a link or a device stands there, or a file where its folder should be.
    """
    refuse_link(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder, a file goes there: choose another name")
    _make_parent(path)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # a full disk names no file
            error.filename = str(path)
        raise


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A new folder that takes the place of `path` only once the block has ended without error.

    Args:
        path: where the folder goes; its parent is made, and a folder that exists is replaced.

    Yields:
        A temporary folder beside it, empty.

    Raises:
        InputError: a file or a link stands there, or a file where its parent should be.
    """
    refuse_link(path)
    if path.is_file():
        raise InputError(f"{path} is a file, a folder goes there: choose another name")
    path = path.absolute()
    _make_parent(path)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name[:40]}."))
    try:
        yield temporary
        temporary.chmod(0o755)
        replaced = temporary.with_name(temporary.name + ".replaced")
        if path.exists():
            os.rename(path, replaced)
        try:
            os.rename(temporary, path)
        except OSError:
            if replaced.exists():
                os.rename(replaced, path)
            raise
        shutil.rmtree(replaced, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _make_parent(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(
            f"{path} cannot be written: {path.parent} is a file or lies below one"
        ) from None


def refuse_foreign_folder(folder: Path, kind: str, is_ours: Callable[[set[str]], bool]) -> None:
    """Refuse a folder that is neither new, empty nor of this kind; call it before long work.

    Args:
        folder: where something will be written.
        kind: what will be written, for the message.
        is_ours: says of the names in the folder whether they are those of the kind.

    Raises:
        InputError: a file stands there, or a folder with something else in it.
    """
    if refuse_link(folder).is_file():
        raise InputError(f"{folder} is a file, the {kind} needs a folder: choose another name")
    names = {path.name for path in folder.iterdir()} if folder.exists() else set()
    if names and not is_ours(names):
        raise InputError(f"{folder} is not empty and no {kind}: choose another folder")


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder.

    Args:
        folder: where to look.

    Returns:
        Digests by the path of the file below the folder.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with open_regular(path) as file:
                found[path.relative_to(folder).as_posix()] = hashlib.file_digest(
                    file, "sha256"
                ).hexdigest()
    return found


def seal(content: Mapping[str, Any]) -> str:
    """A checksum of JSON values by name, without the header of `versioned` and without "checksum".

    Args:
        content: plain JSON values, as written or as read.

    Returns:
        64 hexadecimal digits; the same for the same values in another order of names.

    >>> seal({"a": 1, "b": 2}) == seal({"b": 2, "format": "x", "a": 1, "checksum": "0"})
    True
    """
    header = ("format", "version", "created_with", "checksum")
    plain = {name: value for name, value in content.items() if name not in header}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def damaged_file(folder: Path, wanted: object) -> str | None:
    """The first file below a folder that differs from its digest.

    No path is taken from `wanted`, which comes from a JSON: what is on disk is looked up in it.

    Args:
        folder: where to look.
        wanted: what `digests` gave, as a JSON holds it; anything else counts as damage.

    Returns:
        A line that names the file and says whether it is damaged or missing; None if all are sound.
    """
    if not isinstance(wanted, dict) or not wanted:
        return f"{folder}: its checksums list no files"
    found = digests(folder)
    for name, digest in wanted.items():
        if found.get(name) != digest:
            return f"{folder}: {name!r} is {'damaged' if name in found else 'missing'}"
    return None


def created_with() -> dict[str, str]:
    """The versions of this package and of what its numbers depend on."""
    packages = ("spider_jax", "jax", "jaxlib", "flax", "optax", "numpy", "scipy")
    return {package: metadata.version(package) for package in packages}


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file, all or nothing.

    Args:
        path: the file; one that exists is replaced.
        text: what it holds.
    """
    with atomic_file(path) as file:
        file.write(text.encode())


def versioned(kind: str, content: dict[str, Any]) -> dict[str, Any]:
    """`content` under the header with which every JSON of this package starts.

    Args:
        kind: of the content; the format is "spider_jax/<kind>".
        content: plain JSON values by name.

    Returns:
        Format, version and versions of the packages that wrote it, then the content.
    """
    header = {"format": f"spider_jax/{kind}", "version": VERSION, "created_with": created_with()}
    return header | content


def write_json(path: Path, kind: str, content: dict[str, Any]) -> None:
    """Write `content` as JSON under the header of `versioned`, all or nothing.

    Args:
        path: the file; one that exists is replaced.
        kind: of the content; `read_json` asks for the same one.
        content: plain JSON values by name.

    Raises:
        ValueError: a NaN or an infinity, which JSON does not have.
    """
    text = json.dumps(versioned(kind, content), indent=1, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: Path, kind: str | None, most: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """Read a JSON of this kind; older versions are accepted, newer ones refused.

    Args:
        path: the file.
        kind: what `write_json` was given; None for any.
        most: bytes that it may have.

    Returns:
        The whole object, with its header.

    Raises:
        InputError: the file is missing, too large or no regular one, no JSON object, nested too
            deeply, of another format or of a newer version.
    """
    try:
        content: Any = json.loads(
            read_regular(path, most),
            parse_constant=_no_constant,
            parse_int=_whole,
            parse_float=_finite,
        )
        refuse_depth(content)
    except FileNotFoundError:
        raise InputError(f"{path} is missing: is this a spider_jax {kind or 'result'}?") from None
    except InputError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid JSON: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path} must hold a JSON object, got {type(content).__name__}")
    found = content.get("format")
    if kind is None and isinstance(found, str) and found.startswith("spider_jax/"):
        kind = found.removeprefix("spider_jax/")
    if found != f"spider_jax/{kind}":
        raise InputError(f"{path}: format must be 'spider_jax/{kind or '...'}', got {found!r:.99}")
    version = content.get("version")
    if type(version) is not int:
        raise InputError(f"{path}: version must be an integer, got {version!r}")
    if version > VERSION:
        raise InputError(
            f"{path}: version {version} is newer than the {VERSION} this release reads: "
            "upgrade spider_jax"
        )
    return content


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _whole(digits: str) -> int:
    """A whole number that arrays can hold."""
    number = int(digits) if len(digits) <= 20 else 2**64
    if not -(2**63) <= number < 2**64:
        raise ValueError(f"{digits:.24} is too large for a whole number of 64 bits")
    return number


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError(f"{digits:.24} is too large for a number of 64 bits")
    return number


def refuse_depth(content: object, most: int = MAX_DEPTH) -> None:
    """Refuse content that is nested so deeply that whoever walks it would run out of stack.

    Args:
        content: of a JSON or TOML file.
        most: lists and objects within one another.

    Raises:
        ValueError: it is deeper.
    """
    level, depth = [content] if isinstance(content, dict | list) else [], 0
    while level := [
        inner
        for outer in level
        for inner in (outer.values() if isinstance(outer, dict) else outer)
        if isinstance(inner, dict | list)
    ]:
        depth += 1
        if depth > most:
            raise ValueError(f"it is nested more than {most} deep")


def checked_names(models: Sequence[str]) -> Sequence[str]:
    """Model names as they are.

    Args:
        models: names.

    Returns:
        The same names.

    Raises:
        InputError: one string, which would be taken for a list of letters.
    """
    if isinstance(models, str):
        raise InputError(f"models must be a list of names, got the string {models!r}")
    return models
