"""Programs of the tests in processes of their own: at a port that is free, on four devices."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from support.quick_compilation import quick_environment

TIMEOUT = 1800  # seconds that only a process that hangs takes, whatever else runs


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def on_four_devices(program: str, logs: Path, *processes: Sequence[object]) -> None:
    """Run processes with these arguments, which have four devices together; none outlives it."""
    quick = quick_environment()
    devices = f"--xla_force_host_platform_device_count={4 // len(processes)}"
    flags = " ".join(filter(None, [devices, quick.get("XLA_FLAGS")]))
    environment = os.environ | quick | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    paths = [logs / f"{i} of {len(processes)}.log" for i in range(len(processes))]
    running = []
    for log, arguments in zip(paths, processes, strict=True):
        command = [sys.executable, program, *map(str, arguments)]
        with log.open("wb") as file:
            running.append(subprocess.Popen(command, stdout=file, stderr=file, env=environment))
    try:
        codes = [process.wait(TIMEOUT) for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()
    assert codes == [0] * len(running), "\n".join(log.read_text() for log in paths)
