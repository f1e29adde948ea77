"""How well does every training-free metric rank the 23 real models on the 14 real tasks?

    python bench/quality/metrics.py

Reads $SPIDER_JAX_DATA/real_zoo and writes bench/results/quality/metrics.json and .md: mean weighted
Kendall tau against the true accuracies, with intervals by bootstrap over tasks. Beside the metrics
stand the constant order (made of the other tasks' true accuracies), a random order, the probes as
ceilings, and the noise ceiling: tau between linear probes on two disjoint sets of splits. Truth is
a linear probe on frozen features, not fine-tuning. The zoo has no source probabilities, so NCE,
LEEP and PACTran's Dirichlet and Gamma forms are missing. About 15 minutes on two cores, of which
the probes of two seeds take most; --cache FOLDER keeps them.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from bench.common import (
    commit,
    mean_tau,
    page_head,
    probe_accuracies,
    real_zoo,
    write_results,
)
from spider_jax.evaluation.baselines import Method, baseline_methods, metric_methods, truth_of
from spider_jax.evaluation.comparison import Comparison
from spider_jax.metrics import METRICS
from spider_jax.zoo.store import FeatureStore

NAMES = tuple(n for n, m in METRICS.items() if m.needs == "features" and n != "linear_probe")


@dataclass(frozen=True)
class Run:
    """What to run.

    Attributes:
        out: path without suffix for .json and .md.
        cache: folder that keeps the probes.
    """

    out: Path = Path("bench/results/quality/metrics")
    cache: Path | None = None


def compare(zoo: FeatureStore, run: Run) -> tuple[Comparison, float]:
    """Every metric on all tasks, the best first.

    Args:
        zoo: with all tasks.
        run: what to run.

    Returns:
        The comparison, and the noise ceiling.
    """
    probe = probe_accuracies(zoo, run.cache)
    ceiling = mean_tau(*probe)
    truth = truth_of(zoo, zoo.tasks, zoo.models)
    found = metric_methods(zoo, zoo.tasks, zoo.models, NAMES, show_progress=True)
    found["linear_probe"] = Method(probe[:1], "all models (probe)")
    best_first = sorted(found, key=lambda n: mean_tau(truth, found[n].scores[0]), reverse=True)
    notes = (
        "truth: linear probe on frozen features (mean of 5 splits), not fine-tuning",
        f"noise ceiling {ceiling:.3f}: weighted tau between linear probes on two disjoint sets of "
        "five splits",
        "rows marked probe train a classifier on the same features: ceilings, not competitors",
        "parameter counts and source accuracies are not known for this zoo",
    )
    methods = baseline_methods(zoo, zoo.tasks, zoo.models) | {
        name: found[name] for name in best_first
    }
    return Comparison(zoo.tasks, zoo.models, truth, methods, notes), ceiling


def main(run: Run) -> None:
    """Compare and write the tables.

    Args:
        run: what to run.
    """
    comparison, ceiling = compare(real_zoo(), run)
    content = {"commit": commit(), **comparison.summary(), "noise_ceiling": ceiling}
    head = page_head("Metrics on the real zoo", "quality/metrics", run.out)
    write_results(run.out, content, head + comparison.to_markdown() + "\n")
    print(comparison.to_text())


if __name__ == "__main__":
    main(tyro.cli(Run, description=__doc__))
