"""Lives of a program that is killed: processes that report numbers on a pipe, line by line."""

import os
import traceback
from collections.abc import Callable
from pathlib import Path


def spawn(live: Callable[[Path, Path, int], None], folder: Path, out: Path) -> tuple[int, int]:
    """The process of a new life, and the pipe on which it reports."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            live(folder, out, write)
        except BaseException:
            traceback.print_exc()
        os._exit(0 if out.exists() else 1)
    os.close(write)
    return child, read


def reported(pipe: int, most: int | None) -> list[int]:
    """Numbers reported until `most` of them have come; without it, until the life ends."""
    with os.fdopen(pipe) as lines:
        found = []
        for line in lines:
            found.append(int(line))
            if most is not None and len(found) == most:
                break
        return found
