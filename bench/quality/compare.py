"""How good and how honest is `compare` without a spider? Zoos of the kind that it has not seen.

    python bench/quality/compare.py

Reads $SPIDER_JAX_DATA/real_zoo and text_zoo and writes bench/results/quality/compare.json and .md.
What metrics say is learned on the text part of the embedded zoo and checked on the 23 image
models, and learned on the vision part and checked on the 24 text encoders: nothing is shared. A
third time it is learned on both parts without the task that is checked: what a user gets, but for
the models, which are known. How metrics' noise follows from their disagreement was chosen among
seven ways, one noise on every task being one of them, by the likelihood on the embedded parts,
learned on the one and checked on the other. These are cut from all tasks of real_zoo and 12 of
text_zoo, so that the 6 others, on which nothing was chosen, stand on rows of their own.

A standing is measured twice: from the mean of all models of the zoo, and among those that are
compared. No metric shows the first mean, so its intervals are wider; where all models of a zoo are
compared it is 0 by what a standing is, and they hold more than they say. The last two columns are
the mean log likelihood of standings among the models, as compare reads the noise and with one noise
on every task. Beside the order stand its metrics alone, the constant order (which `compare` cannot
know: it needs results on other tasks) and random orders. Three minutes on two cores, seconds where
scores are cached.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
import tyro
from jaxtyping import Float64

from bench.common import commit, data_folder, mean_and_bounds, page_head, write_results
from spider_jax.belief.belief import Belief
from spider_jax.belief.evidence import EvidenceModel
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
PARTS: tuple[Name, ...] = ("vision", "text")
SIZES = (None, 8, 4)  # models that are compared
NORMAL = -float(np.log(2 * np.pi)) / 2
DRAWS = 20  # of fewer models than all
WAYS = ("standing 80 %", "95 %", "among these 80 %", "95 %", "gap 80 %", "95 %")
COVERED = ("learned on", "checked on", "models", *WAYS, "likelihood", "one noise")
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


def without(name: str) -> EvidenceModel:
    """Learned on both parts of the embedded zoo, but for one task.

    Args:
        name: of the task.
    """
    parts = []
    for part in PARTS:
        zoo = embedded_zoo(part)
        kept = [i for i, task in enumerate(zoo.tasks) if task != name]
        parts.append(KnownTasks(*(values[kept] for values in known_tasks(zoo))))
    return learn_usual(parts)


def drawn(
    evidence: Sequence[EvidenceModel], known: KnownTasks, size: int | None
) -> Iterator[Drawn]:
    """Beliefs after looks, with the true standings of their models.

    Args:
        evidence: of every task.
        known: that is checked.
        size: so many models, drawn at random; None for all.
    """
    rng = np.random.default_rng(0)
    for one, metrics, truth in zip(evidence, *known, strict=True):
        standing = (truth - truth.mean()) / truth.std()
        for _ in range(1 if size is None else DRAWS):
            models = rng.permutation(len(truth))[:size]
            names = tuple(map(str, models))
            looks = {name: tuple(metrics[:, i]) for name, i in zip(names, models, strict=True)}
            yield Belief(names, prior_of(len(names)), one, looks=looks), standing[models]


def errors(found: Drawn) -> list[Float64[np.ndarray, " _"]]:
    """Errors over their deviations: of standings, of those among the models, and of gaps.

    Args:
        found: a belief and the truth.
    """
    belief, truth = found
    c, error = belief.covariance(belief.names), truth - belief.mean
    i, j = np.triu_indices(len(truth), 1)
    gap = np.sqrt(c[i, i] + c[j, j] - 2 * c[i, j])
    return [error / belief.sd, _among(found)[0], (error[i] - error[j]) / gap]


def _among(found: Drawn) -> tuple[Float64[np.ndarray, " p"], Float64[np.ndarray, " p"]]:
    """Errors of standings among the models, over their deviations; and these."""
    belief, truth = found
    centre = np.eye(len(truth)) - 1 / len(truth)
    sd = np.sqrt(np.diagonal(centre @ belief.covariance(belief.names) @ centre))
    return centre @ (truth - belief.mean) / sd, sd


def likelihood(beliefs: Sequence[Drawn]) -> float:
    """Mean log likelihood of single standings among the models, larger is better.

    Args:
        beliefs: with the truth.
    """
    found = [_among(one) for one in beliefs]
    return float(np.mean([np.mean(NORMAL - z**2 / 2 - np.log(sd)) for z, sd in found]))


def coverage(
    learned: str, asked: str, evidence: Sequence[EvidenceModel], known: KnownTasks
) -> list[Row]:
    """Rows of the first table.

    Args:
        learned: what the evidence was learned on, in words.
        asked: what is checked, in words.
        evidence: of every task.
        known: the tasks that are checked.
    """
    rows: list[Row] = []
    alike = [one._replace(varying=None) for one in evidence]
    for size in SIZES:
        beliefs = list(drawn(evidence, known, size))
        kinds = [np.abs(np.concatenate(kind)) for kind in zip(*map(errors, beliefs), strict=True)]
        bounds = [NormalDist().inv_cdf(0.5 + level / 2) for level in LEVELS]
        shares = [float((kind < bound).mean()) for kind in kinds for bound in bounds]
        fit = [likelihood(list(drawn(one, known, size))) for one in (evidence, alike)]
        rows.append([learned, asked, size or known.truth.shape[1], *shares, *fit])
    return rows


def orders(
    evidence: Sequence[EvidenceModel], asked: str, zoo: FeatureStore, known: KnownTasks
) -> list[Row]:
    """Rows of the second table.

    Args:
        evidence: of every task.
        asked: name of the zoo that is checked.
        zoo: that is checked.
        known: its tasks.
    """
    means = np.zeros(known.truth.shape)
    for row, (belief, _) in zip(means, drawn(evidence, known, None), strict=True):
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
        known, tasks = measured(zoo), zoo.tasks
        other = [learn_usual([known_tasks(embedded_zoo(learned))])] * len(tasks)
        covered += coverage(learned, asked, other, known)
        (own,) = (part for part in PARTS if part != learned)
        new = [i for i, task in enumerate(tasks) if task not in embedded_zoo(own).tasks]
        if new:
            some = KnownTasks(*(values[new] for values in known))
            covered += coverage(learned, f"{asked}, {len(new)} tasks", other[: len(new)], some)
        covered += coverage("both", asked, [without(task) for task in tasks], known)
        ordered += orders(other, asked, zoo, known)
    page = page_head("compare without a spider", "quality/compare", run.out)
    page += f"{to_markdown(COVERED, covered)}\n\n{to_markdown(ORDERED, ordered)}\n"
    content: dict[str, Any] = {"commit": commit(), "coverage": covered, "orders": ordered}
    write_results(run.out, content, page)
    print(page)


if __name__ == "__main__":
    main(tyro.cli(Run, description=__doc__))
