"""How good the recall is: the best K models by past results, with a metric and without."""

import csv

import numpy as np

from bench.common import Table, data_folder, mean_and_bounds
from bench.quality.selection_replay import recall_order
from spider_jax.ranking.measures import bootstrap_interval
from spider_jax.records.performance import PastResults


def recall_table(zoo: PastResults) -> Table:
    """What the mean over the other tasks recalls: the best of K, and the mean of K.

    Args:
        zoo: past results.
    """
    rows: list[list[object]] = []
    for k in (5, 10, 15):
        lost, means, anyone = [], [], []
        for t, task in enumerate(zoo.tasks):
            final = zoo.accuracies[:, t]
            first = recall_order(zoo.without_task(task))[:k]
            lost.append(final.max() - final[first].max())
            means.append(final[first].mean())
            anyone.append(final.mean())
        gap = bootstrap_interval(lost)
        rows.append(
            [
                k,
                mean_and_bounds(gap, ".4f"),
                f"{np.mean(np.array(lost) == 0):.2f}",
                f"{np.mean(means):.4f}",
                f"{np.mean(anyone):.4f}",
            ]
        )
    return ("K", "regret of the best of K", "holds the best", "mean of K", "mean of the zoo"), rows


def leep_table(zoo: PastResults) -> Table:
    """The recalled ten's mean test score where LEEP is recorded: by prior, LEEP, and both.

    Args:
        zoo: past results.
    """
    with (data_folder("two_phase_nlp") / "leep.csv").open(newline="") as file:
        names, *lines = list(csv.reader(file))
    leeps = {line[0]: dict(zip(names[1:], map(float, line[1:]), strict=True)) for line in lines}
    rows: list[list[object]] = []
    for task in sorted(set(leeps) & set(zoo.tasks)):
        final, past = zoo.accuracies[:, zoo.tasks.index(task)], zoo.without_task(task)
        leep = np.array([leeps[task].get(m.replace("/", "--"), np.nan) for m in zoo.models])
        known = np.isfinite(leep)
        prior = past.mean_accuracies()[known]
        orders = (prior * np.exp(leep[known]), prior, leep[known])
        tops = [np.argsort(-order, kind="stable")[:10] for order in orders]
        rows.append(
            [
                task,
                int(known.sum()),
                *(f"{final[known][top].mean():.3f}" for top in tops),
                f"{final[known].mean():.3f}",
            ]
        )
    return ("target", "models", "prior x exp(LEEP)", "prior", "LEEP", "all"), rows
