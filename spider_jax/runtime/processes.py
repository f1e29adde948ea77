"""Several processes, on one machine or many: how they find each other, and which tasks each takes.

JAX's own runtime connects them. Its coordinator does not authenticate them, so use it only on a
network that you trust. It listens on the address that is given and on no other.
"""

import re
import socket
import time
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float32, Int

from spider_jax.errors import InputError

PATIENCE = 300.0  # seconds until the processes must have found each other, as in JAX itself


class Place(NamedTuple):
    """The place of a process among those that work together.

    Attributes:
        coordinator: host:port of process 0.
        processes: how many there are.
        process: its own number, from 0.
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
    """The place that was asked for, or the one that SLURM gives.

    Args:
        coordinator: host:port of process 0.
        processes: how many processes there are.
        process: the number of this one, from 0.
        environment: variables, of which SLURM's are read where none of the three is given.

    Returns:
        The place; None for a single process.

    Raises:
        InputError: not all of the three given, or values that cannot be.
    """
    given = coordinator, processes, process
    if given == (None, None, None):
        return _of_slurm(environment)
    if coordinator is None or processes is None or process is None:
        raise InputError("coordinator, processes and process go together: give all three or none")
    port = coordinator.rpartition(":")[2]
    if not re.fullmatch(r".+:\d{1,5}", coordinator) or not 0 < int(port) < 1 << 16:
        raise InputError(f"coordinator must be host:port, port 1..65535, got {coordinator!r}")
    if processes < 1:
        raise InputError(f"processes must be at least 1, got {processes}")
    if not 0 <= process < processes:
        raise InputError(f"process must be in 0..{processes - 1} (processes - 1), got {process}")
    return Place(coordinator, processes, process)


def connect(where: Place) -> None:
    """Wait for the other processes; afterwards `jax.devices()` are those of all.

    Call it before anything else uses JAX.

    Args:
        where: the place of this process.

    Raises:
        InputError: process 0 cannot listen on its address, or another one cannot reach it in five
            minutes. JAX would end the process by a signal in both cases.
    """
    host, _, port = where.coordinator.rpartition(":")
    address = host.strip("[]"), int(port)
    if where.process == 0:
        _listen(*address)
    else:
        _reach(*address)
    jax.distributed.initialize(
        where.coordinator,
        where.processes,
        where.process,
        local_device_ids=where.local,
        coordinator_bind_address=where.coordinator,
    )


def _listen(host: str, port: int) -> None:
    """Raise unless one address of the host is this machine's and its port is free."""
    reason: OSError | None = None
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        ):
            try:
                with socket.socket(family, kind, protocol) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(address)
                    return
            except OSError as error:
                reason = error
    except OSError as error:  # no such host
        reason = error
    except UnicodeError:
        reason = OSError(0, "no name of a host")
    why = reason.strerror if reason else "it has no address"
    raise InputError(f"process 0 cannot listen on coordinator {host}:{port}: {why}")


def _reach(host: str, port: int) -> None:
    """Raise unless a process listens there within PATIENCE seconds."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection((host, port), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() >= until:
                why = error.strerror or "no answer"
                raise InputError(f"coordinator {host}:{port} cannot be reached: {why}") from None
        time.sleep(0.1)


def share(groups: int, size: int = 1) -> Int[np.ndarray, " t"] | None:
    """Which tasks this process takes: every P-th group, for P processes.

    Args:
        groups: how many groups of tasks there are.
        size: tasks of a group, which stay together.

    Returns:
        Positions of its tasks; None for all of them, where there is one process.
    """
    if jax.process_count() == 1:
        return None
    mine = np.arange(jax.process_index(), groups, jax.process_count())
    return (mine[:, None] * size + np.arange(size)).ravel()


def gather(
    rows: Float32[np.ndarray, " T *rest"], groups: int, size: int = 1
) -> Float32[np.ndarray, " T *rest"]:
    """Rows of all tasks, of which each process knows only its `share`.

    Args:
        rows: one for each of T = groups * size tasks; those of other processes are not read.
        groups: as in `share`.
        size: as in `share`.

    Returns:
        The rows of all processes, in every process.
    """
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
    """The first node of the step is the coordinator; its port follows from the job's number."""
    nodes = environment.get("SLURM_STEP_NODELIST", "")
    if not nodes or environment.get("SLURM_NTASKS", "1") == "1":
        return None
    names = ("SLURM_NTASKS", "SLURM_JOB_ID", "SLURM_PROCID", "SLURM_LOCALID")
    processes, job, process, local = (_number(environment, name) for name in names)
    if process >= processes:
        raise InputError(f"SLURM_PROCID must be below SLURM_NTASKS ({processes}), got {process}")
    return Place(f"{first_node(nodes)}:{61440 + job % 4096}", processes, process, local)


def _number(environment: Mapping[str, str], name: str) -> int:
    value = environment.get(name)
    if value is None or not re.fullmatch(r"[0-9]+", value):
        raise InputError(
            f"{name} must be a whole number where SLURM starts several processes, got {value!r}: "
            "start them with srun"
        )
    return int(value)


def first_node(nodes: str) -> str:
    """The first host of a list of nodes.

    Args:
        nodes: the list as SLURM writes it.

    Returns:
        The name of the host.

    >>> first_node("gpu[07-09,12],cpu1"), first_node("alone,other"), first_node("r[1-2]n[3,5]-ib")
    ('gpu07', 'alone', 'r1n3-ib')
    """
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])*", nodes)  # up to a comma outside of brackets
    return re.sub(r"\[([^-,\]]*)[^\]]*\]", r"\1", first[0]) if first else nodes
