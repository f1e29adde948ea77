"""What does it buy to look at the k best models? The real zoo, whole datasets held out.

    python bench/quality/rerank.py

Reads $SPIDER_JAX_DATA/real_zoo and writes bench/results/quality/rerank.json, .md and .png (for
which matplotlib must be there). Folds, truth and meta-tasks as in real_zoo.py. The k best models of
the spider's first pass are sorted again by their own features: by evidence (the default), by
attention to their own class centres (learned, k_max = 5), by one metric, or by the truth, which is
the bound. Beside them stand the metrics on all models. About 15 minutes on two cores, of which
teachers are 5.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from jaxtyping import Float32, Float64

from bench.common import (
    FOLDS,
    cached_training_set,
    commit,
    mean_and_bounds,
    only_sources,
    page_head,
    real_zoo,
    sources_without,
    with_tasks,
    write_results,
)
from spider_jax.evaluation.baselines import baseline_methods, metric_methods, truth_of
from spider_jax.metrics import METRICS
from spider_jax.ranking.measures import bootstrap_interval, paired_difference, weighted_tau
from spider_jax.report.escape import Own
from spider_jax.report.tables import to_markdown
from spider_jax.spider.rerank import rerank_scores
from spider_jax.spider.spider import Spider
from spider_jax.tasks.tokens import zoo_tokens
from spider_jax.training.config import TrainConfig
from spider_jax.training.train_spider import fit, read_own
from spider_jax.zoo.store import FeatureStore

KS = (0, 1, 3, 5, 8, 10, 15, 23)
BY = ("evidence", "attention", "logme", "knn", "ridge")
TRUTH = "true accuracies (bound)"
ON_ALL = tuple(name for name, metric in METRICS.items() if metric.needs == "features")
MEASURES = ("tau", "regret@1", "regret@3")
COLUMNS = ("sorted again by", *(f"k = {k}" for k in KS))

Scores = Float64[np.ndarray, "seeds k T M"]
PerTask = dict[str, Float64[np.ndarray, " T"]]  # by measure


@dataclass(frozen=True)
class Run:
    """What to run.

    Attributes:
        out: path without suffix for .json, .md and .png.
        cache: folder that keeps the teachers' work.
        tasks: how many meta-tasks.
        seeds: how many spiders are trained per fold.
        train: the configuration.
    """

    out: Path = Path("bench/results/quality/rerank")
    cache: Path | None = None
    tasks: int = 1500
    seeds: int = 3
    train: TrainConfig = field(default_factory=lambda: TrainConfig(k_max=5))


def by_fold(zoo: FeatureStore, run: Run) -> tuple[dict[str, Scores], list[dict[str, Any]]]:
    """Every task ranked without its fold, and ranked again.

    Args:
        zoo: with all tasks.
        run: what to run.

    Returns:
        Scores by what sorted again, and what every spider chose of k on held-out source tasks.
    """
    config = with_tasks(run.train, run.tasks)
    given = cached_training_set(zoo, config, run.cache)
    shape = run.seeds, len(KS), len(zoo.tasks), len(zoo.models)
    found = {by: np.zeros(shape) for by in (*BY, TRUTH)}
    chosen = []
    for fold in FOLDS:
        sources = sources_without(zoo, fold)
        training = only_sources(given, sources)
        own = read_own(zoo, config, sources, training) if config.k_max else None
        for seed in range(run.seeds):
            spider = fit(zoo, replace(config, seed=seed), sources, training, own=own)
            chosen.append(dict(spider.description.training["looks"]))
            for task in fold:
                for by, rows in reranked(spider, zoo, task).items():
                    found[by][seed, :, zoo.tasks.index(task)] = rows
        print(f"fold {fold}: done", flush=True)
    return found, chosen


def reranked(spider: Spider, zoo: FeatureStore, task: str) -> dict[str, Float64[np.ndarray, "k M"]]:
    """Scores of one task for every k, by what sorted again.

    Args:
        spider: that was not trained on the task.
        zoo: that holds the task.
        task: its name.
    """
    tokens = zoo_tokens(zoo, task)
    first = spider.scores([tokens])[0]
    found = {}
    for by in BY:
        rows = [
            rerank_scores(spider, first, tokens, zoo, task, k=k, by=by).scores if k else first
            for k in KS
        ]
        found[by] = np.array(rows, np.float64)
    truth = np.array([zoo.accuracies[model, task] for model in spider.models])
    found[TRUTH] = np.array([by_truth(first, truth, k) for k in KS])
    return found


def by_truth(
    first: Float32[np.ndarray, " M"], truth: Float64[np.ndarray, " M"], k: int
) -> Float64[np.ndarray, " M"]:
    """Scores in which the k best models share out their own scores in their true order.

    Args:
        first: scores of the first pass.
        truth: true accuracies.
        k: how many of the best.
    """
    new, top = first.astype(np.float64), np.argsort(-first, kind="stable")[:k]
    new[top[np.argsort(-truth[top], kind="stable")]] = first[top]
    return new


def measured(
    truth: Float64[np.ndarray, "T M"], scores: Float64[np.ndarray, "seeds T M"]
) -> PerTask:
    """Each measure per task, the mean over seeds.

    Args:
        truth: true accuracies.
        scores: of a method.
    """

    def of(task: Float64[np.ndarray, " M"], score: Float64[np.ndarray, " M"]) -> list[float]:
        order = np.argsort(-score, kind="stable")
        lost = [task.max() - task[order[:n]].max() for n in (1, 3)]
        return [weighted_tau(task, score), *lost]

    table = np.array([[of(t, s) for t, s in zip(truth, run, strict=True)] for run in scores])
    return dict(zip(MEASURES, np.moveaxis(table.mean(0), -1, 0), strict=True))


def tables(
    truth: Float64[np.ndarray, "T M"],
    found: Mapping[str, Scores],
    others: Mapping[str, Float64[np.ndarray, "_ T M"]],
) -> tuple[str, dict[str, Any]]:
    """Every measure of every method.

    Args:
        truth: true accuracies.
        found: scores by what sorted again.
        others: scores of methods without the spider.

    Returns:
        Markdown, and the means as data.
    """
    by = {
        name: [measured(truth, scores[:, i]) for i in range(len(KS))]
        for name, scores in found.items()
    }
    beside = {name: measured(truth, scores) for name, scores in others.items()}
    parts, data = [], {}
    for measure in MEASURES:
        rows: list[list[object]] = [
            [name, *(mean_and_bounds(bootstrap_interval(at[measure])) for at in at_k)]
            for name, at_k in by.items()
        ]
        parts.append(f"## {measure}\n\n{to_markdown(COLUMNS, rows)}")
        rows = [
            [name, mean_and_bounds(bootstrap_interval(at[measure]))] for name, at in beside.items()
        ]
        parts.append(to_markdown(("without the spider", measure), rows))
        data[measure] = {
            "looks": {n: [float(at[measure].mean()) for at in at_k] for n, at_k in by.items()},
            "beside": {n: float(at[measure].mean()) for n, at in beside.items()},
        }
    parts.append("## Against k = 0 (paired, tau and regret@1)\n\n" + against_none(by))
    return "\n\n".join(parts), data


def against_none(by: Mapping[str, list[PerTask]]) -> str:
    """Paired differences of every k to k = 0; a regret that falls is a gain.

    Args:
        by: measures for every k, by what sorted again.
    """
    rows: list[list[object]] = []
    for name, at_k in by.items():
        for measure in MEASURES[:2]:
            row: list[object] = [f"{name}, {measure}"]
            for at in at_k[1:]:
                gap = paired_difference(at[measure], at_k[0][measure])
                row.append(Own(mean_and_bounds(gap, "+.3f") + " tie" * gap.tie))
            rows.append(row)
    return to_markdown(("sorted again by", *COLUMNS[2:]), rows)


def plot(data: Mapping[str, Any], path: Path) -> None:
    """Tau and regret at 1 against k.

    Args:
        data: of `tables`.
        path: of the picture.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4), constrained_layout=True)
    for axis, measure in zip(axes, MEASURES[:2], strict=True):
        for name, values in data[measure]["looks"].items():
            axis.plot(KS, values, marker="o", markersize=3, label=name)
        for name, style in (("logme", ":"), ("constant order", "--")):
            axis.axhline(data[measure]["beside"][name], color="grey", linestyle=style, label=name)
        axis.set(xlabel="models looked at, k", ylabel=measure)
    axes[0].legend(fontsize=7)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def main(run: Run) -> None:
    """Rank, rank again, and write the tables and the plot.

    Args:
        run: what to run.
    """
    zoo = real_zoo()
    found, chosen = by_fold(zoo, run)
    others = {
        **baseline_methods(zoo, zoo.tasks, zoo.models),
        **metric_methods(zoo, zoo.tasks, zoo.models, ON_ALL, show_progress=True),
    }
    truth = truth_of(zoo, zoo.tasks, zoo.models)
    text, data = tables(truth, found, {name: method.scores for name, method in others.items()})
    picked = {by: [spider[by]["k"] for spider in chosen] for by in chosen[0]}
    notes = [
        f"k chosen on held-out source tasks by each of {len(chosen)} spiders: {picked}",
        f"{run.seeds} seeds a fold, five folds of whole datasets; intervals: bootstrap over tasks",
        "truth: linear probe on frozen features, not fine-tuning; ridge is a probe on them too",
    ]
    page = page_head("What a look at the k best models buys", "quality/rerank", run.out)
    page += f"![tau and regret against k]({run.out.name}.png)\n\n{text}\n\n"
    page += "\n".join(f"- {note}" for note in notes) + "\n"
    content = {"commit": commit(), "device": str(jax.devices()[0]), "k": list(KS), **data}
    write_results(run.out, content | {"chosen": chosen}, page)
    plot(data, run.out.with_suffix(".png"))
    print(page)


if __name__ == "__main__":
    main(tyro.cli(Run, description=__doc__))
