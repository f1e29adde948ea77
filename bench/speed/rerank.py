"""What does re-ranking by attention cost? It is linear in k, whatever the size of the zoo.

    python bench/speed/rerank.py

Writes bench/results/speed/rerank.json and .md. Random weights, d = 256, own features 1,024 wide.
The time is that of re-ranking alone, with the class centres known: the first pass's softmax of the
k models is computed again, and their own tokens are merged into it. Two minutes.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import tyro
from jaxtyping import Float32

from bench.common import commit, page_head, write_results
from spider_jax.report.tables import to_markdown
from spider_jax.spider.folding import Checkpoint, fold_checkpoint
from spider_jax.spider.own_attention import first_pass, score_again
from spider_jax.spider.own_maps import OwnMap
from spider_jax.spider.weights import Weights
from spider_jax.tasks.tokens import TaskTokens

MODELS, RERANKED, CLASSES = (1_000, 10_000, 100_000), (1, 2, 4, 8, 16, 32, 64), (10, 100, 400)
D_PSI, WIDTH, OWN, REDUCED, RUNS = 1280, 256, 1024, 64, 7


@dataclass(frozen=True)
class Run:
    """What to run.

    Attributes:
        out: path without suffix for .json and .md.
    """

    out: Path = Path("bench/results/speed/rerank")


def weights(models: int) -> Weights:
    """Random weights of an ensemble of one.

    Args:
        models: how many.
    """
    rng, d = np.random.default_rng(0), WIDTH
    shapes = [(models, d), (D_PSI, d), (d,), *[(d, d)] * 4, *[(d,)] * 6, ()]
    drawn = [rng.normal(size=(1, *shape)).astype(np.float32) for shape in shapes]
    scaled = [a / a.shape[1] ** 0.5 if a.ndim == 3 and i else a for i, a in enumerate(drawn)]
    return Weights(*map(jax.numpy.asarray, scaled))


def own_map(rng: np.random.Generator) -> OwnMap:
    """A random map of one model's own class centres to tokens.

    Args:
        rng: draws it.
    """
    shapes = ((OWN,), (OWN, REDUCED), (1, REDUCED, WIDTH), (1, WIDTH))
    return OwnMap(*((rng.normal(size=shape) / 8).astype(np.float32) for shape in shapes))


def milliseconds(
    checkpoint: Checkpoint, theta: Float32[np.ndarray, "1 k d"], tokens: TaskTokens, h: int
) -> float:
    """Median time of re-ranking k models.

    Args:
        checkpoint: of the spider.
        theta: tokens of the k models.
        tokens: of the task.
        h: own class centres of every model.
    """
    rng = np.random.default_rng(1)
    k = theta.shape[1]
    maps = [own_map(rng) for _ in range(k)]
    centres = rng.normal(size=(k, h, OWN)).astype(np.float32)
    taken = []
    for run in range(RUNS + 1):
        begun = time.perf_counter()
        seen = first_pass(checkpoint, theta, tokens)
        for i in range(k):
            score_again(checkpoint, theta, seen, maps[i], centres[i], i)
        if run:  # the first one compiles
            taken.append(1e3 * (time.perf_counter() - begun))
    return float(np.median(taken))


def main(run: Run) -> None:
    """Measure and write the table.

    Args:
        run: what to run.
    """
    rng = np.random.default_rng(2)
    rows: list[list[object]] = []
    found: dict[str, list[float]] = {}
    for M in MODELS:
        w = weights(M)
        checkpoint, theta = fold_checkpoint(w), np.asarray(w.theta)
        for C in CLASSES if MODELS[0] == M else CLASSES[1:2]:
            tokens = TaskTokens(rng.normal(size=(C, D_PSI)).astype(np.float32))
            times = [milliseconds(checkpoint, theta[:, :k], tokens, C) for k in RERANKED]
            slope, start = np.polyfit(RERANKED, times, 1)
            found[f"M = {M}, C = {C}"] = times
            rows.append([f"{M:,}", C, *times, float(slope), float(start)])
            print(rows[-1], flush=True)
    columns = ("M", "C = h", *(f"k = {k}, ms" for k in RERANKED), "ms a model", "ms besides")
    page = page_head("What re-ranking costs", "speed/rerank", run.out) + to_markdown(columns, rows)
    page += "\n\nThe last two columns: a line fitted to the others.\n"
    content = {"commit": commit(), "device": str(jax.devices()[0]), "k": list(RERANKED)}
    write_results(run.out, content | {"milliseconds": found}, page)


if __name__ == "__main__":
    main(tyro.cli(Run, description=__doc__))
