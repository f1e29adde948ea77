"""Which files a records folder has, and how they are replaced: all or none."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, NamedTuple

from spider_jax.errors import InputError
from spider_jax.storage.files import atomic_file, atomic_folder
from spider_jax.storage.locks import locked_folder
from spider_jax.storage.text_files import refuse_link_out

VALUES = ("values.csv", "values.csv.gz", "values.parquet")
MODELS = ("models.csv", "models.csv.gz")
TASKS = ("tasks.csv", "tasks.csv.gz")
FILES = (*VALUES, *MODELS, *TASKS)
ACCURACIES = "accuracies.csv"
# New files lie here, whole, until each has taken its place; a reader takes them from here.
PENDING = ".changes"


class Source(NamedTuple):
    """One set of files to read.

    Attributes:
        folder: where they lie.
        values: the file with the results.
        models: the file with facts of models, None where there is none.
        tasks: the file with facts of tasks, None where there is none.
        is_zoo: whether `values` is the accuracies.csv of a zoo.
    """

    folder: Path
    values: Path
    models: Path | None = None
    tasks: Path | None = None
    is_zoo: bool = False


def sources(path: Path) -> list[Source]:
    """What there is to read at a path, what wins first.

    Args:
        path: a records folder, a zoo with records/ or accuracies.csv, or a file with results.

    Returns:
        At least one source.

    Raises:
        InputError: there is nothing to read, or twice the same.
    """
    if path.is_file():
        if not path.name.endswith((".csv", ".csv.gz", ".parquet")):
            raise InputError(f"{path} must be a folder, or a .csv, .csv.gz or .parquet file")
        return [Source(path.parent, path)]
    if not path.exists():
        raise InputError(f"{path} is missing: name a folder with values.csv")
    found = [s for s in (_records(path), _records(path / "records"), _zoo(path)) if s is not None]
    if not found:
        raise InputError(
            f"{path} holds no records: it needs values.csv, values.csv.gz or values.parquet with "
            "columns model,task,value, or a zoo's accuracies.csv"
        )
    return found


def records_folder(path: Path) -> Path:
    """Where records are written: the folder itself, or records/ inside a zoo.

    Args:
        path: a records folder, a zoo, or a folder that is new.
    """
    is_zoo = (path / "labels").is_dir() or (path / ACCURACIES).exists()
    return path / "records" if is_zoo and one_of(path, VALUES) is None else path


def one_of(folder: Path, names: tuple[str, ...]) -> Path | None:
    """The one file of these names.

    Args:
        folder: where to look.
        names: of which one may be there.

    Returns:
        Its path, None where there is none.

    Raises:
        InputError: two of them are there, or a link leads out of the folder.
    """
    found = [place for name in names if os.path.lexists(place := _place(folder, name))]
    if len(found) > 1:
        both = " and ".join(path.name for path in found)
        raise InputError(f"{folder} has {both}: leave one of them")
    for path in found:
        refuse_link_out(folder, path)
    return found[0] if found else None


def _place(folder: Path, name: str) -> Path:
    """Where a file lies: among the pending ones where a writer was killed between its steps."""
    pending = folder / PENDING
    waits = not pending.is_symlink() and (pending / name).is_file()
    return pending / name if waits else folder / name


def _records(folder: Path) -> Source | None:
    values = one_of(folder, VALUES)
    if values is None:
        return None
    return Source(folder, values, one_of(folder, MODELS), one_of(folder, TASKS))


def _zoo(folder: Path) -> Source | None:
    values = one_of(folder, (ACCURACIES,))
    return None if values is None else Source(folder, values, is_zoo=True)


# ---- writing ---------------------------------------------------------------------------------


@contextlib.contextmanager
def changing(folder: Path) -> Iterator[None]:
    """Hold a records folder while it is read and written: one writer at a time.

    Args:
        folder: made where it does not exist.

    Raises:
        InputError: a file stands there, or something else lies in it.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file, records need a folder: choose another name")
    shown = any(not p.name.startswith(".") for p in folder.iterdir()) if folder.is_dir() else False
    if shown and one_of(folder, VALUES) is None:
        raise InputError(f"{folder} is not empty and holds no records: choose another folder")
    with locked_folder(folder):
        yield


def replace_files(folder: Path, files: Mapping[str, Callable[[IO[bytes]], None]]) -> None:
    """Write files of a records folder; whoever reads finds all old ones or all new ones.

    They are written to a hidden folder, which one rename makes valid; then each takes its place. A
    process that is killed after the rename leaves files there, and readers look there first.

    Args:
        folder: as `changing` holds it.
        files: by name, what writes each.

    Raises:
        InputError: a folder stands where a file goes.
    """
    for name in files:
        if (folder / name).is_dir():
            raise InputError(f"{folder / name} is a folder, a file goes there: move it away")
    _settle(folder)
    with atomic_folder(folder / PENDING) as new:
        for name, write in files.items():
            with atomic_file(new / name) as file:
                write(file)
    _settle(folder)


def _settle(folder: Path) -> None:
    """Move pending files to their places."""
    pending = folder / PENDING
    if pending.is_symlink():
        raise InputError(f"{pending} is a link, which is not followed: remove it")
    if not pending.is_dir():
        return
    for path in sorted(pending.iterdir()):
        if path.name in FILES:
            os.replace(path, folder / path.name)
    shutil.rmtree(pending)
