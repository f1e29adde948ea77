"""How good and how honest is `compare` without a spider? Zoos of the kind that it has not seen.

    python bench/quality/compare.py

Reads $SPIDER_JAX_DATA/real_zoo and text_zoo and writes bench/results/quality/compare.json and .md.
What metrics say is learned on the text part of the embedded zoo and checked on the 23 image
models, and learned on the vision part and checked on the 24 text encoders: nothing is shared.
Beside the order stand its metrics alone, the constant order (which `compare` cannot know: it needs
results on other tasks) and random orders. Three minutes on two cores, seconds where scores are
cached.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
import tyro
from jaxtyping import Bool, Float64

from bench.common import commit, data_folder, mean_and_bounds, page_head, write_results
from spider_jax.belief.belief import Belief
from spider_jax.choose.usual_evidence import METRICS, KnownTasks, known_tasks, learn_usual, prior_of
from spider_jax.evaluation.baselines import CONSTANT, baseline_methods, truth_of
from spider_jax.ranking.measures import bootstrap_interval, weighted_tau
from spider_jax.report.tables import to_markdown
from spider_jax.zoo.embedded import embedded_zoo
from spider_jax.zoo.scores import score_zoo
from spider_jax.zoo.store import FeatureStore

LEVELS = (0.8, 0.95)
Name = Literal["vision", "text"]
CASES: tuple[tuple[Name, str], ...] = (("text", "real_zoo"), ("vision", "text_zoo"))
SIZES = (None, 8, 4)  # models that are compared
DRAWS = 20  # of fewer models than all
COVERED = ("learned on", "checked on", "models", "standing 80 %", "95 %", "gap 80 %", "95 %")
ORDERED = ("checked on", "order by", "weighted tau", "accuracy lost")

Row = list[object]
Drawn = tuple[Belief, Float64[np.ndarray, " p"]]


@dataclass(frozen=True)
class Run:
    """What to run.

    Attributes:
        out: path without suffix for .json and .md.
    """

    out: Path = Path("bench/results/quality/compare")


def measured(zoo: FeatureStore) -> KnownTasks:
    """Metrics and truth of all tasks of a zoo.

    Args:
        zoo: with accuracies of all models.
    """
    values = []
    for task in zoo.tasks:
        table = score_zoo(zoo, task, METRICS)
        order = [table.models.index(model) for model in zoo.models]
        values.append(table.values[order].T)
    return KnownTasks(np.array(values), truth_of(zoo, zoo.tasks, zoo.models))


def drawn(learned: Name, known: KnownTasks, size: int | None) -> Iterator[Drawn]:
    """Beliefs after looks, with the true standings of their models.

    Args:
        learned: part of the embedded zoo.
        known: that is checked.
        size: so many models, drawn at random; None for all.
    """
    evidence = learn_usual([known_tasks(embedded_zoo(learned))])
    rng = np.random.default_rng(0)
    for metrics, truth in zip(known.metrics, known.truth, strict=True):
        standing = (truth - truth.mean()) / truth.std()
        for _ in range(1 if size is None else DRAWS):
            models = rng.permutation(len(truth))[:size]
            names = tuple(map(str, models))
            looks = {name: tuple(metrics[:, i]) for name, i in zip(names, models, strict=True)}
            yield Belief(names, prior_of(len(names)), evidence, looks=looks), standing[models]


def inside(found: Drawn, level: float) -> tuple[Bool[np.ndarray, " p"], Bool[np.ndarray, " q"]]:
    """Which standings, and which gaps of two models, lie in their intervals.

    Args:
        found: a belief and the truth.
        level: of the intervals.
    """
    belief, truth = found
    z = NormalDist().inv_cdf(0.5 + level / 2)
    c = belief.covariance(belief.names)
    i, j = np.triu_indices(len(truth), 1)
    error = truth - belief.mean
    sd = np.sqrt(c[i, i] + c[j, j] - 2 * c[i, j])
    return np.abs(error) < z * belief.sd, np.abs(error[i] - error[j]) < z * sd


def coverage(learned: Name, asked: str, known: KnownTasks) -> list[Row]:
    """Rows of the first table.

    Args:
        learned: part of the embedded zoo.
        asked: name of the zoo that is checked.
        known: its tasks.
    """
    rows: list[Row] = []
    for size in SIZES:
        beliefs = list(drawn(learned, known, size))
        parts = [[inside(found, level) for found in beliefs] for level in LEVELS]
        shares = [
            float(np.concatenate([both[kind] for both in part]).mean())
            for kind in (0, 1)
            for part in parts
        ]
        rows.append([learned, asked, size or known.truth.shape[1], *shares])
    return rows


def orders(learned: Name, asked: str, zoo: FeatureStore, known: KnownTasks) -> list[Row]:
    """Rows of the second table.

    Args:
        learned: part of the embedded zoo.
        asked: name of the zoo that is checked.
        zoo: that is checked.
        known: its tasks.
    """
    means = np.zeros(known.truth.shape)
    for row, (belief, _) in zip(means, drawn(learned, known, None), strict=True):
        row[[int(name) for name in belief.names]] = belief.mean
    methods = {"compare (posterior)": means[None]}
    methods |= {f"{m} alone": known.metrics[:, k][None] for k, m in enumerate(METRICS)}
    baselines = baseline_methods(zoo, zoo.tasks, zoo.models)
    methods |= {name: np.asarray(baselines[name].scores) for name in (CONSTANT, "random")}
    rows: list[Row] = []
    for name, scores in methods.items():
        pairs = [list(zip(known.truth, run, strict=True)) for run in scores]
        taus = np.array([[weighted_tau(t, s) for t, s in run] for run in pairs]).mean(0)
        lost = np.array([[t.max() - t[np.argmax(s)] for t, s in run] for run in pairs]).mean()
        rows.append([asked, name, mean_and_bounds(bootstrap_interval(taus)), float(lost)])
    return rows


def main(run: Run) -> None:
    """Check both directions and write the tables.

    Args:
        run: what to run.
    """
    covered: list[Row] = []
    ordered: list[Row] = []
    for learned, asked in CASES:
        zoo = FeatureStore(data_folder(asked))
        known = measured(zoo)
        covered += coverage(learned, asked, known)
        ordered += orders(learned, asked, zoo, known)
    page = page_head("compare without a spider", "quality/compare", run.out)
    page += f"{to_markdown(COVERED, covered)}\n\n{to_markdown(ORDERED, ordered)}\n"
    content: dict[str, Any] = {"commit": commit(), "coverage": covered, "orders": ordered}
    write_results(run.out, content, page)
    print(page)


if __name__ == "__main__":
    main(tyro.cli(Run, description=__doc__))
