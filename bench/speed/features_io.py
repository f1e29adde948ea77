"""Exported features to the device: what share of the page cache's read rate the stream reaches.

    python bench/bench_features_io.py --out bench/results/features_io

A file of --gigabytes float32 features of width 2,048 is written and read once, so that it lies in
the page cache. Medians and ranges of --runs in turns, in GB/s:

- page cache: readinto of 16 MB blocks into one buffer, by one thread;
- stream: device_blocks, every block on the device, nothing computed; on a CPU these are the file's
  own pages, touched once each, so this says little;
- stream + sums: the same, with the sum of every column: every number is used;
- one after the other: each block copied to the device, then summed, nothing in the background;
- sums alone: of one block that stays on the device.

The goal is a stream + sums of at least 0.8 of the page cache.
"""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from numpy.typing import NDArray

from spider_jax.report.tables import to_markdown
from spider_jax.runtime.streaming import BLOCK_BYTES, aligned_rows, device_blocks
from spider_jax.storage.files import write_json, write_text

WIDTH = 2048
GOAL = 0.8


@dataclass(frozen=True)
class Run:
    """out: path without suffix; none prints only. gigabytes: of the file. runs: of each."""

    out: Path | None = None
    gigabytes: float = 1.0
    runs: int = 7


@jax.jit
def add_sums(total: jax.Array, block: jax.Array) -> jax.Array:
    """Sums of columns so far, and those of a block."""
    return total + block.sum(0)


def make_file(path: Path, gigabytes: float) -> NDArray[Any]:
    """Random features as a memmap, all of it in the page cache."""
    rows = int(gigabytes * 1e9 / (4 * WIDTH))
    block = np.random.default_rng(0).normal(size=(4096, WIDTH)).astype(np.float32)
    made = np.lib.format.open_memmap(path, "w+", np.float32, (rows, WIDTH))
    for start in range(0, rows, 4096):
        made[start : start + 4096] = block[: rows - start]
    made.flush()
    return np.load(path, mmap_mode="r", allow_pickle=False)


def page_cache(path: Path) -> None:
    """Read the file into one buffer."""
    buffer = memoryview(bytearray(BLOCK_BYTES))
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def stream(matrix: NDArray[Any]) -> None:
    """Every block on the device."""
    for _, block in device_blocks(matrix):
        block.block_until_ready()


def stream_with_sums(matrix: NDArray[Any]) -> jax.Array:
    """Sums of columns, the next block read meanwhile."""
    total = jnp.zeros(WIDTH)
    for _, block in device_blocks(matrix):
        total = add_sums(total, block)
    return jax.block_until_ready(total)


def one_after_the_other(matrix: NDArray[Any]) -> jax.Array:
    """Sums of columns, every block copied first."""
    total, step = jnp.zeros(WIDTH), aligned_rows(matrix)
    for start in range(0, len(matrix), step):
        block = jax.device_put(np.array(matrix[start : start + step]))
        total = jax.block_until_ready(add_sums(total, block))
    return total


def sums_alone(matrix: NDArray[Any]) -> None:
    """As many sums of one block on the device."""
    step = aligned_rows(matrix)
    block, total = jax.device_put(np.array(matrix[:step])), jnp.zeros(WIDTH)
    for _ in range(0, len(matrix), step):
        total = add_sums(total, block)
    jax.block_until_ready(total)


def rates(path: Path, matrix: NDArray[Any], runs: int) -> dict[str, list[float]]:
    """GB/s of every run, by name; the first round, which compiles, does not count."""
    size = matrix.nbytes / 1e9
    calls: dict[str, Callable[[], Any]] = {
        "page cache": lambda: page_cache(path),
        "stream": lambda: stream(matrix),
        "stream + sums": lambda: stream_with_sums(matrix),
        "one after the other": lambda: one_after_the_other(matrix),
        "sums alone": lambda: sums_alone(matrix),
    }
    found: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(runs + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            found[name].append(size / (time.perf_counter() - start))
    return {name: values[1:] for name, values in found.items()}


def main(run: Run) -> None:
    """Measure, print, write."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.npy"
        matrix = make_file(path, run.gigabytes)
        exact = np.add.reduce(matrix, 0, dtype=np.float64)
        np.testing.assert_allclose(stream_with_sums(matrix), exact, rtol=1e-2, atol=1)
        found = rates(path, matrix, run.runs)
    medians = {name: float(np.median(values)) for name, values in found.items()}
    base = medians["page cache"]
    rows: list[list[object]] = [
        [name, medians[name], min(found[name]), max(found[name]), medians[name] / base]
        for name in found
    ]
    table = to_markdown(("what", "GB/s", "least", "most", "of the page cache"), rows)
    device = str(jax.devices()[0])
    print(f"{table}\n\n{device}, {os.cpu_count()} cores, {run.gigabytes} GB, {run.runs} runs")
    print(f"stream + sums / page cache: {medians['stream + sums'] / base:.2f} (goal {GOAL})")
    if run.out is not None:
        content = {"device": device, "cores": os.cpu_count(), "gigabytes": run.gigabytes}
        write_json(run.out.with_suffix(".json"), "bench", content | {"rates": found})
        write_text(run.out.with_suffix(".md"), f"# Features to the device\n\n{table}\n")


if __name__ == "__main__":
    main(tyro.cli(Run))
