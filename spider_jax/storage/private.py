"""Folders of this user alone: caches and runs, whose content is trusted when it is read again."""

import os
import stat
from pathlib import Path

from spider_jax.errors import InputError


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for this user alone (0700).

    Args:
        folder: one that exists is left as it is.

    Raises:
        InputError: the folder is a link, is another user's, or others may write to it.
        OSError: it cannot be made.
    """
    if not os.path.lexists(folder):
        make_private_parents(folder)
        folder.mkdir(mode=0o700, exist_ok=True)
    refuse_foreign_writers(folder)


def make_private_parents(folder: Path) -> None:
    """Make the folders above one that are missing, each 0700: `mkdir` gives only the last its mode.

    Args:
        folder: whose parents are made.
    """
    for above in reversed(folder.parents):
        if not above.exists():
            above.mkdir(mode=0o700, exist_ok=True)


def is_private(folder: Path) -> bool:
    """Whether nobody but this user can enter a folder; what is below it needs no further look.

    Args:
        folder: one that exists.
    """
    return not folder.stat().st_mode & (stat.S_IXGRP | stat.S_IXOTH)


def refuse_foreign_writers(folder: Path) -> None:
    """Refuse a folder whose content another user may have written.

    Args:
        folder: one that is not there is nobody's.

    Raises:
        InputError: it is a link, is another user's, or others may write to it.
    """
    try:
        found = os.lstat(folder)
    except FileNotFoundError:
        return
    if stat.S_ISLNK(found.st_mode):
        raise InputError(f"{folder} is a symbolic link, it is not trusted: remove it")
    if not hasattr(os, "getuid"):  # on Windows
        return
    if found.st_uid != os.getuid():
        raise InputError(f"{folder} belongs to another user, it is not trusted: choose another")
    if stat.S_ISDIR(found.st_mode) and found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise InputError(
            f"{folder} is writable by others, it is not trusted: chmod go-w it, or remove it"
        )
