"""How good are the rankings? The spider at k = 0 beside every metric and baseline.

    python bench/quality/real_zoo.py

Reads $SPIDER_JAX_DATA/real_zoo (23 models, 14 tasks) and writes bench/results/quality/real_zoo.json
and .md. Five folds of whole datasets; tasks that share pictures or drawing style (two digit sets,
two emoji tasks, two clip-art tasks, the font tasks) are held out together. The teachers label one
set of meta-tasks once; a fold trains on those whose datasets are all sources. Truth: linear probe
on frozen features, not fine-tuning. About 25 minutes on two cores, of which teachers and linear
probes are 20; --cache FOLDER keeps these.
"""

import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from jaxtyping import Float64

from bench.common import (
    FOLDS,
    cached_training_set,
    commit,
    mean_tau,
    only_sources,
    page_head,
    probe_accuracies,
    real_zoo,
    sources_without,
    with_tasks,
    write_results,
)
from spider_jax.evaluation.baselines import (
    Method,
    baseline_methods,
    kernel_method,
    metric_methods,
    ridge_method,
    truth_of,
)
from spider_jax.evaluation.comparison import Comparison
from spider_jax.tasks.tokens import zoo_tokens
from spider_jax.training.config import TrainConfig
from spider_jax.training.train_spider import fit
from spider_jax.training.training_set import TrainingSet
from spider_jax.zoo.store import FeatureStore

METRICS = ("logme", "knn", "h_score_shrunk", "ridge")
UNTRAINED = {"task ridge": ridge_method, "task kernel": kernel_method}
Scores = Float64[np.ndarray, "T M"]


@dataclass(frozen=True)
class Run:
    """What to run.

    Attributes:
        out: path without suffix for .json and .md.
        cache: folder that keeps the teachers' work and the probes.
        tasks: how many meta-tasks.
        seeds: how many spiders are trained per fold.
        train: the configuration.
    """

    out: Path = Path("bench/results/quality/real_zoo")
    cache: Path | None = None
    tasks: int = 1500
    seeds: int = 3
    train: TrainConfig = field(default_factory=TrainConfig)


def by_fold(
    zoo: FeatureStore, given: TrainingSet, run: Run
) -> tuple[Float64[np.ndarray, "seeds T M"], dict[str, Scores], list[float]]:
    """Every task ranked by spiders and baselines that were fitted without its fold.

    Args:
        zoo: with all tasks.
        given: meta-tasks over all datasets.
        run: seeds and configuration.

    Returns:
        The spiders' scores, those of the baselines by name, seconds of every training.
    """
    shape = (len(zoo.tasks), len(zoo.models))
    truth = truth_of(zoo, zoo.tasks, zoo.models)
    spiders, seconds = np.zeros((run.seeds, *shape)), []
    untrained = {name: np.zeros(shape) for name in UNTRAINED}
    for fold in FOLDS:
        sources = sources_without(zoo, fold)
        place = [zoo.tasks.index(task) for task in fold]
        training = only_sources(given, sources)
        for name, method in UNTRAINED.items():
            untrained[name][place] = method(zoo, sources, fold, training)
        tokens = [zoo_tokens(zoo, task) for task in fold]
        for seed in range(run.seeds):
            start = time.perf_counter()
            spider = fit(zoo, replace(run.train, seed=seed), sources, training)
            seconds.append(time.perf_counter() - start)
            spiders[seed, place] = spider.scores(tokens)
        done = np.mean([mean_tau(truth[place], scores[place]) for scores in spiders])
        print(f"fold {fold}: spider {done:.3f}", flush=True)
    return spiders, untrained, seconds


def compare(zoo: FeatureStore, run: Run) -> tuple[Comparison, dict[str, Any]]:
    """Spiders, metrics and baselines on all tasks.

    Args:
        zoo: with all tasks.
        run: what to run.

    Returns:
        The comparison, and what else the JSON keeps.
    """
    config = with_tasks(run.train, run.tasks)
    probe = probe_accuracies(zoo, run.cache)
    spiders, untrained, seconds = by_fold(zoo, cached_training_set(zoo, config, run.cache), run)
    ceiling = mean_tau(*probe)
    methods = {
        f"spider (k = 0), {run.seeds} seeds": Method(spiders, "extractor"),
        **{name: Method(scores[None], "extractor") for name, scores in untrained.items()},
        **baseline_methods(zoo, zoo.tasks, zoo.models),
        **metric_methods(zoo, zoo.tasks, zoo.models, METRICS, show_progress=True),
        "linear_probe": Method(probe[:1], "all models (probe)"),
    }
    truth = truth_of(zoo, zoo.tasks, zoo.models)
    per_seed = [mean_tau(truth, scores) for scores in spiders]
    notes = (
        "truth: linear probe on frozen features (mean of 5 splits), not fine-tuning",
        "five folds of whole datasets; datasets of one domain are held out together",
        f"spider per seed: {', '.join(f'{tau:.3f}' for tau in per_seed)}; a spider is an ensemble "
        f"of {config.members} members",
        f"noise ceiling {ceiling:.3f}: weighted tau between linear probes on two disjoint sets of "
        "five splits",
        "metrics and probes run every model on the target; spider and kernel only the extractor",
        "parameter counts and source accuracies are not known for this zoo",
        "settings were chosen on source tasks of the folds, see bench/README.md and settings.md",
        f"training of one spider: median {np.median(seconds):.1f} s, teachers apart",
    )
    comparison = Comparison(zoo.tasks, zoo.models, truth, methods, notes)
    return comparison, {"noise_ceiling": ceiling, "per_seed": per_seed, "seconds": seconds}


def main(run: Run) -> None:
    """Compare and write the tables.

    Args:
        run: what to run.
    """
    comparison, more = compare(real_zoo(), run)
    content = {
        "commit": commit(),
        "device": str(jax.devices()[0]),
        "config": json.loads(json.dumps(run.train, default=lambda c: c.__dict__)),
        "meta_tasks": run.tasks,
        "folds": [list(fold) for fold in FOLDS],
        **comparison.summary(),
        **more,
    }
    head = page_head("The real zoo, whole datasets held out", "quality/real_zoo", run.out)
    write_results(run.out, content, head + comparison.to_markdown() + "\n")
    print(comparison.to_text())


if __name__ == "__main__":
    main(tyro.cli(Run, description=__doc__))
