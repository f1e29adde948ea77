"""What a second look by attention costs: linear in the models looked at, whatever the zoo's size.

    python bench/bench_look_cost.py --out bench/results/look_cost

Random weights, d = 256, own features 1,024 wide. Milliseconds are those of the look alone (class
centres known): the first pass's softmax of the k models again, and their own tokens merged into it.
Two minutes.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import tyro
from numpy.typing import NDArray

from bench.quality.real_zoo import commit
from spider_jax.report.tables import to_markdown
from spider_jax.spider.folding import Checkpoint, fold_checkpoint
from spider_jax.spider.own_attention import first_pass, score_again
from spider_jax.spider.own_maps import OwnMap
from spider_jax.spider.weights import Weights
from spider_jax.storage.files import write_json, write_text

MODELS, LOOKED, CLASSES = (1_000, 10_000, 100_000), (1, 2, 4, 8, 16, 32, 64), (10, 100, 400)
D_PSI, WIDTH, OWN, REDUCED, RUNS = 1280, 256, 1024, 64, 7


@dataclass(frozen=True)
class Run:
    """out: path without suffix for .json and .md."""

    out: Path


def weights(models: int) -> Weights:
    """Of one member, at random."""
    rng, d = np.random.default_rng(0), WIDTH
    shapes = [(models, d), (D_PSI, d), (d,), *[(d, d)] * 4, *[(d,)] * 6, ()]
    drawn = [rng.normal(size=(1, *shape)).astype(np.float32) for shape in shapes]
    scaled = [a / a.shape[1] ** 0.5 if a.ndim == 3 and i else a for i, a in enumerate(drawn)]
    return Weights(*map(jax.numpy.asarray, scaled))


def own_map(rng: np.random.Generator) -> OwnMap:
    """Of one model, at random."""
    shapes = ((OWN,), (OWN, REDUCED), (1, REDUCED, WIDTH), (1, WIDTH))
    return OwnMap(*((rng.normal(size=shape) / 8).astype(np.float32) for shape in shapes))


def milliseconds(
    checkpoint: Checkpoint, theta: NDArray[np.float32], tokens: NDArray[np.float32], h: int
) -> float:
    """Median time of a look at the models of theta [1, k, d], each with h own class centres."""
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
    """Run it and write the table."""
    rng = np.random.default_rng(2)
    rows: list[list[object]] = []
    found: dict[str, list[float]] = {}
    for M in MODELS:
        w = weights(M)
        checkpoint, theta = fold_checkpoint(w), np.asarray(w.theta)
        for C in CLASSES if MODELS[0] == M else CLASSES[1:2]:
            tokens = rng.normal(size=(C, D_PSI)).astype(np.float32)
            times = [milliseconds(checkpoint, theta[:, :k], tokens, C) for k in LOOKED]
            slope, start = np.polyfit(LOOKED, times, 1)
            found[f"M = {M}, C = {C}"] = times
            rows.append([f"{M:,}", C, *times, float(slope), float(start)])
            print(rows[-1], flush=True)
    columns = ("M", "C = h", *(f"k = {k}, ms" for k in LOOKED), "ms a model", "ms besides")
    command = f"python bench/bench_look_cost.py --out {run.out}"
    page = f"# What a second look costs\n\n`{command}` at commit {commit()}\n\n"
    page += to_markdown(columns, rows) + "\n\nThe last two columns: a line fitted to the others.\n"
    write_text(run.out.with_suffix(".md"), page)
    content = {"commit": commit(), "device": str(jax.devices()[0]), "k": list(LOOKED)}
    write_json(run.out.with_suffix(".json"), "benchmark", content | {"milliseconds": found})


if __name__ == "__main__":
    main(tyro.cli(Run, description=__doc__))
