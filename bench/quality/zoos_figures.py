"""What zoos.py measures: how well methods rank, and whether beliefs are as sure as they can be.

Every figure compares what is said of held-out tasks with what is true there.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64
from scipy.optimize import minimize_scalar
from scipy.special import ndtr, ndtri, softmax

from bench.common import Table, bounds, mean_and_bounds
from spider_jax.belief.belief import Belief
from spider_jax.evaluation.baselines import CONSTANT, Method
from spider_jax.ranking.aggregate import z_scores
from spider_jax.ranking.measures import (
    Interval,
    PairedDifference,
    bootstrap_interval,
    paired_difference,
    regret,
    weighted_tau,
)
from spider_jax.report.escape import Own

LEVELS = (0.5, 0.9)  # of intervals, in the table
DRAWN_LEVELS = (0.25, 0.5, 0.75, 0.9)  # and in the plot
BANDS = {  # of the probability of a pair's likelier order
    ".75 to .85": (0.75, 0.85),
    ".925 to .975": (0.925, 0.975),
    ".8 or more": (0.8, np.inf),
    ".95 or more": (0.95, np.inf),
}
EDGES = (*np.linspace(0.5, 0.95, 10), np.inf)  # of the bins in the plot
FEWEST = 20  # pairs of a point in the plot
RESAMPLES = 10_000
LOG_TEMPERATURES = (-4.0, 4.0)

Truth = Float64[np.ndarray, "T M"]  # true accuracies
Probabilities = Float64[np.ndarray, "T M"]  # to be the best
PerTask = Float64[np.ndarray, " T"]
Figures = Mapping[str, Mapping[str, Any]]  # `calibration` by zoo and looks


class Said(NamedTuple):
    """What a belief says of one task, and what is true there.

    Attributes:
        off: distance of every model's true standing from its mean, in its deviations.
        sure: probability of the likelier order of every pair that is not tied in truth.
        right: whether that order is the true one.
        best: probability of every model to be the best.
        is_best: 1 for the truly best model; tied ones share it.
        loss: of the first model, as it is expected and as it is found, in standard units.
    """

    off: Float64[np.ndarray, " M"]
    sure: Float64[np.ndarray, " P"]
    right: Bool[np.ndarray, " P"]
    best: Float64[np.ndarray, " M"]
    is_best: Float64[np.ndarray, " M"]
    loss: tuple[float, float]


def said_of(belief: Belief, accuracies: Float64[np.ndarray, " M"]) -> Said:
    """Compare a belief with the truth.

    Args:
        belief: without results, so that it speaks in standard units.
        accuracies: true ones, in the order of its models.
    """
    truth, mean = z_scores(accuracies), belief.mean
    covariance = belief.covariance(belief.names)
    i, j = np.triu_indices(len(mean), 1)
    untied = truth[i] != truth[j]
    i, j = i[untied], j[untied]
    variance = covariance[i, i] + covariance[j, j] - 2 * covariance[i, j]
    gap = mean[i] - mean[j]
    by_name = belief.probability_best()
    return Said(
        np.abs(truth - mean) / belief.sd,
        ndtr(np.abs(gap) / np.sqrt(np.maximum(variance, 1e-12))),
        (gap > 0) == (truth[i] > truth[j]),
        np.array([by_name[name] for name in belief.names]),
        shares_of_best(truth),
        (belief.expected_loss(), float(truth.max() - truth[mean.argmax()])),
    )


def shares_of_best(truth: Float64[np.ndarray, " M"]) -> Float64[np.ndarray, " M"]:
    """1 for the best model, shared by those that tie.

    Args:
        truth: of every model.

    >>> shares_of_best(np.array([0.5, 0.9, 0.9])).tolist()
    [0.0, 0.5, 0.5]
    """
    best = truth == truth.max()
    return np.asarray(best / best.sum())


def brier(best: Probabilities, is_best: Probabilities) -> PerTask:
    """Squared error of the probability to be the best, summed over models.

    Args:
        best: probability of every model.
        is_best: 1 for the best.
    """
    return np.asarray(((best - is_best) ** 2).sum(-1))


# ---- the constant order as probabilities -------------------------------------------------------


def constant_order(truth: Truth, sources: Sequence[int]) -> Float64[np.ndarray, " M"]:
    """Mean over source tasks of the models' z-scored true accuracies.

    Args:
        truth: of all tasks.
        sources: places of the source tasks.
    """
    return np.asarray(z_scores(truth[list(sources)]).mean(0))


def softmax_of_constant(truth: Truth, groups: Sequence[Sequence[int]]) -> Probabilities:
    """Probabilities to be the best, from constant orders; every group's from the other groups.

    The temperature has the least Brier score on the source tasks, each ranked without its group.

    Args:
        truth: of all tasks.
        groups: places of tasks that are held out together.
    """
    found = np.zeros(truth.shape)
    for out in groups:
        others = [group for group in groups if group is not out]
        sources = [task for group in others for task in group]
        without = {t: [s for s in sources if s not in group] for group in others for t in group}
        inner = np.array([constant_order(truth, without[task]) for task in sources])
        best = np.array([shares_of_best(truth[task]) for task in sources])

        def mean_brier(log_t: float, inner: Truth = inner, best: Truth = best) -> float:
            return float(brier(softmax(inner / np.exp(log_t), axis=-1), best).mean())

        log_t = minimize_scalar(mean_brier, bounds=LOG_TEMPERATURES, method="bounded").x
        found[list(out)] = softmax(constant_order(truth, sources) / np.exp(log_t))
    return found


# ---- calibration -----------------------------------------------------------------------------


def pairs(said: Sequence[Sequence[Said]], low: float, high: float) -> dict[str, Any]:
    """Pairs whose likelier order has a probability in a band: what is said, and what is right.

    The interval draws tasks, since the pairs of one task are not independent.

    Args:
        said: of every seed and task.
        low: least probability.
        high: probabilities are below it.

    Returns:
        Mean probability, share right with its interval, pairs per seed.
    """
    every = [(s, (s.sure >= low) & (s.sure < high)) for run in said for s in run]
    sums = np.array([(s.right[m].sum(), s.sure[m].sum(), m.sum()) for s, m in every], np.float64)
    by_task = sums.reshape(len(said), -1, 3).sum(0)
    right, sure, count = by_task.sum(0)
    drawn = np.random.default_rng(0).integers(len(by_task), size=(RESAMPLES, len(by_task)))
    hits, _, counts = by_task[drawn].sum(1).T
    ends = np.quantile(hits[counts > 0] / counts[counts > 0], (0.025, 0.975)) if count else (0, 1)
    share = Interval(float(right / max(count, 1)), *map(float, ends))
    return {"said": float(sure / max(count, 1)), "right": share, "pairs": float(count / len(said))}


def calibration(said: Sequence[Sequence[Said]], by_constant: Probabilities) -> dict[str, Any]:
    """Everything that tables and plot show of one zoo's beliefs after some looks.

    Args:
        said: of every seed and task.
        by_constant: see `softmax_of_constant`.
    """
    is_best = np.array([s.is_best for s in said[0]])
    own = np.mean([[brier(s.best, s.is_best) for s in run] for run in said], 0)
    other = brier(by_constant, is_best)
    expected, found = np.mean([[s.loss for s in run] for run in said], 0).T
    inside = {}
    for level in sorted({*LEVELS, *DRAWN_LEVELS}):
        half = ndtri((1 + level) / 2)
        shares = np.mean([[(s.off <= half).mean() for s in run] for run in said], 0)
        inside[str(level)] = bootstrap_interval(shares)
    return {
        "inside": inside,
        "pairs": {name: pairs(said, *band) for name, band in BANDS.items()},
        "bins": [pairs(said, *ends) for ends in pairwise(EDGES)],
        "brier": {
            "belief": float(own.mean()),
            "softmax of the constant order": float(other.mean()),
            "uniform": float(brier(np.full(is_best.shape, 1 / is_best.shape[1]), is_best).mean()),
            "belief - softmax": paired_difference(own, other),
        },
        "loss": {
            "said": float(expected.mean()),
            "found": float(found.mean()),
            "said - found": paired_difference(expected, found),
        },
    }


def plain(value: Any) -> Any:
    """Figures as JSON has them, named tuples as objects.

    Args:
        value: of any depth.
    """
    if isinstance(value, Interval | PairedDifference):
        return value._asdict()
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


# ---- tables and plot -------------------------------------------------------------------------


def _table(rows: Sequence[Mapping[str, object]]) -> Table:
    return tuple(rows[0]), [list(row.values()) for row in rows]


def _difference(gap: PairedDifference) -> Own:
    return Own(mean_and_bounds(gap, "+.3f") + " tie" * gap.tie)


def methods_table(
    truth: Truth, methods: Mapping[str, Method], looks: Mapping[str, float]
) -> tuple[Table, dict[str, Any]]:
    """Every method on one zoo, and the same as data.

    Args:
        truth: true accuracies.
        methods: their scores, the constant order among them.
        looks: mean number of models looked at, by method.
    """
    measured = {
        name: [
            np.mean([[f(t, s) for t, s in zip(truth, run, strict=True)] for run in scores], 0)
            for f in (weighted_tau, regret)
        ]
        for name, (scores, _) in methods.items()
    }
    rows: list[dict[str, object]] = []
    data: dict[str, dict[str, Any]] = {}
    for name, own in measured.items():
        tau, lost = map(bootstrap_interval, own)
        gaps = [paired_difference(a, b) for a, b in zip(own, measured[CONSTANT], strict=True)]
        versus = [Own("-") if name == CONSTANT else _difference(gap) for gap in gaps]
        row: dict[str, object] = {"method": name, "reads of the target": methods[name].reads}
        row["looks"] = Own(f"{looks[name]:.1f}" if name in looks else "-")
        row |= {"weighted tau": tau.mean, "95 % interval": bounds(tau), "regret@1": lost.mean}
        row |= {"tau against the constant order": versus[0], "regret against it": versus[1]}
        rows.append(row)
        data[name] = {"looks": looks.get(name), "weighted_tau": tau, "regret": lost}
        data[name] |= {"tau_to_constant": gaps[0], "regret_to_constant": gaps[1]}
    return _table(rows), data


def summary(data: Mapping[str, Mapping[str, Any]]) -> Table:
    """Weighted tau and regret@1 of every method on every zoo.

    Args:
        data: of `methods_table`, by zoo.
    """

    def cell(of: Mapping[str, Any]) -> Own:
        return Own(f"{of['weighted_tau'].mean:.3f}, {of['regret'].mean:.3f}")

    names = next(iter(data.values()))
    return _table([{"method": n} | {zoo: cell(by[n]) for zoo, by in data.items()} for n in names])


def sureness_table(found: Figures) -> Table:
    """Intervals of single models, and orders of pairs.

    Args:
        found: by zoo and looks.
    """
    rows = []
    for zoo, k, one in ((zoo, k, one) for zoo, by in found.items() for k, one in by.items()):
        row: dict[str, object] = {"zoo": zoo, "looks": k}
        for level in LEVELS:
            row[f"inside {level * 100:.0f} %"] = mean_and_bounds(one["inside"][str(level)], ".2f")
        for name, band in one["pairs"].items():
            right = mean_and_bounds(band["right"])
            row[f"pairs said {name}"] = Own(f"{band['said']:.3f}: {right}, n {band['pairs']:.0f}")
        rows.append(row)
    return _table(rows)


def best_table(found: Figures) -> Table:
    """Brier scores of the probability to be the best, and the expected loss.

    Args:
        found: by zoo and looks.
    """
    rows = []
    for zoo, k, one in ((zoo, k, one) for zoo, by in found.items() for k, one in by.items()):
        row: dict[str, object] = {"zoo": zoo, "looks": k}
        for what in ("brier", "loss"):
            for name, value in one[what].items():
                shown = _difference(value) if isinstance(value, PairedDifference) else value
                row[f"{what}: {name}"] = shown
        rows.append(row)
    return _table(rows)


def plot(found: Figures, path: Path) -> None:
    """Reliability of pairs before and after all looks, and coverage of the intervals.

    Args:
        found: by zoo and looks.
        path: of the picture.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(14, 4.6), constrained_layout=True)
    for place, (zoo, by) in enumerate(found.items()):
        colour = f"C{place}"
        for axis, k in zip(axes, ("0", "all"), strict=False):
            some = [one for one in by[k]["bins"] if one["pairs"] >= FEWEST]
            right = [one["right"].mean for one in some]
            axis.plot([one["said"] for one in some], right, "o-", ms=4, color=colour, label=zoo)
        for k, fill, aside in (("0", colour, 0.0), ("all", "white", 0.008)):
            for level in DRAWN_LEVELS:
                share = by[k]["inside"][str(level)]
                at = level + (place - (len(found) - 1) / 2) * 0.02 + aside
                bars = [[share.mean - share.low], [share.high - share.mean]]
                axes[2].errorbar(at, share.mean, bars, fmt="o", ms=5, color=colour, mfc=fill, lw=1)
    for fill, label in (("grey", "k = 0"), ("white", "k = all")):
        axes[2].plot([], [], "o", color="grey", mfc=fill, label=label)
    for axis in axes:
        axis.plot([0, 1], [0, 1], "--", color="grey", lw=1)
        axis.legend(fontsize=8, loc="lower right")
    for axis, k in zip(axes, ("k = 0", "all models looked at"), strict=False):
        axis.set(title=f"order of pairs, {k}", xlim=(0.49, 1.01), ylim=(0.4, 1.02))
        axis.set(xlabel="said probability", ylabel="share right")
    axes[2].set(title="intervals of single models", xlim=(0.15, 1), ylim=(0.1, 1.02))
    axes[2].set(xlabel="level", ylabel="share of true standings inside", xticks=DRAWN_LEVELS)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)
