"""Whom to evaluate next: what a true result of each model is expected to bring for its cost.

To find the best, the expected improvement of model i over the best of the models that were run,

    EI_i = sd_i (u Phi(u) + phi(u)),   u = (mean_i - best)/sd_i,

in standard units of the posterior, divided by the cost. Before any run `best` is the mean model, so
it begins at the top of the prior; later it tries a model with a low mean where the posterior is
unsure of it. To order the rest, the variance that a result takes from all: sum_j cov_ij^2/var_i.

A result on a part of the rows comes with a standard error e. Its model may be asked for again, on
as many rows once more, where that may change who is taken: with t_i = var_i/sqrt(var_i + e^2),

    gain_i = t_i (u Phi(u) + phi(u)),   u = -|mean_i - best other|/t_i.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float64

from spider_jax.belief import decision
from spider_jax.belief.belief import Belief
from spider_jax.errors import InputError

Goal = Literal["best", "order"]
ORDERED = 4096  # models that may be chosen, and judged, where the order is the goal


class Run(NamedTuple):
    """A model that is worth a run.

    Attributes:
        model: its name.
        gain: expected gain over the best run so far; or the variance taken from all, for the order.
        best: its probability to be the best of those that can be run.
        expected: its expected result, in the belief's unit.
        sd: standard deviation of the result.
        cost: of the run.
        again: whether it was run on a part of the rows, and is worth as many again.
    """

    model: str
    gain: float
    best: float
    expected: float
    sd: float
    cost: float
    again: bool = False


def next_runs(
    belief: Belief,
    n: int = 1,
    *,
    goal: Goal = "best",
    costs: Mapping[str, float] | None = None,
    without: Collection[str] = (),
    money: float = float("inf"),
    parts: bool = False,
    excluded: Collection[str] = (),
) -> list[Run]:
    """Choose runs, the first choice first.

    A batch is chosen one after the other as if each run would bring what is expected of it: so the
    second differs from the first in what is open.

    Args:
        belief: what is known.
        n: runs at most.
        goal: "best": find the best model; "order": know the order of all.
        costs: of a run of each model; where not known, the median; none known: 1.
        without: models that cannot be run.
        money: what may be spent; a model that costs more is not chosen.
        parts: whether results with a standard error are of a part of the rows, and their models
            may be run again to find the best.
        excluded: models that are no candidates, whatever their results.

    Returns:
        At most n runs.

    Raises:
        InputError: a cost that is not positive, or an unknown model in `without`.
    """
    names, shares = belief.names, best_chances(belief, {*without, *excluded})
    price = prices(names, costs)
    open_ = np.ones(len(names), bool)
    again = [m for m in belief.results if parts and goal == "best" and _doubtful(belief, m)]
    open_[belief.positions(belief.results)] = False
    open_[belief.positions(again)] = True
    open_[belief.positions({*without, *excluded})] = False
    found: list[Run] = []
    now = belief
    while len(found) < n:
        allowed = open_ & (price <= money)
        if not allowed.any():
            break
        gain = improvements(now, excluded) if goal == "best" else reductions(now)
        worth = np.where(allowed, gain / price, -np.inf)
        equal = np.flatnonzero(worth == worth.max())  # of these the largest mean
        at = int(equal[np.argmax(now.posterior.mean[equal])])
        found.append(
            Run(
                names[at],
                float(gain[at]),
                float(shares[at]),
                float(belief.mean[at]),
                float(belief.result_sd[at]),
                float(price[at]),
                names[at] in belief.results,
            )
        )
        open_[at], money = False, money - price[at]
        if len(found) < n and names[at] not in belief.results:
            now = now.observe({names[at]: _expected_result(now, at)})
    return found


def improvements(belief: Belief, excluded: Collection[str] = ()) -> Float64[np.ndarray, " M"]:
    """Expected improvement of every model over the best that was run, in standard units.

    Args:
        belief: what is known; before any run, the improvement over the mean model. Of a model that
            was run, what as many rows again would gain.
        excluded: models that are no candidates: the best run is one of the others.
    """
    from scipy.stats import norm  # slow to import

    mean = belief.posterior.mean
    sd = np.sqrt(np.maximum(belief.posterior.variances, 1e-18))
    able = [model for model in belief.results if model not in excluded]
    run = belief.positions(able)
    best = float(mean[run].max()) if len(run) else float(mean.mean())
    gap = mean - best
    for at, model in zip(run, able, strict=True):
        others = mean[run[run != at]]
        gap[at] = -abs(mean[at] - others.max()) if len(others) else 0.0
        error = belief.results[model][1] / belief.result_unit
        sd[at] = sd[at] ** 2 / np.sqrt(sd[at] ** 2 + error**2)
    u = gap / sd
    gain = np.asarray(sd * (u * norm.cdf(u) + norm.pdf(u)))
    gain[belief.positions([m for m in belief.results if not _doubtful(belief, m)])] = 0
    return gain


def _doubtful(belief: Belief, model: str) -> bool:
    """Whether a result came with a standard error: on a part of the rows."""
    return belief.results[model][1] > belief.evidence.error


def reductions(belief: Belief) -> Float64[np.ndarray, " M"]:
    """Variance that a result of every model takes from all, itself too; 0 beyond ORDERED models.

    Args:
        belief: what is known.
    """
    variance = belief.posterior.variances
    some = np.argsort(-variance, kind="stable")[:ORDERED]
    covariance = belief.posterior.covariance(some)
    own = np.diagonal(covariance) + belief.evidence.link
    found = np.zeros(len(variance))
    found[some] = (covariance**2).sum(1) / np.maximum(own, 1e-18)
    return found


def stop_loss(belief: Belief, without: Collection[str] = ()) -> float:
    """What stopping now is expected to lose: the best model less the best that was run.

    Args:
        belief: what is known.
        without: models that cannot be run, and so are no loss.

    Returns:
        In standard units, at least 0; of the first model where nothing was run.
    """
    able = usable(belief, without)
    if not len(able.models):
        return 0.0
    own = float(able.mean.max())
    run = [model for model in belief.results if model not in without]
    if run:
        best = max(run, key=lambda m: belief.results[m][0])
        own = float(belief.posterior.mean[belief.positions([best])[0]])
    return max(0.0, decision.expected_best(able) - own)


def usable(belief: Belief, without: Collection[str] = ()) -> decision.Candidates:
    """The models that may be the best of those that can be run.

    Args:
        belief: what is known.
        without: models that cannot be run.
    """
    found = belief.candidates
    kept = ~np.isin(found.models, belief.positions(without))
    return decision.Candidates(found.models[kept], found.mean[kept], found.draws[:, kept])


def best_chances(belief: Belief, without: Collection[str] = ()) -> Float64[np.ndarray, " M"]:
    """Probability of every model to be the best of those that can be run.

    Args:
        belief: what is known.
        without: models that cannot be run.
    """
    found, able = np.zeros(len(belief.names)), usable(belief, without)
    if len(able.models):
        found[able.models] = decision.best_shares(able)
    return found


def prices(names: Sequence[str], costs: Mapping[str, float] | None) -> Float64[np.ndarray, " M"]:
    """What a run of each model costs; where not known, the median of the known ones, else 1.

    Args:
        names: of the models.
        costs: by model; of some of them, NaN where not known.

    Raises:
        InputError: a cost that is not positive.
    """
    if not costs:
        return np.ones(len(names))
    found = np.array([costs.get(name, np.nan) for name in names], np.float64)
    known = found[~np.isnan(found)]
    if not (np.isfinite(known) & (known > 0)).all():
        bad = known[~(np.isfinite(known) & (known > 0))][0]
        raise InputError(f"the cost of a run must be positive, got {bad}")
    return np.where(np.isnan(found), np.median(known) if len(known) else 1.0, found)


def _expected_result(belief: Belief, at: int) -> float:
    """The expected result of a model in the measure; any level where none is known yet."""
    if belief.in_measure:
        return float(belief.mean[at])
    known = list(belief.results.values())
    level = known[0][0] if known else 0.0
    run = next(iter(belief.results), belief.names[at])
    gap = belief.posterior.mean[at] - belief.posterior.mean[belief.positions([run])[0]]
    return float(level + belief.evidence.results.size * gap)
