"""What is opened: regular files for reading, and nothing for writing through a symbolic link."""

import contextlib
import io
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from spider_jax.errors import InputError

KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
}


@contextlib.contextmanager
def open_regular(path: Path) -> Iterator[io.BufferedReader]:
    """Open a file for reading, if it is a regular one: a FIFO is not waited for.

    Args:
        path: of the file.

    Yields:
        The file.

    Raises:
        InputError: a FIFO, a socket or a device.
        OSError: no such file, a folder, or one that cannot be opened.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    with os.fdopen(_regular(descriptor, path), "rb") as file:
        yield file


@contextlib.contextmanager
def open_regular_text(path: Path, newline: str | None = None) -> Iterator[IO[str]]:
    """Open a UTF-8 text file as `open_regular` does; a byte-order mark is left out.

    Args:
        path: of the file.
        newline: as for `open`.

    Yields:
        The file.

    Raises:
        InputError: a FIFO, a socket or a device.
        OSError: no such file, a folder, or one that cannot be opened.
    """
    with open_regular(path) as file, io.TextIOWrapper(file, "utf-8-sig", newline=newline) as text:
        yield text


def read_regular(path: Path, most: int) -> str:
    """The text of a regular UTF-8 file of at most so many bytes.

    Args:
        path: of the file.
        most: bytes.

    Returns:
        The text.

    Raises:
        InputError: no regular file, or a larger one.
        OSError: no such file, or one that cannot be opened.
        UnicodeDecodeError: a file that is not UTF-8.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise InputError(
                f"{path} takes {size / 1e6:.0f} MB, at most {most / 1e6:.0f} MB are read: is it "
                "the right file?"
            )
        return file.read(size).decode("utf-8")  # room for `most` would be taken at once


def _regular(descriptor: int, path: Path) -> int:
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):  # as reading it would say
        raise IsADirectoryError(21, "Is a directory", str(path))
    kind = KINDS.get(stat.S_IFMT(mode), "no regular file")
    raise InputError(f"{path} is {kind}: a regular file is needed")


def refuse_link(path: Path) -> Path:
    """Refuse to write where a symbolic link, a FIFO, a socket or a device stands.

    Args:
        path: what will be written.

    Returns:
        `path`.

    Raises:
        InputError: one of these.
    """
    try:
        mode = os.lstat(path).st_mode
    except OSError:  # nothing there; what else is wrong, writing finds
        return path
    if stat.S_ISLNK(mode):
        raise InputError(f"{path} is a symbolic link, nothing is written through one: remove it")
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise InputError(f"{path} is {KINDS.get(stat.S_IFMT(mode))}, it is never written to")
    return path


def refuse_links(root: Path, path: Path) -> Path:
    """Refuse to write below a root through a symbolic link; where the root itself is, is its own.

    Args:
        root: a folder that a user named.
        path: below it.

    Returns:
        `path`.

    Raises:
        InputError: a component below the root is a link.
    """
    at = root
    for part in path.relative_to(root).parts:
        at = refuse_link(at / part)
    return path
