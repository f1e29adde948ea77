"""How results are read: learned from known tasks, checked on results of a known kind."""

import numpy as np
import pytest

from spider_jax.belief.belief import Belief
from spider_jax.belief.evidence import EvidenceModel, ResultScale, Spread
from spider_jax.belief.factors import Factors
from spider_jax.recommend.acquisition import next_runs
from spider_jax.recommend.covariance import Covariance, HeldOut, Residuals
from spider_jax.recommend.result_reading import DOUBTS, LINKS, RANKS, Reading, learn_reading

M, T = 18, 16
LOADINGS = np.random.default_rng(5).normal(size=(M, 2))
COVARIANCE = Covariance(
    Factors(LOADINGS, np.full(M, 0.1)), np.zeros((M, 0)), np.array([1, 1e-9, 0, 0, 1e-9])
)
EVERYONE = (HeldOut(np.arange(T), COVARIANCE),)


def tasks_of(rng, shown, noise=0.0):
    """Residuals of T tasks whose standings differ as COVARIANCE says, and results shown of them."""
    order = rng.normal(size=M)
    standing = order + rng.normal(size=(T, 2)) @ LOADINGS.T + np.sqrt(0.1) * rng.normal(size=(T, M))
    result = shown(standing + noise * rng.normal(size=(T, M)))
    task, model = (x.ravel() for x in np.mgrid[:T, :M])
    unit, same = np.ones(T * M), np.tile(order, T)
    value = (standing - order).ravel()
    given = Residuals(model, task, np.arange(T), value, same, 0 * same, unit, M)
    return given, result.ravel(), Spread.of(result.std(1))


def test_values_are_read_where_they_are_the_standings_and_ranks_where_tails_are_heavy(rng):
    plain = learn_reading(*arranged(tasks_of(rng, lambda y: 40 + 7 * y)))
    assert plain.ranks >= 10
    heavy = learn_reading(*arranged(tasks_of(rng, lambda y: np.sinh(3 * y))))
    assert heavy.ranks <= 1


def arranged(given):
    residuals, result, size = given
    return residuals, result, EVERYONE, size


def test_what_results_leave_open_is_seen(rng):
    found = [learn_reading(*arranged(tasks_of(rng, lambda y: y, noise))) for noise in (0.0, 1.0)]
    assert found[0].link < found[1].link


@pytest.mark.parametrize(
    "shown", [lambda y: 5 * y, lambda y: np.sinh(2 * y)], ids=["plain", "wide"]
)
def test_intervals_hold_on_further_tasks_of_the_kind(rng, shown):
    reading = learn_reading(*arranged(tasks_of(rng, shown)))
    given, result, size = tasks_of(rng, shown)
    names = tuple(map(str, range(M)))
    held = []
    for t in range(T):
        at = slice(t * M, (t + 1) * M)
        prior = COVARIANCE.standings(given.order[at], np.ones(M), given.order[at])
        run = rng.permutation(M)[:6]
        known = {names[i]: float(result[at][i]) for i in run}
        seen = Belief(names, prior, reading.evidence(size)).observe(known)
        rest = np.setdiff1d(np.arange(M), run)
        gap = np.abs(result[at] - seen.mean)[rest]
        held.append(np.mean(gap < 1.645 * seen.result_sd[rest]))
    assert 0.83 < np.mean(held) < 0.97


def test_few_tasks_leave_the_default(rng):
    given, result, size = tasks_of(rng, lambda y: y)
    some = given.task < 7
    few = given._replace(
        **{n: getattr(given, n)[some] for n in ("model", "task", "value", "order", "moved", "unit")}
    )
    assert learn_reading(few, result[some], EVERYONE, size) == Reading()
    assert learn_reading(given, result, (), size) == Reading()


def test_a_reading_is_among_the_choices_and_says_what_evidence_is(rng):
    found = learn_reading(*arranged(tasks_of(rng, np.tanh)))
    assert found.ranks in RANKS
    assert found.link in LINKS
    assert found.doubt in DOUBTS
    said = found.evidence(Spread(4.0, 2.0), "accuracy")
    assert (said.measure, said.error, said.width) == ("accuracy", 0.04, found.width)
    assert said.doubt == found.doubt
    assert said.results == Spread(4.0, 2.0)


def test_deviations_of_results_are_the_formula(rng):
    mean, variance = rng.normal(size=5), rng.uniform(0.1, 1, 5)
    run = np.array([1, 3])
    evidence = EvidenceModel(link=0.2, width=1.5, unit_error=0.7)
    found = ResultScale(3.0, 1.0, 1.2).deviations(evidence, mean, variance, run)
    far = mean - (mean[1] + mean[3]) / 2
    expected = [
        3 * np.sqrt(1.2**2 * 1.5**2 * (v + 0.2) + 0.49 * f**2)
        for v, f in zip(variance, far, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def searched(reading, tasks):
    """That the best of five runs is the best of all: as it is said, and as it is."""
    given, result, size = tasks
    names = tuple(map(str, range(M)))
    prior = COVARIANCE.standings(given.order[:M], np.ones(M), given.order[:M])
    found = []
    for own in result.reshape(T, M):
        seen = Belief(names, prior, reading.evidence(size))
        for _ in range(5):
            (run,) = next_runs(seen)
            seen = seen.observe({run.model: float(own[int(run.model)])})
        best = max(seen.results, key=lambda m: own[int(m)])
        found.append((seen.probability_best()[best], own[int(best)] == own.max()))
    return np.mean(found, axis=0)


def test_where_models_excel_that_nothing_foretells_the_best_is_doubted(rng):
    def with_a_surprise(y):
        return y + 12.0 * (np.arange(M) == rng.integers(0, M, (T, 1)))

    reading = learn_reading(*arranged(tasks_of(rng, with_a_surprise)))
    assert reading.doubt > 1
    further = tasks_of(rng, with_a_surprise)
    doubted, true = searched(reading, further)
    sure, _ = searched(reading._replace(doubt=1.0), further)
    assert abs(doubted - true) < abs(sure - true)
