"""How long do priors from records take, and whom to evaluate next among a million models?

    python bench/speed/records.py

Writes bench/results/speed/records.json and .md. Records are drawn from known factors: their prior
must order unseen results about as well as the true mean does. Each size runs in a process of its
own, so that the peak of its memory is its own. About five minutes.
"""

import json
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from bench.common import about, page_head, write_results
from spider_jax.belief.belief import Belief
from spider_jax.belief.evidence import EvidenceModel, Spread
from spider_jax.belief.gaussian import Standings
from spider_jax.recommend.acquisition import next_runs
from spider_jax.recommend.records_prior import RecordsPrior
from spider_jax.records.table import Records
from spider_jax.report.tables import to_markdown

SIZES = ((25_000, 2_500), (50_000, 5_000), (100_000, 5_000))  # models, tasks
KNOWN = 0.005
KINDS = 20  # of tasks, which their words tell
RUNS = 5


@dataclass(frozen=True)
class Run:
    """What to run.

    Attributes:
        out: path without suffix for .json and .md.
        models: of one size, for a process of its own; 0: all sizes, and the million.
        tasks: of that size.
    """

    out: Path = Path(__file__).parents[1] / "results" / "speed" / "records"
    models: int = 0
    tasks: int = 0


def drawn(models: int, tasks: int) -> tuple[Records, np.ndarray, np.ndarray]:
    """Records of known factors: an order of all tasks, one of each kind, and noise.

    Args:
        models: M.
        tasks: T.

    Returns:
        The records; and the true standings on a new task of kind 0, with its kind's part.
    """
    rng = np.random.default_rng(0)
    order = rng.standard_normal(models)
    by_kind = rng.standard_normal((KINDS, models)) * 0.7
    n = int(models * tasks * KNOWN)
    pairs = np.unique(rng.integers(0, models * tasks, n))
    task, model = (pairs // models).astype(np.int32), (pairs % models).astype(np.int32)
    kind = np.arange(tasks) % KINDS
    value = order[model] + by_kind[kind[task], model] + 0.5 * rng.standard_normal(len(pairs))
    facts = {"type": tuple(f"kind{k}" for k in kind)}
    names = tuple(f"m{i}" for i in range(models))
    titles = tuple(f"task{i}" for i in range(tasks))
    errors = np.full(len(pairs), np.nan)
    records = Records(names, titles, model, task, value, errors, {}, facts)
    return records, order + by_kind[0], order


def peak_mb() -> float:
    """Largest memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def fitted(models: int, tasks: int) -> dict[str, Any]:
    """One size.

    Args:
        models: M.
        tasks: T.
    """
    records, truth, order = drawn(models, tasks)
    before, began = peak_mb(), time.perf_counter()
    prior = RecordsPrior.fit(records)
    seconds = time.perf_counter() - began
    began = time.perf_counter()
    belief = prior.belief(facts={"type": "kind0"})
    asked = time.perf_counter() - began
    return {
        "models": models,
        "tasks": tasks,
        "records": len(records),
        "fit_s": seconds,
        "belief_s": asked,
        "fit_mb": peak_mb() - before,
        "correlation": float(np.corrcoef(belief.mean, truth)[0, 1]),
        "correlation_of_the_constant": float(np.corrcoef(prior.constant, truth)[0, 1]),
        "correlation_of_the_true_order": float(np.corrcoef(order, truth)[0, 1]),
    }


def next_of_a_million(models: int = 1_000_000, rank: int = 32) -> dict[str, float]:
    """Conditioning on ten results and the choice of the next run.

    Args:
        models: M.
        rank: of the covariance.
    """
    rng = np.random.default_rng(0)
    loadings = rng.standard_normal((models, rank)) * 0.15
    prior = Standings(rng.standard_normal(models), loadings, np.full(models, 0.2), 1.0)
    names = tuple(f"m{i}" for i in range(models))
    evidence = EvidenceModel(results=Spread(0.1, 2.0), ranks=3.0, link=0.1)
    results = {names[i]: 0.5 + 0.1 * float(prior.mean[i]) for i in range(10)}
    times = []
    belief = Belief(names, prior, evidence)
    belief.positions(names[:1])  # numbers the names, once for all questions
    for _ in range(RUNS + 1):
        began = time.perf_counter()
        next_runs(belief.observe(results), 1)
        times.append(time.perf_counter() - began)
    return {"models": models, "rank": rank, "next_s": float(np.median(times[1:]))}


def main(run: Run) -> None:
    """Run all sizes, or one.

    Args:
        run: what to run.
    """
    if run.models:
        print(json.dumps(fitted(run.models, run.tasks)))
        return
    found = []
    for models, tasks in SIZES:
        command = [sys.executable, __file__, "--models", str(models), "--tasks", str(tasks)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
        print(found[-1], flush=True)
    million = next_of_a_million()
    print(million)
    rows = [
        [
            f"{one['models']:,} x {one['tasks']:,}",
            f"{one['records']:,}",
            f"{one['fit_s']:.0f}",
            f"{1e6 * one['fit_s'] / one['records']:.0f}",
            f"{one['fit_mb']:.0f}",
            f"{one['belief_s']:.2f}",
            f"{one['correlation']:.3f}",
            f"{one['correlation_of_the_constant']:.3f}",
        ]
        for one in found
    ]
    titles = ["models x tasks", "records", "fit, s", "us a record", "MB", "belief, s"]
    titles += ["correlation with the truth", "constant order"]
    page = (
        page_head("Priors from records", "speed/records", run.out)
        + to_markdown(titles, rows)
        + f"\n\n{million['models']:,} models, rank {million['rank']}: ten results taken in and the "
        f"next run chosen in {million['next_s']:.2f} s (median of {RUNS}).\n"
    )
    write_results(run.out, {**about(), "sizes": found, "million": million}, page)


if __name__ == "__main__":
    main(tyro.cli(Run))
