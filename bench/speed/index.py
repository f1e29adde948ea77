"""How fast are the best 100 of 1,000,000 models found? Our index on disk, faiss, the disk itself.

    pip install -e ".[bench]" && python bench/speed/index.py --folder FOLDER

Writes bench/results/speed/index.json and .md. Random tokens of d = 256, one task of C = 100
classes. Every search runs in a process of its own, so that its peak memory is its own; warm: after
a first search has read the pages, median of five; cold: after the pages were dropped from the cache
(posix_fadvise), once. Beside the exact search stands the linear first pass (how many of its best k
are right is in the table). faiss holds M vectors of width d in memory and searches them with the C
tokens as queries: half the arithmetic, no softmax, and not the same answer, so its product alone is
timed too, as is one product with one vector, the least that any linear search can take. About
ten minutes and 7 GB of disk.
"""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from jaxtyping import Float32

RUNS = 5


@dataclass(frozen=True)
class Run:
    """What to run.

    Attributes:
        folder: where the index is made and kept.
        out: path without suffix for .json and .md.
        models: in the index.
        width: of tokens.
        classes: of the task.
        k: how many models are found.
        part: one of the processes that a run starts.
    """

    folder: Path
    out: Path = Path("bench/results/speed/index")
    models: int = 1_000_000
    width: int = 256
    classes: int = 100
    k: int = 100
    part: str = ""


def peak_mb() -> float:
    """Peak resident memory of this process, mapped pages too.

    On Linux /proc has it: ru_maxrss would begin with what the parent held when it forked.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def seconds_of(call: Callable[[], object]) -> list[float]:
    """Seconds of every run, after one that is not counted.

    Args:
        call: is timed.
    """
    call()
    taken = []
    for _ in range(RUNS):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return taken


def tokens(run: Run) -> Float32[np.ndarray, "C d"]:
    """The task: raw class centres as wide as d.

    Args:
        run: its sizes.
    """
    return np.random.default_rng(1).standard_normal((run.classes, run.width), dtype=np.float32)


def build(run: Run) -> dict[str, Any]:
    """Make the index from random weights.

    Args:
        run: its sizes.
    """
    from spider_jax import Spider, ZooIndex

    rng, d = np.random.default_rng(0), run.width
    state = {
        "model_prompt": rng.standard_normal((1, run.models, d), dtype=np.float32),
        "uni_linear.weight": rng.standard_normal((d, d), dtype=np.float32) / d**0.5,
        "uni_linear.bias": np.zeros(d, np.float32),
        "transformer.fc.bias": np.zeros(d, np.float32),
        "mlp_head.1.weight": rng.standard_normal((1, d), dtype=np.float32) / d**0.5,
        "mlp_head.1.bias": np.zeros(1, np.float32),
    }
    for name in ("w_qs", "w_ks", "w_vs", "fc"):
        state[f"transformer.{name}.weight"] = rng.standard_normal((d, d), dtype=np.float32) / d**0.5
    for name in ("transformer.layer_norm", "mlp_head.0"):
        state |= {f"{name}.weight": np.ones(d, np.float32), f"{name}.bias": np.zeros(d, np.float32)}
    spider = Spider.from_torch(state, models=[f"model {i}" for i in range(run.models)])
    start = time.perf_counter()
    ZooIndex.build(spider, run.folder / "index", show_progress=True)
    seconds = time.perf_counter() - start
    return {"build, s": seconds, "build, rows/s": run.models / seconds, "build, peak MB": peak_mb()}


def warm(run: Run) -> dict[str, Any]:
    """Searches with the pages in the system's cache.

    Args:
        run: its sizes.
    """
    import jax

    jax.numpy.zeros(1).block_until_ready()
    with_jax = peak_mb()
    from spider_jax import ZooIndex

    index, task = ZooIndex.open(run.folder / "index"), tokens(run)
    taken = seconds_of(lambda: index.top_k(task, run.k))
    return {
        "warm, s": float(np.median(taken)),
        "warm, range": [min(taken), max(taken)],
        "warm, rows/s": run.models / float(np.median(taken)),
        "peak MB": peak_mb(),
        "of which interpreter and jax, MB": with_jax,
    }


def first_pass(run: Run) -> dict[str, Any]:
    """Warm searches by the linear first pass, and how many of its best are among the exact ones.

    Args:
        run: its sizes.
    """
    from spider_jax import ZooIndex

    index, task = ZooIndex.open(run.folder / "index"), tokens(run)
    taken = seconds_of(lambda: index.top_k(task, run.k, first_pass=True))
    found, exact = index.top_k(task, run.k, first_pass=True), index.top_k(task, run.k)
    return {
        "first pass, s": float(np.median(taken)),
        "first pass, range": [min(taken), max(taken)],
        "first pass, recall": len({*found.names} & {*exact.names}) / run.k,
    }


def product(run: Run) -> dict[str, Any]:
    """The inner products alone, in memory: with all C tokens, as faiss makes them, and with one.

    Args:
        run: its sizes.
    """
    vectors = np.random.default_rng(0).standard_normal((run.models, run.width), dtype=np.float32)
    queries, rows = tokens(run).T, 1 << 16

    def products(right: Float32[np.ndarray, "d C"]) -> None:
        for start in range(0, len(vectors), rows):
            (vectors[start : start + rows] @ right).max()

    return {
        "product with C tokens, s": float(np.median(seconds_of(lambda: products(queries)))),
        "product with one, s": float(np.median(seconds_of(lambda: products(queries[:, :1])))),
    }


def cold(run: Run) -> dict[str, Any]:
    """One search from the disk, and the read of the same files alone.

    Args:
        run: its sizes.
    """
    from spider_jax import ZooIndex

    index, task = ZooIndex.open(run.folder / "index"), tokens(run)
    index.top_k(task, run.k)  # compiled, pages read; now they are dropped
    files = sorted((run.folder / "index").rglob("*.npy"))
    drop(files)
    start = time.perf_counter()
    index.top_k(task, run.k)
    searched = time.perf_counter() - start
    drop(files)
    start = time.perf_counter()
    for path in files:
        with path.open("rb", buffering=0) as file:
            while file.read(1 << 24):
                pass
    read = time.perf_counter() - start
    size = sum(path.stat().st_size for path in files)
    return {"cold, s": searched, "read alone, s": read, "index, GB": size / 1e9}


def drop(files: list[Path]) -> None:
    """Ask the system to forget these files' pages.

    Args:
        files: that were read.
    """
    os.sync()
    for path in files:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def faiss(run: Run) -> dict[str, Any]:
    """The C tokens as queries over M vectors in memory.

    Args:
        run: its sizes.
    """
    from bench.peers.torch_scoring import faiss_flat

    vectors = np.random.default_rng(0).standard_normal((run.models, run.width), dtype=np.float32)
    search = faiss_flat(vectors)
    taken = seconds_of(lambda: search(tokens(run), run.k))
    return {"faiss, s": float(np.median(taken)), "faiss, range": [min(taken), max(taken)]}


PARTS: dict[str, Callable[[Run], dict[str, Any]]] = {
    "build": build,
    "warm": warm,
    "first_pass": first_pass,
    "cold": cold,
    "product": product,
    "faiss": faiss,
}


def in_a_process(part: str, run: Run) -> dict[str, Any]:
    """One part in a process of its own; its last line is its answer.

    Args:
        part: one of PARTS.
        run: its sizes.
    """
    sizes = [f"--models={run.models}", f"--width={run.width}", f"--classes={run.classes}"]
    command = [sys.executable, __file__, f"--out={run.out}", f"--folder={run.folder}", *sizes]
    done = subprocess.run(
        [*command, f"--k={run.k}", f"--part={part}"], stdout=subprocess.PIPE, text=True, check=True
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(answer, flush=True)
    return answer


def main(run: Run) -> None:
    """Run all parts and write the table.

    Args:
        run: its sizes.
    """
    if run.part:
        print(json.dumps(PARTS[run.part](run)))
        return
    from bench.common import commit, cpu_name, write_results  # heavy: a part would hold it

    found: dict[str, Any] = {"commit": commit(), "device": cpu_name(), "models": run.models}
    found |= {"width": run.width, "classes": run.classes, "k": run.k}
    for part in PARTS:
        if part != "build" or not (run.folder / "index" / "index.json").exists():
            found |= in_a_process(part, run)
    found["warm / faiss"] = found["warm, s"] / found["faiss, s"]
    found["warm / product with C tokens"] = found["warm, s"] / found["product with C tokens, s"]
    found["first pass / warm"] = found["first pass, s"] / found["warm, s"]
    found["first pass / product with one"] = found["first pass, s"] / found["product with one, s"]
    found["read alone / cold"] = found["read alone, s"] / found["cold, s"]
    found["peak over interpreter and jax, MB"] = (
        found["peak MB"] - found["of which interpreter and jax, MB"]
    )
    lines = [
        f"- {name}: {value:.4g}" if isinstance(value, float) else f"- {name}: {value}"
        for name, value in found.items()
    ]
    command = f"python bench/speed/index.py --folder FOLDER --out {run.out}"
    page = f"# The best {run.k} of {run.models:,} models\n\n`{command}`\n\n" + "\n".join(lines)
    write_results(run.out, found, page + "\n")


if __name__ == "__main__":
    main(tyro.cli(Run, description=__doc__))
