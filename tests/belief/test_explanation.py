"""What each source moved: it adds up, and it is what conditioning does, in any order."""

import numpy as np
import pytest

from spider_jax.belief.belief import Belief
from spider_jax.belief.evidence import EvidenceModel, MetricNoise, Spread, metric_observation
from spider_jax.belief.explanation import Part, Stage, explain, grouped_parts
from spider_jax.belief.gaussian import Observation, Posterior, Standings

NAMES = tuple("abcdefg")
NOISE = MetricNoise(
    np.array([0.9, 0.6, 0.7]),
    np.array([[0.2, 0.1, 0.0], [0.1, 0.6, 0.1], [0.0, 0.1, 0.4]]),
    np.array([0.1, 5.0, 1.0]),
    np.full(3, 3.0),
)
EVIDENCE = EvidenceModel(("logme", "knn", "ridge"), NOISE, Spread(0.08, 2.0), 0.01)


def some_belief(seed: int, looks: int = 0, results: int = 0, ranks: float = np.inf) -> Belief:
    """Seven models; the metrics of every third look are not whole."""
    rng = np.random.default_rng(seed)
    prior = Standings(rng.normal(size=7), rng.normal(size=(7, 2)), rng.uniform(0.2, 1, 7), 0.5)
    values = rng.normal(size=(7, 3)) * [0.1, 5, 1]
    values[2::3, rng.integers(3)] = np.nan
    seen = {NAMES[i]: tuple(values[i].tolist()) for i in rng.permutation(7)[:looks]}
    belief = Belief(NAMES, prior, EVIDENCE._replace(ranks=ranks), looks=seen)
    said = {NAMES[i]: float(rng.uniform()) for i in rng.permutation(7)[:results]}
    return belief.observe(said, standard_error=0.02) if said else belief


KINDS = [(0, 0), (1, 0), (4, 0), (7, 0), (0, 1), (0, 2), (0, 5), (1, 1), (5, 3), (7, 7)]
every = pytest.mark.parametrize(("looks", "results"), KINDS)


@every
def test_what_moved_adds_up_to_the_posterior_mean(looks: int, results: int) -> None:
    for seed, ranks in ((looks, np.inf), (results + 10, 4.0)):
        belief = some_belief(seed, looks, results, ranks)
        for model in NAMES:
            found, at = explain(belief, model), NAMES.index(model)
            assert len(found.steps) == 1 + (looks > 0) + (results > 0)
            total = sum(step.moved for step in found.steps)
            np.testing.assert_allclose(total, belief.posterior.mean[at], rtol=0, atol=1e-8)
            last = found.steps[-1]
            np.testing.assert_allclose(last.mean, belief.posterior.mean[at], rtol=0, atol=1e-8)
            variance = belief.posterior.variances[at]
            np.testing.assert_allclose(last.sd**2, variance, rtol=0, atol=1e-8)
            for step in found.steps[1:]:
                assert step.parts
                moved = sum(part.moved for part in step.parts)
                np.testing.assert_allclose(moved, step.moved, rtol=0, atol=1e-6)
            assert (found.mean, found.sd) == (belief.mean[at], belief.sd[at])


def test_a_part_is_how_far_the_mean_follows_that_value() -> None:
    """By differences: a linear mean moves by w for a value that moves by 1."""
    belief = some_belief(3, looks=5)
    models = belief.positions(belief.looks)
    values = np.array(list(belief.looks.values()))
    prior = Posterior(belief.prior)
    seen = metric_observation(prior, NOISE, models, values)

    def mean(moved: Observation) -> np.ndarray:
        return prior.with_observation(moved).mean

    for model in NAMES:
        at, others = NAMES.index(model), 0.0
        for j in range(5):
            step = np.eye(5)[j]
            slope = mean(seen._replace(values=seen.values + step)) - mean(seen)
            surprise = seen.values[j] - belief.prior.mean[models[j]]
            others += slope[at] * surprise * (models[j] != at)
        (last,) = [p for p in explain(belief, model).steps[1].parts if p.what.startswith("those")]
        np.testing.assert_allclose(last.moved, others, rtol=0, atol=1e-6)


def test_a_metric_that_a_model_lacks_has_no_part() -> None:
    belief = some_belief(1, looks=7)
    for model, values in belief.looks.items():
        parts = [p.what for p in explain(belief, model).steps[1].parts]
        has = [m for m, v in zip(EVIDENCE.metrics, values, strict=True) if np.isfinite(v)]
        assert parts == [*(f"its {metric}" for metric in has), "those of 6 other models"]


@every
def test_the_order_of_the_models_changes_nothing(looks: int, results: int) -> None:
    belief = some_belief(5, looks, results)
    order = np.random.default_rng(2).permutation(7)
    names = tuple(NAMES[i] for i in order)
    other = Belief(
        names, belief.prior.of(order), EVIDENCE, looks=belief.looks, results=belief.results
    )
    for model in NAMES:
        one, two = explain(belief, model), explain(other, model)
        assert [s.source for s in one.steps] == [s.source for s in two.steps]
        for a, b in zip(one.steps, two.steps, strict=True):
            np.testing.assert_allclose(a[1:4], b[1:4], rtol=0, atol=1e-7)
        assert [m.model for m in one.neighbours] == [m.model for m in two.neighbours]


def test_neighbours_are_those_of_the_ranking() -> None:
    belief = some_belief(4, looks=4, results=3)
    ranking = belief.rank()
    for model in NAMES:
        found = explain(belief, model)
        assert ranking.names[found.place - 1] == model
        wanted = {1, *range(found.place - 2, found.place + 3)} - {found.place}
        assert [one.place for one in found.neighbours] == sorted(wanted & set(range(1, 8)))
        for one in found.neighbours:
            assert one.model == ranking.names[one.place - 1]
            assert one.better == belief.probability_above(model, one.model)
            assert (one.gap >= 0) == (one.place > found.place)


def test_stages_of_a_prior_are_steps_before_what_is_seen() -> None:
    belief = some_belief(6, looks=3)
    constant = np.linspace(-1, 1, 7)
    stages = (
        Stage("constant order", constant, np.ones(7)),
        Stage(
            "tasks", belief.prior.mean, belief.prior.variances(), lambda i: [Part("t", float(i))]
        ),
    )
    found = explain(belief, "c", stages)
    assert [s.source for s in found.steps] == ["constant order", "tasks", "metrics"]
    assert found.steps[0].moved == constant[2]
    assert found.steps[1].moved == belief.prior.mean[2] - constant[2]
    assert found.steps[1].parts == (Part("t", 2.0),)
    some = stages[1].of(np.array([4, 1]))
    assert some.mean.tolist() == belief.prior.mean[[4, 1]].tolist()
    assert some.parts is not None
    assert list(some.parts(0)) == [Part("t", 4.0)]


def test_known_tasks_of_one_name_are_one_part_and_all_add_up() -> None:
    names, rng = [f"t{i % 8}" for i in range(40)], np.random.default_rng(0)
    weights, moves = rng.normal(size=(2, 40))
    parts = grouped_parts(names, weights, moves, most=3)
    assert len(parts) == 4
    assert parts[-1].what == "5 other tasks"
    np.testing.assert_allclose(sum(p.moved for p in parts), moves.sum(), rtol=1e-12)
    sums = {n: weights[[m == n for m in names]].sum() for n in set(names)}
    assert [p.what for p in parts[:3]] == sorted(sums, key=lambda n: -sums[n])[:3]
    assert len(grouped_parts(names, weights, moves, most=8)) == 8


def test_an_unknown_model_is_one_line(refused) -> None:
    with refused("'zebra'"):
        explain(some_belief(0), "zebra")
