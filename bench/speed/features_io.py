"""How fast do exported features reach the device, beside the page cache's read rate?

    python bench/speed/features_io.py

Writes bench/results/speed/features_io.json and .md. A file of --gigabytes float32 features of width
2,048 is written to the temporary folder and read once, so that it is in the page cache. Medians and
ranges of --runs in turns, in GB/s:

- page cache: readinto of 16 MB blocks into one buffer, by one thread;
- stream: device_blocks, every block on the device, nothing computed; on a CPU these are the file's
  own pages, touched once each, so this says little;
- stream + sums: the same, with the sum of every column: every number is used;
- one after the other: each block copied to the device, then summed, nothing in the background;
- sums alone: of one block that stays on the device.

The goal is a stream + sums of at least 0.8 of the page cache. Half a minute on two cores.
"""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Array, Float32

from bench.common import page_head, write_results
from spider_jax.report.tables import to_markdown
from spider_jax.runtime.streaming import BLOCK_BYTES, aligned_rows, device_blocks

WIDTH = 2048
GOAL = 0.8
Matrix = Float32[np.ndarray, "N D"]


@dataclass(frozen=True)
class Run:
    """What to run.

    Attributes:
        out: path without suffix for .json and .md.
        gigabytes: of the file.
        runs: of each way.
    """

    out: Path = Path("bench/results/speed/features_io")
    gigabytes: float = 1.0
    runs: int = 7


@jax.jit
def add_sums(total: Float32[Array, " D"], block: Float32[Array, "n D"]) -> Float32[Array, " D"]:
    """Sums of columns with those of one more block.

    Args:
        total: sums so far.
        block: rows.
    """
    return total + block.sum(0)


def make_file(path: Path, gigabytes: float) -> Matrix:
    """Random features as a memmap, all of it in the page cache.

    Args:
        path: of the file.
        gigabytes: its size.
    """
    rows = int(gigabytes * 1e9 / (4 * WIDTH))
    block = np.random.default_rng(0).normal(size=(4096, WIDTH)).astype(np.float32)
    made = np.lib.format.open_memmap(path, "w+", np.float32, (rows, WIDTH))
    for start in range(0, rows, 4096):
        made[start : start + 4096] = block[: rows - start]
    made.flush()
    return np.load(path, mmap_mode="r", allow_pickle=False)


def page_cache(path: Path) -> None:
    """Read the file into one buffer.

    Args:
        path: of the file.
    """
    buffer = memoryview(bytearray(BLOCK_BYTES))
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def stream(matrix: Matrix) -> None:
    """Every block on the device.

    Args:
        matrix: a memmap.
    """
    for _, block in device_blocks(matrix):
        block.block_until_ready()


def stream_with_sums(matrix: Matrix) -> Float32[Array, " D"]:
    """Sums of columns, the next block read meanwhile.

    Args:
        matrix: a memmap.
    """
    total = jnp.zeros(WIDTH)
    for _, block in device_blocks(matrix):
        total = add_sums(total, block)
    return jax.block_until_ready(total)


def one_after_the_other(matrix: Matrix) -> Float32[Array, " D"]:
    """Sums of columns, every block copied first.

    Args:
        matrix: a memmap.
    """
    total, step = jnp.zeros(WIDTH), aligned_rows(matrix)
    for start in range(0, len(matrix), step):
        block = jax.device_put(np.array(matrix[start : start + step]))
        total = jax.block_until_ready(add_sums(total, block))
    return total


def sums_alone(matrix: Matrix) -> None:
    """As many sums of one block on the device.

    Args:
        matrix: a memmap.
    """
    step = aligned_rows(matrix)
    block, total = jax.device_put(np.array(matrix[:step])), jnp.zeros(WIDTH)
    for _ in range(0, len(matrix), step):
        total = add_sums(total, block)
    jax.block_until_ready(total)


def rates(path: Path, matrix: Matrix, runs: int) -> dict[str, list[float]]:
    """GB/s of every run, by name; the first round, which compiles, does not count.

    Args:
        path: of the file.
        matrix: the same as a memmap.
        runs: of each way.
    """
    size = matrix.nbytes / 1e9
    calls: dict[str, Callable[[], object]] = {
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
    """Measure, print, write.

    Args:
        run: what to run.
    """
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
    content = {"device": device, "cores": os.cpu_count(), "gigabytes": run.gigabytes}
    page = page_head("Features to the device", "speed/features_io", run.out) + table + "\n"
    write_results(run.out, content | {"rates": found}, page)


if __name__ == "__main__":
    main(tyro.cli(Run, description=__doc__))
