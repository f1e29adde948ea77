"""How well every training-free metric ranks the 23 real models on the 14 real tasks.

    SPIDER_JAX_DATA=... python bench/bench_metric_quality.py --out bench/results/metric_quality

Mean weighted Kendall tau against the true accuracies, with intervals by bootstrap over tasks,
beside the constant order (made of the other tasks' true accuracies), a random order, the probes
as ceilings and the noise ceiling: tau between linear probes on two disjoint sets of splits. Truth
is a linear probe on frozen features, not fine-tuning. The zoo has no source probabilities, so NCE,
LEEP and PACTran's Dirichlet and Gamma forms cannot be had. About 15 minutes on two cores, of which
the probes of two seeds take most; --cache keeps them.
"""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from bench.quality.real_zoo import probes
from spider_jax.evaluation.baselines import Method, baselines, metric_methods, truth_of
from spider_jax.evaluation.comparison import Comparison
from spider_jax.metrics import METRICS
from spider_jax.ranking.measures import weighted_tau
from spider_jax.storage.files import write_json, write_text
from spider_jax.zoo.store import FeatureStore

NAMES = tuple(n for n, m in METRICS.items() if m.needs == "features" and n != "linear_probe")


@dataclass(frozen=True)
class Run:
    """out: path without suffix for .json and .md. cache: folder for the probes."""

    out: Path
    cache: Path | None = None


def compare(zoo: FeatureStore, run: Run) -> tuple[Comparison, float]:
    """The comparison, best metric first, and the noise ceiling."""
    probe = probes(zoo, run.cache)
    ceiling = float(np.mean([weighted_tau(a, b) for a, b in zip(*probe, strict=True)]))
    truth = truth_of(zoo, zoo.tasks, zoo.models)
    found = metric_methods(zoo, zoo.tasks, zoo.models, NAMES, show_progress=True)
    found["linear_probe"] = Method(probe[:1], "all models (probe)")

    def mean_tau(name: str) -> float:
        pairs = zip(truth, found[name].scores[0], strict=True)
        return float(np.mean([weighted_tau(t, s) for t, s in pairs]))

    ordered = {name: found[name] for name in sorted(found, key=mean_tau, reverse=True)}
    notes = (
        "truth: linear probe on frozen features (mean of 5 splits), not fine-tuning",
        f"noise ceiling {ceiling:.3f}: weighted tau between linear probes on two disjoint sets of "
        "five splits",
        "rows marked probe train a classifier on the same features: ceilings, not competitors",
        "parameter counts and source accuracies are not known for this zoo",
    )
    methods = {**baselines(zoo, zoo.tasks, zoo.models), **ordered}
    return Comparison(zoo.tasks, zoo.models, truth, methods, notes), ceiling


def main(run: Run) -> None:
    """Run it and write the tables."""
    zoo = FeatureStore(Path(os.environ["SPIDER_JAX_DATA"]) / "real_zoo")
    comparison, ceiling = compare(zoo, run)
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    per_task = {
        name: dict(zip(comparison.tasks, map(float, comparison.taus(name)), strict=True))
        for name in comparison.methods
    }
    rows = [dict(zip(Comparison.COLUMNS, row, strict=True)) for row in comparison.rows()]
    content = {
        "commit": commit,
        "rows": rows,
        "weighted_tau_per_task": per_task,
        "noise_ceiling": ceiling,
        "notes": list(comparison.notes),
    }
    write_json(run.out.with_suffix(".json"), "benchmark", content)
    command = f"SPIDER_JAX_DATA=... python bench/bench_metric_quality.py --out {run.out}"
    page = f"# Metrics on the real zoo\n\n`{command}` at commit {commit}\n\n"
    write_text(run.out.with_suffix(".md"), page + comparison.to_markdown() + "\n")
    print(comparison.to_text())


if __name__ == "__main__":
    if "SPIDER_JAX_DATA" not in os.environ:
        raise SystemExit("SPIDER_JAX_DATA must name the folder that holds real_zoo: nothing run")
    main(tyro.cli(Run, description=__doc__))
