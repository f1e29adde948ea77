"""Orbax as we use it: one checkpointer without side threads, and its log kept quiet."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import jax


def checkpointer() -> Any:
    """Of this process alone: orbax would wait until all processes write."""
    import orbax.checkpoint as ocp

    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"process{me}"
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Orbax logs every save and restore through absl at INFO and WARNING: not our user's news."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
