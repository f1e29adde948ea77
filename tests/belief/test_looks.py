"""Looks at models of a zoo, one of them broken."""

from dataclasses import replace

import numpy as np
import pytest

from spider_jax.belief.belief import Belief
from spider_jax.belief.evidence import EvidenceModel, MetricNoise, Spread
from spider_jax.belief.gaussian import Standings
from spider_jax.metrics import gbc, logme
from spider_jax.zoo.store import FeatureStore
from support.references.beliefs import conditioned, dense_prior
from support.small_zoo import SMALL_MODELS, put

TASK = "birds"
OTHER = "cars"
METRICS = ("logme", "gbc")
NOISE = MetricNoise(
    np.array([0.9, 0.6]), np.array([[0.2, 0.1], [0.1, 0.6]]), np.array([0.3, 50.0]), np.full(2, 1e9)
)
NAMES = ("middle", "narrow", "psi", "stranger", "wide")  # of which the zoo lacks one


def belief_of(metrics=METRICS, noise=NOISE, names=NAMES, spread=0.1):
    rng = np.random.default_rng(0)
    M = len(names)
    prior = Standings(spread * rng.normal(size=M), np.ones((M, 1)), rng.uniform(0.5, 1, M), 1.0)
    return Belief(names, prior, EvidenceModel(metrics, noise, Spread(0.1, 2.0)), task=TASK)


@pytest.fixture
def zoo(small_zoo):
    """A zoo in which the features of `narrow` on the task are not finite."""
    shape = FeatureStore(small_zoo).features("narrow", TASK).shape
    put(small_zoo, f"features/narrow/{TASK}", np.full(shape, np.nan, np.float32))
    return FeatureStore(small_zoo)


def test_a_look_is_the_metrics_of_the_models_own_features(zoo):
    start = belief_of()
    after = start.look(zoo, TASK, ["wide", "middle"])
    assert set(after.looks) == {"wide", "middle"}
    labels = zoo.labels(TASK)
    for model, (one, two) in after.looks.items():
        features = zoo.features(model, TASK)
        assert one == pytest.approx(float(logme(features, labels)), rel=1e-6)
        assert two == pytest.approx(float(gbc(features, labels)), rel=1e-6)
    assert start.looks == {}
    assert after.problems == start.problems == ()
    assert np.abs(after.mean - start.mean).max() > 0.01


def test_a_look_is_exact_conditioning(zoo):
    start = belief_of()
    after = start.look(zoo, TASK, ["wide", "psi", "middle"])
    where = np.array([NAMES.index(name) for name in after.looks])
    scaled = np.array(list(after.looks.values())) / NOISE.size  # of so much worth that it stays
    expected = NOISE.gain * start.prior.mean[where][:, None]
    scaled -= (scaled - expected).mean(0)
    pull = np.linalg.inv(NOISE.noise) @ NOISE.gain
    worth = pull @ NOISE.gain
    seen = (where, scaled @ pull / worth, np.full(3, 1 / worth))
    dense = conditioned(start.prior.mean, dense_prior(*start.prior[1:]), [seen])
    np.testing.assert_allclose(after.mean, dense.mean[:5], rtol=0, atol=1e-7)
    np.testing.assert_allclose(after.sd, np.sqrt(np.diagonal(dense.covariance)[:5]), atol=1e-7)


def test_what_cannot_be_looked_at_is_listed_and_ranked_all_the_same(zoo):
    after = belief_of().look(zoo, TASK, NAMES)
    assert set(after.looks) == {"middle", "psi", "wide"}
    lost = {problem.model: str(problem) for problem in after.problems}
    assert set(lost) == {"narrow", "stranger"}
    assert "finite" in lost["narrow"]
    assert "no features" in lost["stranger"]
    ranking = after.rank()
    assert sorted(ranking.names) == sorted(NAMES)
    assert set(ranking.skipped) == set(lost.values())
    assert set(ranking.looked_at) == {"middle", "psi", "wide"}
    assert not {"narrow", "stranger"} & {look.model for look in after.next(5)}


def test_a_broken_model_alone_changes_nothing_but_the_list(zoo):
    start = belief_of()
    after = start.look(zoo, TASK, ["narrow"])
    assert after.looks == {}
    assert after.mean.tolist() == start.mean.tolist()
    assert [problem.model for problem in after.problems] == ["narrow"]


def test_a_model_that_was_mended_is_listed_no_more(zoo, small_zoo):
    broken = belief_of().look(zoo, TASK, ["narrow", "wide"])
    rng = np.random.default_rng(1)
    rows, width = len(zoo.labels(TASK)), zoo.width("narrow")
    fresh = rng.normal(size=(rows, width)).astype(np.float32)
    FeatureStore.write_features(small_zoo, "narrow", TASK, fresh)
    mended = broken.look(FeatureStore(small_zoo), TASK, ["narrow"])
    assert mended.problems == ()
    assert set(mended.looks) == {"narrow", "wide"}


def test_looks_in_two_steps_are_looks_together(zoo):
    together = belief_of().look(zoo, TASK, ["wide", "psi", "middle"])
    steps = belief_of().look(zoo, TASK, ["wide"]).look(zoo, TASK, ["wide", "psi", "middle"])
    assert steps.looks == together.looks
    np.testing.assert_allclose(steps.mean, together.mean, rtol=0, atol=1e-12)
    assert steps.look(zoo, TASK, ["wide"]) is steps


def test_a_metric_that_no_model_has_does_not_stop_a_look(zoo):
    """LEEP needs probabilities, which this zoo lacks."""
    after = belief_of(("logme", "leep")).look(zoo, TASK, ["wide", "psi"])
    assert set(after.looks) == {"wide", "psi"}
    assert np.isfinite(after.mean).all()
    assert after.mean.tolist() != belief_of().mean.tolist()


def test_looks_need_a_metric_and_names_that_are_known(zoo, refused):
    with refused("no metric", "train"):
        belief_of((), None).look(zoo, TASK, ["wide"])
    with refused("'gnu'"):
        belief_of().look(zoo, TASK, ["wide", "gnu"])
    with refused("'planes'"):
        belief_of().look(zoo, "planes", ["wide"])


# ---- looks one after the other -----------------------------------------------------------------


def test_looks_go_on_past_a_broken_model_until_all_are_seen(zoo):
    after = belief_of().look_until(zoo, TASK, loss=0.0, gain=0.0)
    assert set(after.looks) == {"middle", "psi", "wide"}
    assert {problem.model for problem in after.problems} == {"narrow", "stranger"}


def test_looks_stop_at_once_where_the_loss_is_small_enough(zoo):
    start = belief_of()
    assert start.look_until(zoo, TASK, loss=start.expected_loss() + 1e-9) is start
    assert start.look_until(zoo, TASK, loss=0.0, gain=10.0) is start


def test_the_first_pair_must_gain_for_both(zoo):
    """What the two gain together, e, stops looks where a look must gain more than e/2."""
    start = belief_of()
    half = start.next(2)[0].gain
    assert half > 0
    assert start.look_until(zoo, TASK, loss=0.0, gain=1.01 * half) is start
    after = start.look_until(zoo, TASK, loss=0.0, gain=0.99 * half)
    assert len(after.looks) + len(after.problems) >= 2


def test_looks_stop_when_the_loss_is_small_enough(zoo):
    start = belief_of()
    least = start.look_until(zoo, TASK, loss=0.0, gain=0.0).expected_loss()
    limit = (least + start.expected_loss()) / 2
    after = start.look_until(zoo, TASK, loss=limit, gain=0.0)
    assert len(after.looks) + len(after.problems) >= 2
    assert after.expected_loss() <= limit or not after.next()


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 9])
def test_so_many_looks_as_asked_for(zoo, n):
    after = belief_of().look_at(zoo, TASK, n)
    assert len(after.looks) + len(after.problems) == min(n, 5)


def test_more_looks_than_models_are_left_come_to_an_end(zoo):
    seen = belief_of().look(zoo, TASK, NAMES[:4])
    after = seen.look_at(zoo, TASK, 3)
    assert set(after.looks) == {"middle", "psi", "wide"}
    assert len(after.problems) == 2


def test_the_model_whose_features_are_the_classes_ends_first(zoo):
    rng, labels = np.random.default_rng(2), zoo.labels(TASK)
    names = tuple(name for name in SMALL_MODELS if name != "narrow")
    for name in names:
        noise = rng.normal(size=(len(labels), zoo.width(name)))
        shown = np.eye(zoo.width(name))[labels] if name == "wide" else noise
        FeatureStore.write_features(zoo.folder, name, TASK, shown.astype(np.float32))
    believed = np.where(np.array(names) == "wide", -0.2, 0.2)
    noise = MetricNoise(np.full(2, 0.9), 0.1 * np.eye(2), np.full(2, 0.3), np.ones(2))
    start = belief_of(("logme", "knn"), noise, names)
    start = Belief(names, start.prior._replace(mean=believed), start.evidence, task=TASK)
    assert start.rank().names[-1] == "wide"
    after = start.look_at(FeatureStore(zoo.folder), TASK, 2).look_at(
        FeatureStore(zoo.folder), TASK, 1
    )
    assert after.rank().names[0] == "wide"
    assert after.probability_best()["wide"] > start.probability_best()["wide"]


def test_a_look_on_another_task_is_refused(zoo, refused):
    """Its metrics say nothing of this one; the first look says which task it is."""
    for start in (belief_of(), replace(belief_of(), task=None)):
        looked = start.look(zoo, TASK, ["wide"])
        with refused(f"this belief is on task {TASK!r}", repr(OTHER)):
            looked.look(zoo, OTHER, ["middle"])
        assert set(looked.look(zoo, TASK, ["middle"]).looks) == {"wide", "middle"}
