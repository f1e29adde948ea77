"""The real zoo, whole datasets held out: what a look at the k best models buys.

    SPIDER_JAX_DATA=... python bench/bench_rerank.py --out bench/results/rerank

Folds, truth and meta-tasks as in bench_real_zoo.py. The k best of the spider's first pass are
looked at with their own features and sorted again: by evidence (the default), by attention to their
own class centres (learned, k_max = 5), by one metric, or by the truth, which is the bound. Beside
them stand the metrics on all models. About 15 minutes on two cores, of which teachers are 5.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from numpy.typing import NDArray

from bench.quality.real_zoo import FOLDS, commit, only, taught
from spider_jax.evaluation.baselines import (
    baselines,
    metric_methods,
    target_deviations,
    target_tokens,
    truth_of,
)
from spider_jax.metrics import METRICS
from spider_jax.ranking.measures import bootstrap_interval, paired_difference, weighted_tau
from spider_jax.report.tables import to_markdown
from spider_jax.spider.rerank import rerank_scores
from spider_jax.spider.spider import Spider
from spider_jax.storage.files import write_json, write_text
from spider_jax.training.config import TrainConfig
from spider_jax.training.train_spider import fit, read_own
from spider_jax.zoo.store import FeatureStore

KS = (0, 1, 3, 5, 8, 10, 15, 23)
BY = ("evidence", "attention", "logme", "knn", "ridge")
TRUTH = "true accuracies (bound)"
ON_ALL = tuple(name for name, metric in METRICS.items() if metric.needs == "features")
MEASURES = ("tau", "regret@1", "regret@3")
COLUMNS = ("sorted again by", *(f"k = {k}" for k in KS))


@dataclass(frozen=True)
class Looks:
    """What to run.

    out: path without suffix for .json, .md and .png. cache: folder for taught tasks. tasks:
    meta-tasks. seeds: spiders trained per fold. train: the configuration.
    """

    out: Path
    cache: Path | None = None
    tasks: int = 1500
    seeds: int = 3
    train: TrainConfig = field(default_factory=lambda: TrainConfig(k_max=5))


Found = dict[str, NDArray[np.float64]]  # by sort of look, [seed, k, T, M]


def looks_of(zoo: FeatureStore, run: Looks) -> tuple[Found, list[dict[str, Any]]]:
    """Scores after every look, every task ranked without its fold; what every spider chose."""
    config = replace(run.train, tasks=replace(run.train.tasks, count=run.tasks))
    given = taught(zoo, config, run.cache)
    shape = run.seeds, len(KS), len(zoo.tasks), len(zoo.models)
    found = {by: np.zeros(shape) for by in (*BY, TRUTH)}
    chosen = []
    for fold in FOLDS:
        sources = [task for task in zoo.tasks if task not in fold]
        training = only(given, sources)
        own = read_own(zoo, config, sources, training) if config.k_max else None
        for seed in range(run.seeds):
            spider = fit(zoo, replace(config, seed=seed), sources, training, own=own)
            chosen.append(dict(spider.description.training["looks"]))
            for task in fold:
                scores = looks_at(spider, zoo, task)
                for by, rows in scores.items():
                    found[by][seed, :, zoo.tasks.index(task)] = rows
        print(f"fold {fold}: done", flush=True)
    return found, chosen


def looks_at(spider: Spider, zoo: FeatureStore, task: str) -> Found:
    """Scores [k, M] of one task by every sort of look."""
    tokens, deviations = target_tokens(zoo, task), target_deviations(zoo, task)
    first = spider.scores([tokens], [deviations])[0]
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


def by_truth(first: NDArray[np.float32], truth: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """The k best in their true order, on the places that they had."""
    new, top = first.astype(np.float64), np.argsort(-first, kind="stable")[:k]
    new[top[np.argsort(-truth[top], kind="stable")]] = first[top]
    return new


def measured(
    truth: NDArray[np.float64], scores: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Each measure per task [T], the mean over seeds of scores [seed, T, M]."""

    def of(task: NDArray[np.float64], score: NDArray[np.float64]) -> list[float]:
        order = np.argsort(-score, kind="stable")
        lost = [task.max() - task[order[:n]].max() for n in (1, 3)]
        return [weighted_tau(task, score), *lost]

    table = np.array([[of(t, s) for t, s in zip(truth, run, strict=True)] for run in scores])
    return dict(zip(MEASURES, np.moveaxis(table.mean(0), -1, 0), strict=True))


def cell(values: NDArray[np.float64]) -> str:
    """Mean and its bootstrap interval over tasks."""
    interval = bootstrap_interval(values)
    return f"{interval.mean:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def tables(
    truth: NDArray[np.float64], found: Found, others: Mapping[str, NDArray[np.float64]]
) -> tuple[str, dict[str, Any]]:
    """Markdown of every measure, and the same as data."""
    by = {
        name: [measured(truth, scores[:, i]) for i in range(len(KS))]
        for name, scores in found.items()
    }
    beside = {name: measured(truth, scores) for name, scores in others.items()}
    parts, data = [], {}
    for measure in MEASURES:
        rows: list[list[object]] = [
            [name, *(cell(at[measure]) for at in looks)] for name, looks in by.items()
        ]
        parts.append(f"## {measure}\n\n{to_markdown(COLUMNS, rows)}")
        rows = [[name, cell(at[measure])] for name, at in beside.items()]
        parts.append(to_markdown(("without the spider", measure), rows))
        data[measure] = {
            "looks": {n: [float(at[measure].mean()) for at in looks] for n, looks in by.items()},
            "beside": {n: float(at[measure].mean()) for n, at in beside.items()},
        }
    parts.append("## Against k = 0 (paired, tau and regret@1)\n\n" + against_none(by))
    return "\n\n".join(parts), data


def against_none(by: Mapping[str, list[dict[str, NDArray[np.float64]]]]) -> str:
    """Paired differences of every k to k = 0; a regret that falls is a gain."""
    rows: list[list[object]] = []
    for name, looks in by.items():
        for measure in MEASURES[:2]:
            row: list[object] = [f"{name}, {measure}"]
            for at in looks[1:]:
                d = paired_difference(at[measure], looks[0][measure])
                row.append(f"{d.mean:+.3f} [{d.low:+.3f}, {d.high:+.3f}]{' tie' * d.tie}")
            rows.append(row)
    return to_markdown(("sorted again by", *COLUMNS[2:]), rows)


def plot(data: Mapping[str, Any], path: Path) -> None:
    """Tau and regret at 1 against k."""
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


def main(run: Looks) -> None:
    """Run it and write the tables and the plot."""
    zoo = FeatureStore(Path(os.environ["SPIDER_JAX_DATA"]) / "real_zoo")
    found, chosen = looks_of(zoo, run)
    others = {
        **baselines(zoo, zoo.tasks, zoo.models),
        **metric_methods(zoo, zoo.tasks, zoo.models, ON_ALL, show_progress=True),
    }
    truth = truth_of(zoo, zoo.tasks, zoo.models)
    scores = {name: method.scores for name, method in others.items()}
    text, data = tables(truth, found, scores)
    picked = {by: [spider[by]["k"] for spider in chosen] for by in chosen[0]}
    notes = [
        f"k chosen on held-out source tasks by each of {len(chosen)} spiders: {picked}",
        f"{run.seeds} seeds a fold, five folds of whole datasets; intervals: bootstrap over tasks",
        "truth: linear probe on frozen features, not fine-tuning; ridge is a probe on them too",
    ]
    command = f"SPIDER_JAX_DATA=... python bench/bench_rerank.py --out {run.out}"
    page = f"# What a look at the k best models buys\n\n`{command}` at commit {commit()}\n\n"
    page += f"![tau and regret against k]({run.out.name}.png)\n\n{text}\n\n"
    write_text(run.out.with_suffix(".md"), page + "\n".join(f"- {note}" for note in notes) + "\n")
    content = {"commit": commit(), "device": str(jax.devices()[0]), "k": list(KS), **data}
    write_json(run.out.with_suffix(".json"), "benchmark", content | {"chosen": chosen})
    plot(data, run.out.with_suffix(".png"))
    print(page + text)


if __name__ == "__main__":
    if "SPIDER_JAX_DATA" not in os.environ:
        raise SystemExit("SPIDER_JAX_DATA must name the folder that holds real_zoo: nothing run")
    main(tyro.cli(Looks, description=__doc__))
