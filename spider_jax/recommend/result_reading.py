"""How results of a new task are to be read: how far their order counts, how much they leave open.

Where results are heavy-tailed their order says more than their values, elsewhere less; and a result
says a standing only up to a noise, `EvidenceModel.link`. Both are chosen by what results of known
tasks, with what tasks of other groups say of them, foresee of the same tasks' other results: after
p results, some drawn at random and some of the first by the prior, the mean of

    ln N(z_i - mean_j z_j; E, V)

over the models that were not run, z their standings, so that the level of the measure is no matter.
Deviations of results not yet known are widened (`EvidenceModel.width`, `unit_error`) so that 90 %
intervals, in the measure, hold 90 % of these results after runs at random; of what does so as well
as the best, what holds most after runs of the first. Last, where the best of all is asked for,
deviations are widened (`EvidenceModel.doubt`) so that after p runs, chosen one after the other as
`acquisition` does, the best of them is the best of all as likely as it is said to be.
"""

from collections.abc import Iterator, Sequence
from itertools import product
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int

from spider_jax.belief.belief import Belief
from spider_jax.belief.decision import best_shares
from spider_jax.belief.evidence import EvidenceModel, Spread, result_observation
from spider_jax.belief.gaussian import Posterior, Standings
from spider_jax.recommend.acquisition import improvements
from spider_jax.recommend.covariance import HeldOut, Residuals

RUN = (3, 5, 10)  # p
RANKS = (0.0, 1.0, 3.0, 10.0, 30.0, np.inf)
LINKS = (0.003, 0.01, 0.03, 0.1, 0.3)
MOST_TASKS, MOST_RECORDS = 40, 100
FEWEST_TASKS = 8
HELD = 0.9  # of results not yet known, by intervals that say so
WIDTHS = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 2.5, 3.0)
DOUBTS = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0)
UNIT_ERRORS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5)
ALIKE = 0.01  # shares of intervals that hold
FEWEST_REST = 5  # models of a task that were not run


class Reading(NamedTuple):
    """How results are read.

    Attributes:
        ranks: as in `EvidenceModel`.
        link: as in `EvidenceModel`.
        error: of a result that comes without a standard error, in standard units.
        width: as in `EvidenceModel`.
        unit_error: as in `EvidenceModel`.
        doubt: as in `EvidenceModel`.
    """

    ranks: float = 3.0
    link: float = 0.1
    error: float = 0.01
    width: float = 1.0
    unit_error: float = 0.0
    doubt: float = 1.0

    def evidence(self, results: Spread, measure: str = "result") -> EvidenceModel:
        """What results say, read so.

        Args:
            results: their spread over models.
            measure: what they are.
        """
        return EvidenceModel(
            results=results,
            error=self.error * results.size,
            measure=measure,
            bounds=(-np.inf, np.inf),
            ranks=self.ranks,
            link=self.link,
            width=self.width,
            unit_error=self.unit_error,
            doubt=self.doubt,
        )


class _Case(NamedTuple):
    """A known task as if it were new.

    Attributes:
        before: what tasks of other groups say of its models.
        standing: z.
        result: as it was measured.
        run: orders in which models are run.
        weight: of the task.
    """

    before: Standings
    standing: Float64[np.ndarray, " n"]
    result: Float64[np.ndarray, " n"]
    run: tuple[Int[np.ndarray, " n"], ...]
    weight: float


def learn_reading(
    given: Residuals,
    result: Float64[np.ndarray, " n"],
    held_out: Sequence[HeldOut],
    size: Spread,
) -> Reading:
    """Choose the reading, see the module.

    Args:
        given: residuals of the known tasks.
        result: of every record, larger is better.
        held_out: groups, each with a covariance that was learned without it.
        size: spread of results over the models of a task.

    Returns:
        The reading; the default where fewer than FEWEST_TASKS tasks can tell.
    """
    cases = list(_cases(given, result, held_out))
    if len(cases) < FEWEST_TASKS:
        return Reading()
    found = _likeliest(cases, [Reading(ranks=ranks) for ranks in RANKS], size)
    found = _likeliest(cases, [found._replace(link=link) for link in LINKS], size)
    width, unit_error = _widths(cases, found.evidence(size))
    found = found._replace(width=width, unit_error=unit_error)
    return found._replace(doubt=_doubt(cases, found.evidence(size)))


def _cases(
    given: Residuals, result: Float64[np.ndarray, " n"], held_out: Sequence[HeldOut]
) -> Iterator[_Case]:
    rng = np.random.default_rng(3)
    tasks, count = np.unique(given.task, return_counts=True)
    asked = rng.permutation(tasks[count >= max(RUN) + FEWEST_REST])[:MOST_TASKS]
    groups, members = np.unique(given.group[asked], return_counts=True)
    share = dict(zip(groups.tolist(), (1 / members).tolist(), strict=True))
    for task in asked:
        group = int(given.group[task])
        without = next((one for one in held_out if group in one.groups), None)
        if without is None:
            continue
        at = rng.permutation(np.arange(*np.searchsorted(given.task, [task, task + 1])))
        at = at[:MOST_RECORDS]
        unit, models = given.unit[at], given.model[at]
        mean, moved = given.order[at] * unit, given.moved[at] * unit
        before = without.covariance.of(models).standings(mean, unit**2, mean - moved)
        yield _Case(
            before,
            mean + given.value[at] * unit,
            result[at],
            (np.arange(len(at)), np.argsort(-mean, kind="stable")),
            share[group],
        )


def _log_likelihood(case: _Case, evidence: EvidenceModel) -> float:
    total, start = 0.0, Posterior(case.before)
    for order, p in product(case.run, RUN):
        run, rest = order[:p], order[p:]
        errors = np.full(p, evidence.error)
        seen, _ = result_observation(start, evidence, run, case.result[run], errors)
        found = start.with_observation(seen)
        gap = (case.standing - found.mean)[rest]
        c = found.covariance(rest)
        variance = np.diagonal(c) - 2 * c.mean(0) + c.mean() + evidence.link
        total -= float(np.mean(np.log(variance) + (gap - gap.mean()) ** 2 / variance)) / 2
    return total / (len(case.run) * len(RUN))


def _likeliest(cases: Sequence[_Case], choices: Sequence[Reading], size: Spread) -> Reading:
    likely = [
        sum(case.weight * _log_likelihood(case, reading.evidence(size)) for case in cases)
        for reading in choices
    ]
    return choices[int(np.argmax(likely))]


class _Gaps(NamedTuple):
    """Results not yet known, after p runs of one kind, in units of the measure's unit.

    Attributes:
        size: how far they lie from what is expected.
        deviation: that is expected of it.
        far: how far the standings lie from those that were run.
    """

    size: Float64[np.ndarray, " r"]
    deviation: Float64[np.ndarray, " r"]
    far: Float64[np.ndarray, " r"]

    def held(self, width: float, unit_error: float) -> float:
        """Share of the results that an interval holds."""
        deviation = np.hypot(width * self.deviation, unit_error * self.far)
        return float(np.mean(self.size <= NormalDist().inv_cdf((1 + HELD) / 2) * deviation))


def _gaps(case: _Case, evidence: EvidenceModel, run: Int[np.ndarray, " n"], p: int) -> _Gaps:
    names = tuple(map(str, run))
    known = dict(zip(names[:p], case.result[run[:p]].tolist(), strict=True))
    seen = Belief(names, case.before.of(run), evidence).observe(known)
    gap, standing = np.abs(case.result[run] - seen.mean), seen.posterior.mean
    unit = seen.unit_size
    far = standing - standing[:p].mean()
    return _Gaps(gap[p:] / unit, seen.result_sd[p:] / unit, far[p:])


def _widths(cases: Sequence[_Case], evidence: EvidenceModel) -> tuple[float, float]:
    """How deviations must be widened, see the module."""
    gaps = [[[_gaps(c, evidence, run, p) for p in RUN] for run in c.run] for c in cases]
    weights = np.array([case.weight for case in cases])
    choices = list(product(WIDTHS, UNIT_ERRORS))
    held = np.array([[[[g.held(*x) for g in k] for k in c] for c in gaps] for x in choices])
    random, first = np.moveaxis(np.tensordot(held, weights / weights.sum(), (1, 0)), 1, 0)
    miss = np.abs(random - HELD).mean(1)
    good = np.flatnonzero(miss <= miss.min() + ALIKE)
    return choices[good[int(np.argmax(first[good].mean(1)))]]


def _doubt(cases: Sequence[_Case], evidence: EvidenceModel) -> float:
    """How much wider, where the best is asked for, see the module."""
    said = np.zeros((len(cases), len(RUN), len(DOUBTS)))
    was = np.zeros((len(cases), len(RUN), 1))
    for c, case in enumerate(cases):
        for k, (seen, best) in enumerate(_searched(case, evidence)):
            now = seen.candidates
            there = now.models == best
            wider = (now.mean + doubt * (now.draws - now.mean) for doubt in DOUBTS)
            said[c, k] = [best_shares(now._replace(draws=d))[there].sum() for d in wider]
            was[c, k] = case.result[best] >= case.result.max()
    weights = np.array([case.weight for case in cases])
    gap = np.tensordot(said - was, weights / weights.sum(), (0, 0))
    return DOUBTS[int(np.argmin(np.abs(gap).mean(0)))]


def _searched(case: _Case, evidence: EvidenceModel) -> Iterator[tuple[Belief, int]]:
    """A search for the best: what is believed after each of RUN runs, and the best of them."""
    names = tuple(map(str, range(len(case.result))))
    seen, chosen = Belief(names, case.before, evidence), list[int]()
    for p in range(1, max(RUN) + 1):
        gain = np.delete(improvements(seen), chosen)
        chosen.append(int(np.delete(np.arange(len(names)), chosen)[np.argmax(gain)]))
        seen = seen.observe({names[chosen[-1]]: float(case.result[chosen[-1]])})
        if p in RUN:
            yield seen, chosen[int(np.argmax(case.result[chosen]))]
