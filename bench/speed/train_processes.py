"""What train.py measures in processes of its own: memory, virtual devices, two processes.

    python bench/speed/train_processes.py PART [ARGUMENT ...]

is how train.py starts one: the last line that it prints is its answer, as JSON.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from bench.speed.train_forms import (
    OURS,
    Call,
    Ours,
    Size,
    interleaved,
    ours_of,
    peer,
    random_tasks,
    start,
)

DEVICES = Size(16, 42, 256, 32)
FORMS = [(parallel, n) for n in (1, 2, 4) for parallel in ("mesh", "pmap")]


def memory(form: str, M: str) -> dict[str, float]:
    """Peak memory of three steps at a size of the growth; before: interpreter, jax, torch.

    Args:
        form: OURS or one of the torch forms.
        M: models.
    """
    import torch

    jax.numpy.zeros(1).block_until_ready()
    torch.zeros(1)
    before = resident_mb("VmHWM")
    size = Size(4, int(M), 256, 1)
    state, given = start(size), random_tasks(size, size.steps)
    if form == OURS:
        call: Call = Ours(ours_of(state), given, size.B)
    else:
        call = peer(form, state, given, size, 1)
    for _ in range(3):
        call()
    return {"peak, MB": resident_mb("VmHWM"), "before, MB": before}


def devices() -> dict[str, Any]:
    """The training over virtual devices, interleaved."""
    given, weights = random_tasks(DEVICES, DEVICES.steps), ours_of(start(DEVICES))
    calls: dict[str, tuple[Call, int, int]] = {}
    for parallel, n in FORMS:
        training = Ours(weights, given, DEVICES.B, jax.devices()[:n], parallel=parallel)
        calls[f"{parallel}, {n} of 1 process"] = training, DEVICES.steps, 5
    return {name: each._asdict() for name, each in interleaved(calls).items()}


def process(port: str, index: str) -> dict[str, Any]:
    """The training as one of two processes.

    Args:
        port: of the first process.
        index: of this process.
    """
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, int(index))
    training = Ours(ours_of(start(DEVICES)), random_tasks(DEVICES, DEVICES.steps), DEVICES.B)
    found = interleaved(
        {f"mesh, {len(jax.devices())} of 2 processes": (training, DEVICES.steps, 5)}
    )
    return {name: each._asdict() for name, each in found.items()}


PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "memory": memory,
    "devices": devices,
    "process": process,
}


def resident_mb(line: str) -> float:
    """A line of this process's status in /proc, in MB.

    Args:
        line: its name: VmHWM is the peak of resident memory.
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(each.split()[1]) / 1024 for each in lines if each.startswith(line))


def begin(part: Sequence[str], count: int = 1) -> "subprocess.Popen[str]":
    """A part in a process of its own.

    Args:
        part: its name and arguments.
        count: of virtual devices.
    """
    flags = f"--xla_force_host_platform_device_count={count}"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, __file__, *part]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def answer(started: "subprocess.Popen[str]") -> dict[str, Any]:
    """What a part found.

    Args:
        started: by `begin`.

    Raises:
        SystemExit: it failed.
    """
    out, _ = started.communicate(timeout=600)
    if started.returncode:
        raise SystemExit(f"{started.args!r} failed")
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


def two_processes(count: int) -> dict[str, Any]:
    """The training in two processes; what the first found.

    Args:
        count: of virtual devices of each.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    started = [begin(("process", port, str(i)), count) for i in range(2)]
    first, _ = [answer(each) for each in started]
    return first


if __name__ == "__main__":
    print(json.dumps(PARTS[sys.argv[1]](*sys.argv[2:])))
