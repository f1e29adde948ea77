"""Several processes: who is who, where the coordinator listens, and how tasks are shared out."""

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import jax
import numpy as np
import pytest
from numpy.typing import NDArray

from spider_jax.runtime import processes as distributed
from spider_jax.runtime.processes import Place, connect, first_node, gather, place, share
from support.processes import free_port

pytestmark = pytest.mark.slow

Refused = Callable[..., AbstractContextManager[None]]
SLURM = {
    "SLURM_NTASKS": "4",
    "SLURM_STEP_NODELIST": "gpu[07-09,12],cpu1",
    "SLURM_JOB_ID": "8195",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
}
LISTENING = "0A"  # state of a socket in /proc/net/tcp


# ---- who is who ------------------------------------------------------------------------------


def test_nobody_asked_for_several_processes() -> None:
    assert place(None, None, None, {}) is None
    assert place(None, None, None, {"SLURM_NTASKS": "4"}) is None  # sbatch without srun
    assert place(None, None, None, SLURM | {"SLURM_NTASKS": "1"}) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "gpu07", "[::1]"])
def test_a_place_that_is_given(host: str) -> None:
    assert place(f"{host}:1234", 2, 1, {}) == Place(f"{host}:1234", 2, 1, None)
    assert place(f"{host}:1234", 2, 1, SLURM) == Place(f"{host}:1234", 2, 1, None)


def test_the_place_of_slurm() -> None:
    assert place(None, None, None, SLURM) == Place("gpu07:61443", 4, 3, 1)  # 8195 = 2 * 4096 + 3


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("alone", "alone"),
        ("alone,other", "alone"),
        ("gpu[7-9]", "gpu7"),
        ("gpu[07-09,12],cpu1", "gpu07"),
        ("gpu[3,7-9]", "gpu3"),
        ("node-a-[001-128].local,login", "node-a-001.local"),
        ("rack[1-2]node[3,5]", "rack1node3"),
        ("gpu[11]", "gpu11"),
    ],
)
def test_first_node_of_a_list(nodes: str, first: str) -> None:
    assert first_node(nodes) == first


@pytest.mark.parametrize(
    ("given", "mentions"),
    [
        (("h:1", None, None), ("coordinator, processes and process", "all three or none")),
        ((None, 2, None), ("all three or none",)),
        ((None, None, 0), ("all three or none",)),
        (("h:1", 2, None), ("all three or none",)),
        (("host", 2, 0), ("coordinator must be host:port", "'host'")),
        ((":1234", 2, 0), ("host:port", "':1234'")),
        (("h:", 2, 0), ("host:port", "'h:'")),
        (("h:http", 2, 0), ("host:port", "'h:http'")),
        (("h:0", 2, 0), ("port 1..65535", "'h:0'")),
        (("h:65536", 2, 0), ("port 1..65535", "'h:65536'")),
        (("h:1", 0, 0), ("processes must be at least 1", "0")),
        (("h:1", 2, 2), ("process must be in 0..1", "2")),
        (("h:1", 2, -1), ("process must be in 0..1", "-1")),
    ],
)
def test_a_wrong_place_is_refused(
    refused: Refused, given: tuple[str | None, int | None, int | None], mentions: tuple[str, ...]
) -> None:
    with refused(*mentions):
        place(*given, {})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SLURM_JOB_ID", None),
        ("SLURM_PROCID", None),
        ("SLURM_LOCALID", "first"),
        ("SLURM_NTASKS", "many"),
        ("SLURM_PROCID", "-1"),
        ("SLURM_PROCID", "4"),
    ],
)
def test_wrong_words_of_slurm_are_refused(refused: Refused, name: str, value: str | None) -> None:
    said = {key: word for key, word in SLURM.items() if key != name}
    with refused(name, value):
        place(None, None, None, said if value is None else said | {name: value})


# ---- connecting ------------------------------------------------------------------------------


def test_an_address_that_is_not_ours_is_refused(refused: Refused) -> None:
    with refused("cannot listen on coordinator 192.0.2.1:4567"):  # an address for documentation
        connect(Place("192.0.2.1:4567", 2, 0))
    with refused("cannot listen on coordinator a..b:4567"):
        connect(Place("a..b:4567", 2, 0))


def test_a_port_in_use_is_refused(refused: Refused) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with refused(f"cannot listen on coordinator 127.0.0.1:{port}", "in use"):
            connect(Place(f"127.0.0.1:{port}", 2, 0))


def test_nobody_to_connect_to_is_refused(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "PATIENCE", 0.2)
    port = free_port()
    with refused(f"coordinator 127.0.0.1:{port} cannot be reached", "refused"):
        connect(Place(f"127.0.0.1:{port}", 2, 1))


@contextmanager
def waiting(port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Process 0 of two, which waits for the other one."""
    line = f"from spider_jax.runtime.processes import *; connect(Place('127.0.0.1:{port}', 2, 0))"
    process = subprocess.Popen([sys.executable, "-c", line])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def listening(port: int) -> list[str]:
    """Addresses, in hexadecimal, on which someone listens at a port."""
    lines = [
        line.split()
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        if Path(table).exists()
        for line in Path(table).read_text().splitlines()[1:]
    ]
    addresses = [cell[1].split(":") for cell in lines if cell[3] == LISTENING]
    return [address for address, at in addresses if int(at, 16) == port]


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="/proc/net/tcp: Linux only")
def test_the_coordinator_listens_on_its_address_only() -> None:
    port, until = free_port(), time.monotonic() + 1800
    with waiting(port) as process:
        while not listening(port) and process.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
        (address,) = listening(port)
        assert address[-8:] == "0100007F"  # 127.0.0.1, and neither 0.0.0.0 nor [::]


# ---- shares ----------------------------------------------------------------------------------


def test_one_process_has_everything() -> None:
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    assert share(3) is None
    assert gather(rows, 3) is rows


@pytest.mark.parametrize(("groups", "size", "count"), [(7, 1, 3), (5, 2, 3), (4, 3, 2), (1, 2, 3)])
def test_what_is_shared_out_comes_together_again(
    monkeypatch: pytest.MonkeyPatch, groups: int, size: int, count: int
) -> None:
    whole = np.arange(1, groups * size * 2 + 1, dtype=np.float32).reshape(-1, 2)
    monkeypatch.setattr(jax, "process_count", lambda: count)
    shares, parts = [], []
    for process in range(count):
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)
        mine = share(groups, size)
        assert mine is not None
        shares.append(mine)
        known = np.zeros_like(whole)
        known[mine] = whole[mine]
        parts.append(sent(monkeypatch, known, groups, size))
    assert sorted(np.concatenate(shares)) == list(range(len(whole)))
    assert all(set(np.bincount(mine // size, minlength=groups)) <= {0, size} for mine in shares)
    monkeypatch.setattr(
        "jax.experimental.multihost_utils.process_allgather", lambda part: np.stack(parts)
    )
    np.testing.assert_array_equal(gather(np.zeros_like(whole), groups, size), whole)


def sent(
    monkeypatch: pytest.MonkeyPatch, known: NDArray[np.float32], groups: int, size: int
) -> NDArray[np.float32]:
    """What a process tells the others."""
    said: list[NDArray[np.float32]] = []

    def tell(part: NDArray[np.float32]) -> NDArray[np.float32]:
        said.append(part)
        return np.stack([part] * jax.process_count())

    monkeypatch.setattr("jax.experimental.multihost_utils.process_allgather", tell)
    gather(known, groups, size)
    return said[0]
