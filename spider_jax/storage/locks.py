"""One process at a time changes a folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spider_jax.errors import InputError
from spider_jax.storage.opening import refuse_link


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Hold a folder while it is read and written. On Windows there is no such lock.

    The folder may be replaced by another while this waits: then the new one is waited for.

    Args:
        folder: made where it does not exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    while True:
        lock = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if _is_the_same(lock, folder):
                yield
                return
        finally:
            os.close(lock)


def _is_the_same(descriptor: int, folder: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(folder))
    except FileNotFoundError:  # it was removed: what is made anew is locked
        folder.mkdir(parents=True, exist_ok=True)
        return False


@contextmanager
def lock_file(path: Path, busy: str) -> Iterator[None]:
    """Hold a lock file, or refuse: one writer at a time, released whatever becomes of the process.

    Args:
        path: of the file, empty; made where it does not exist, for this user alone.
        busy: what to say where another process holds it.

    Raises:
        InputError: another process holds it, or no file stands there but a link or a FIFO.
    """
    import fcntl

    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    refuse_link(path)
    lock = os.open(path, flags, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(busy) from None
        yield
    finally:
        os.close(lock)
