"""The index on four devices, of one process and of two: one answer, whoever reads what."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import index_devices
import jax
import numpy as np
import pytest
from index_devices import CASES, TASKS, best
from jax.sharding import Mesh
from toy_index import toy_spider

from spider_jax import index_files
from spider_jax.index import ZooIndex

Refused = Callable[..., AbstractContextManager[None]]
Found = dict[str, dict[str, Any]]
MODELS, TIMEOUT = 5500, 120  # a process that waits for ever is killed after so many seconds


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> ZooIndex:
    """Six blocks in which tokens repeat and rows were removed, a whole block of them too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_files, "BLOCK_BYTES", 1)
        spider = toy_spider(MODELS, distinct=500)
        whole = ZooIndex.build(spider, tmp_path_factory.mktemp("devices") / "index")
    return whole.remove([f"m{i}" for i in {*range(0, MODELS, 9), *range(1024, 2048)}])


def run(folder: Path, *others: list[str]) -> list[Found]:
    """Run processes with these arguments on four devices together; what each has found."""
    flags = f"--xla_force_host_platform_device_count={4 // len(others)}"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    outs = [folder.with_name(f"{i} of {len(others)}.json") for i in range(len(others))]
    logs = [out.with_suffix(".log") for out in outs]
    running = []
    for out, log, more in zip(outs, logs, others, strict=True):
        command = [sys.executable, index_devices.__file__, str(folder), str(out), *more]
        with log.open("wb") as file:
            running.append(subprocess.Popen(command, stdout=file, stderr=file, env=environment))
    try:
        codes = [process.wait(TIMEOUT) for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()
    assert codes == [0] * len(others), "\n".join(log.read_text() for log in logs)
    return [json.loads(out.read_text()) for out in outs]


def assert_same(found: Found, index: ZooIndex, case: str) -> None:
    expected = best(index, case)
    assert "error" not in found[case], found[case]
    assert len(found[case]["best"]) == len(expected)
    for (names, scores), (wanted, values) in zip(found[case]["best"], expected, strict=True):
        assert len(names) == min(CASES[case][-1], len(index))
        assert names == wanted  # so equal scores keep model order
        np.testing.assert_allclose(scores, values, rtol=0, atol=1e-6)


def rows(found: Found, case: str) -> list[int]:
    return [row for first, last in found[case]["read"] for row in range(first, last + 1)]


def test_four_devices_find_what_one_does(index: ZooIndex) -> None:
    (found,) = run(index.folder, [])
    for case in CASES:
        assert_same(found, index, case)
        assert sorted(rows(found, case)) == list(range(MODELS))  # each row once


def test_two_processes_share_the_rows_and_find_what_one_does(index: ZooIndex) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    both = run(index.folder, [port, "0"], [port, "1"])
    for case in CASES:
        for found in both:
            assert_same(found, index, case)
        first, second = (set(rows(found, case)) for found in both)
        assert first | second == set(range(MODELS))
        if case != "grid":  # in which each process has all that is along "model"
            assert first.isdisjoint(second)
            assert min(len(first), len(second)) > MODELS // 4


def test_a_mesh_without_models(index: ZooIndex, refused: Refused) -> None:
    with refused("mesh", '"model"', "('data',)"):
        index.top_k(TASKS[0], 1, mesh=Mesh(np.array(jax.devices()[:1]), ("data",)))
