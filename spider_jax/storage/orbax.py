"""Orbax as this package uses it: one checkpointer without side threads, its log kept quiet."""

import contextlib
import gc
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import jax

from spider_jax.errors import InputError, one_line

if TYPE_CHECKING:
    import orbax.checkpoint as ocp


def checkpointer() -> "ocp.Checkpointer":
    """A checkpointer of this process alone; orbax's default waits until all processes write."""
    import orbax.checkpoint as ocp

    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"process{me}"
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence absl's log inside the block.

    Orbax logs every save and restore there, which says nothing to a user, and from its threads what
    it raises anyway.
    """
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)


def silence_threads() -> Callable[[], None]:
    """Silence what orbax's threads say at any time: of a write that failed, which is raised too.

    Returns:
        What puts everything back.
    """
    logger, hook, ignored = logging.getLogger("absl"), sys.excepthook, sys.unraisablehook
    level = logger.level

    def shown(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if "Event loop is closed" not in str(error):  # printed by the writer of every array
            hook(kind, error, trace)

    logger.setLevel(logging.CRITICAL)
    sys.excepthook, sys.unraisablehook = shown, lambda _: None

    def put_back() -> None:
        sys.excepthook, sys.unraisablehook = hook, ignored
        logger.setLevel(level)

    return put_back


@contextlib.contextmanager
def written(folder: Path) -> Iterator[None]:
    """Say in one line that orbax cannot write: it has no one error for a full disk.

    Args:
        folder: where it writes.

    Raises:
        InputError: the block failed.
    """
    put_back = silence_threads()
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = one_line(error.with_traceback(None))
        gc.collect()  # what was begun complains when it is dropped
    else:
        return
    finally:
        put_back()
    raise InputError(f"{folder} cannot be written, is the disk full? {reason}")
