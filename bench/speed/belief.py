"""How long does a belief over a million models take? Conditioning, the best 100, memory.

    python bench/speed/belief.py --folder FOLDER

Writes bench/results/speed/belief.json and .md. A spider with random tokens (d = 256), a memory of
64 tasks and r = 32 factors is indexed; everything is timed in one process, medians of five after
one that is not counted: the search for the best 100, the belief (scores of all models read from the
index, their names and factors), conditioning on 10 evaluated models (mean and deviation of all
models), the best 100 after it, and the next model to evaluate. About five minutes, 4 GB of disk.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from bench.common import about, command, page_head, write_results
from bench.speed.index import peak_mb
from spider_jax import Spider, TaskTokens, ZooIndex
from spider_jax.belief import EvidenceModel, Factors, Spread, TaskProcess
from spider_jax.belief.belief import Belief
from spider_jax.belief.state import BeliefState
from spider_jax.report.tables import to_markdown
from spider_jax.spider.task_memory import Memory, MemoryWeights

RUNS = 5
SEARCH = "search, best 100"


@dataclass(frozen=True)
class Run:
    """What to run.

    Attributes:
        folder: where the index is made and kept.
        out: path without suffix for .json and .md.
        models: in the index.
        width: of tokens.
        rank: factors of the models' errors.
        tasks: remembered.
        seen: models with results.
    """

    folder: Path
    out: Path = Path("bench/results/speed/belief")
    models: int = 1_000_000
    width: int = 256
    rank: int = 32
    tasks: int = 64
    seen: int = 10


def random_spider(run: Run) -> Spider:
    """A spider that was not trained.

    Args:
        run: its sizes.
    """
    from bench.peers.torch_scoring import random_state

    rng, d, S = np.random.default_rng(0), run.width, run.tasks

    def drawn(*shape: int) -> Any:
        return rng.standard_normal(shape, dtype=np.float32)

    state = random_state(run.models, d, d, seed=0)
    spider = Spider.from_torch(state, models=[f"model {i}" for i in range(run.models)])
    rows, unit = drawn(S, 2 * d) / (2 * d) ** 0.5, np.ones(d, np.float32)
    scale = np.ones(2 * d, np.float32)
    constant = np.full(S, 1 / S, np.float32)
    process = TaskProcess(
        unit, 0 * scale, scale, rows, constant, np.array([0.3, 0.3, 0.7, 0.3, 0.2])
    )
    weights = MemoryWeights(drawn(S, 2 * d), process=process)
    factors = Factors(
        0.1 * drawn(run.models, run.rank).astype(np.float64), rng.uniform(0.3, 1, run.models)
    )
    beliefs = BeliefState(factors, EvidenceModel(results=Spread(0.1, 3.0))).stored()
    return replace(spider, memory=Memory(weights, drawn(S, run.models)), beliefs=beliefs)


def medians(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds of every call, after one that is not counted.

    Args:
        calls: by name.
    """
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for run in range(RUNS + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if run:
                taken[name].append(time.perf_counter() - start)
    return {name: float(np.median(each)) for name, each in taken.items()}


def main(run: Run) -> None:
    """Time and write the table.

    Args:
        run: what to run.
    """
    path = run.folder / "index"
    if not (path / "index.json").exists():
        ZooIndex.build(random_spider(run), path, show_progress=True)
    rng = np.random.default_rng(1)
    centres = rng.standard_normal((100, run.width), dtype=np.float32)
    task = TaskTokens(centres, rng.uniform(0.5, 1, (2, run.width)).astype(np.float32))
    index = ZooIndex.open(path)
    before = peak_mb()
    belief = index.belief(task)
    first = np.argsort(-belief.mean)[: run.seen]
    results = {
        belief.names[i]: float(v)
        for i, v in zip(first, rng.uniform(0.5, 0.9, run.seen), strict=True)
    }

    def condition() -> Belief:
        after = belief.observe(results)
        after.sd, after.mean  # noqa: B018 - what is timed
        return after

    known = condition()

    def best() -> object:
        top = np.argpartition(-known.mean, 100)[:100]
        return [known.names[i] for i in top[np.argsort(-known.mean[top])]]

    seconds = medians(
        {
            SEARCH: lambda: index.top_k(task, 100),
            "belief: scores, names and factors from disk": lambda: index.belief(task),
            f"conditioning on {run.seen} results": condition,
            "best 100 after it": best,
            "the next model": lambda: condition().next(1),
        }
    )
    rows = [[name, s, s / seconds[SEARCH]] for name, s in seconds.items()]
    memory = peak_mb() - before
    page = page_head("A belief over a million models", "speed/belief", run.out)
    page = page.replace(
        command("speed/belief", run.out), command("speed/belief", run.out) + " --folder FOLDER"
    )
    page += to_markdown(["what", "seconds", "of the search"], rows)
    page += (
        f"\n\n{run.models:,} models, d = {run.width}, r = {run.rank}, {run.tasks} remembered "
        f"tasks, 100 classes. Peak memory: {memory:.0f} MB above that with the index opened.\n"
    )
    sizes = {"models": run.models, "rank": run.rank}
    content = {**about(), "seconds": seconds, "memory_mb": memory, **sizes}
    write_results(run.out, content, page)
    print(page)


if __name__ == "__main__":
    main(tyro.cli(Run, description=__doc__))
