"""Orbax as this package uses it: one checkpointer without side threads, its log kept quiet."""

import contextlib
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

import jax

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
    """Silence absl's log below ERROR inside the block.

    Orbax logs every save and restore there at INFO and WARNING, which says nothing to a user.
    """
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
