"""Several processes, on one machine or many: how they find each other, and share out tasks.

JAX's own runtime connects them. Its coordinator asks nobody who they are: use it on a network that
you trust; it listens on the address that is given and on no other.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from spider_jax.errors import InputError


class Place(NamedTuple):
    """Where a process stands: host:port of process 0, the number of processes, its own number.

    local: its number on its machine, whose GPU it then uses; None for all devices.
    """

    coordinator: str
    processes: int
    process: int
    local: int | None = None


def place(
    coordinator: str | None,
    processes: int | None,
    process: int | None,
    environment: Mapping[str, str],
) -> Place | None:
    """What was asked for, or what SLURM says; None for a single process.

    Raises:
        InputError: not all of the three given, or values that cannot be.
    """
    given = coordinator, processes, process
    if given == (None, None, None):
        return _of_slurm(environment)
    if coordinator is None or processes is None or process is None:
        raise InputError("coordinator, processes and process go together: give all three or none")
    if not re.fullmatch(r".+:\d+", coordinator):
        raise InputError(f"coordinator must be host:port, got {coordinator!r}")
    if not 0 <= process < processes:
        raise InputError(f"process must be in 0..{processes - 1} (processes - 1), got {process}")
    return Place(coordinator, processes, process)


def connect(where: Place) -> None:
    """Wait for the other processes; afterwards `jax.devices()` are those of all."""
    jax.distributed.initialize(
        where.coordinator,
        where.processes,
        where.process,
        local_device_ids=where.local,
        coordinator_bind_address=where.coordinator,
    )


def share(groups: int, size: int = 1) -> NDArray[np.int64] | None:
    """Positions of the tasks of this process, whole groups of `size`; None for all of them."""
    if jax.process_count() == 1:
        return None
    mine = np.arange(jax.process_index(), groups, jax.process_count())
    return (mine[:, None] * size + np.arange(size)).ravel()


def gather(rows: NDArray[np.float32], groups: int, size: int = 1) -> NDArray[np.float32]:
    """`rows` [T, ...], of which each process knows its `share`, whole in every process."""
    from jax.experimental.multihost_utils import process_allgather

    count = jax.process_count()
    if count == 1:
        return rows
    places = -(-groups // count)
    padded = np.zeros((places * count * size, *rows.shape[1:]), rows.dtype)
    padded[: len(rows)] = rows
    grid = padded.reshape(places, count, size, *rows.shape[1:])
    everyone = np.asarray(process_allgather(np.ascontiguousarray(grid[:, jax.process_index()])))
    whole = np.moveaxis(everyone, 0, 1).reshape(padded.shape)
    return whole[: len(rows)]


def _of_slurm(environment: Mapping[str, str]) -> Place | None:
    """The first node of the step is the coordinator, at a port that hangs on the job."""
    processes = int(environment.get("SLURM_NTASKS", "1"))
    nodes = environment.get("SLURM_STEP_NODELIST")
    if processes == 1 or nodes is None:
        return None
    port = 61440 + int(environment["SLURM_JOB_ID"]) % 4096
    process, local = int(environment["SLURM_PROCID"]), int(environment["SLURM_LOCALID"])
    return Place(f"{first_node(nodes)}:{port}", processes, process, local)


def first_node(nodes: str) -> str:
    """The first host of a node list as SLURM writes it.

    >>> first_node("gpu[07-09,12],cpu1"), first_node("alone,other")
    ('gpu07', 'alone')
    """
    name, bracket, inside = re.match(r"([^,\[]+)(\[?)([^\]]*)", nodes).groups()  # type: ignore[union-attr]
    return name + re.split(r"[-,]", inside)[0] if bracket else name
