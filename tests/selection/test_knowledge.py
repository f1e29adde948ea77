"""The posterior after scores, against a dense form; what it changes in drops and confidences."""

import json
from dataclasses import replace
from math import erf

import numpy as np
import pytest

from spider_jax.records.noise import ValidationNoise
from spider_jax.records.performance import PastResults
from spider_jax.selection.knowledge import Gaps, Knowledge, after_scores, gaps
from spider_jax.selection.noise_aware import NoiseAware
from spider_jax.selection.policy import Seen
from spider_jax.selection.policy_table import policy_content, read_policy

NAMES = tuple("abcdefgh")
PLAIN = ((1.0, 1.0),)
LEVEL = 1e4  # prior variance of a level, in units of tau^2, around the mean difference to the prior


def some_noise(rng: np.random.Generator) -> ValidationNoise:
    prior = dict(zip(NAMES, rng.uniform(0.4, 0.8, 8).tolist(), strict=True))
    return ValidationNoise(prior, 0.01, ((0.01, 0.02, 0.06), (0.004, 0.005, 0.03)))


def some_knowledge(rng: np.random.Generator) -> Knowledge:
    loadings = {name: tuple(rng.normal(size=2).tolist()) for name in NAMES[:7]}
    own = dict(zip(NAMES[:7], rng.uniform(0.2, 1, 7).tolist(), strict=True))
    return Knowledge(loadings, own, 1.7, ((1.0, 0.25), (4.0, 0.75)))


def some_seen(rng: np.random.Generator) -> Seen:
    """Three survivors after two epochs; five models left after one."""
    gone = tuple(
        (name, (float(score),)) for name, score in zip(NAMES[3:], rng.uniform(size=5), strict=True)
    )
    return Seen(NAMES[:3], rng.uniform(size=(3, 2)), 0.003, 5, gone)


def dense(
    noise: ValidationNoise, knowledge: Knowledge, seen: Seen, quantile: float
) -> tuple[np.ndarray, np.ndarray]:
    """Posterior mean and covariance of the survivors, by one inverse over models and levels."""
    names = [*seen.models, *(name for name, _ in seen.gone)]
    M, n = len(names), len(seen.models)
    mean = np.array([noise.prior[name] for name in names])
    K = np.zeros((M, M))
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            K[i, j] = np.dot(knowledge.loadings.get(a, (0, 0)), knowledge.loadings.get(b, (0, 0)))
        K[i, i] += knowledge.own.get(a, knowledge.unknown)
    K *= noise.between
    scores = [*seen.validation.tolist(), *(list(scores) for _, scores in seen.gone)]
    best, epoch = np.array([max(s) for s in scores]), np.array([len(s) for s in scores])
    error = [np.quantile(noise.early[e - 1], quantile) + seen.variance for e in epoch]
    same = (epoch[:, None] == epoch[None]).astype(float)
    centre = same @ (best - mean) / same.sum(1)  # where the prior of each level lies
    inverse = np.linalg.inv(K + np.diag(error) + LEVEL * noise.between * same)
    rest = best - mean - centre
    level = centre[0] + LEVEL * noise.between * same[0] @ inverse @ rest
    found = mean + K @ inverse @ rest
    return (found + level)[:n], (K - K @ inverse @ K)[:n, :n]


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_the_posterior_is_that_of_the_formulas(quantile: float) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        given = some_noise(rng), some_knowledge(rng), some_seen(rng)
        found = after_scores(*given, quantile)
        mean, covariance = dense(*given, quantile)
        np.testing.assert_allclose(found.expected(), mean, atol=1e-8)
        np.testing.assert_allclose(found.covariance(), covariance, atol=1e-8)


def test_a_confidence_is_the_mean_over_noise_and_widenings() -> None:
    rng = np.random.default_rng(0)
    noise, knowledge, seen = some_noise(rng), some_knowledge(rng), some_seen(rng)
    wanted = np.zeros(3)
    for quantile in (0.1, 0.3, 0.5, 0.7, 0.9):
        mean, c = dense(noise, knowledge, seen, quantile)
        for factor, weight in knowledge.widenings:
            for i in (0, 2):
                z = (mean[1] - mean[i]) / np.sqrt(factor * (c[1, 1] + c[i, i] - 2 * c[1, i]))
                wanted[i] += weight * 0.5 * (1 + erf(z / np.sqrt(2))) / 5
    found = NoiseAware(noise, knowledge=knowledge).confidence(seen, 1)
    np.testing.assert_allclose(found[[0, 2]], wanted[[0, 2]], atol=1e-8)
    assert found[1] == 0.5  # against itself


def test_models_alike_are_shrunk_as_policies_without_knowledge_do() -> None:
    rng = np.random.default_rng(1)
    noise, seen = some_noise(rng), some_seen(rng)
    alike = NoiseAware(noise, knowledge=Knowledge({}, {}, 1.0, PLAIN))
    np.testing.assert_allclose(alike.expected(seen), NoiseAware(noise).expected(seen), rtol=1e-9)


def test_permuted_models_give_the_permuted_posterior() -> None:
    rng = np.random.default_rng(2)
    noise, knowledge, seen = some_noise(rng), some_knowledge(rng), some_seen(rng)
    order = [2, 0, 1]
    turned = seen._replace(
        models=tuple(seen.models[i] for i in order),
        validation=seen.validation[order],
        gone=seen.gone[::-1],
    )
    policy = NoiseAware(noise, knowledge=knowledge)
    np.testing.assert_allclose(policy.expected(turned), policy.expected(seen)[order], atol=1e-10)
    np.testing.assert_allclose(
        policy.confidence(turned, 0), policy.confidence(seen, 2)[order], atol=1e-10
    )
    assert {d.model for d in policy.drops(turned)} == {d.model for d in policy.drops(seen)}


# ---- what the covariance changes -----------------------------------------------------------------

EQUAL = ValidationNoise(dict.fromkeys(NAMES, 0.5), 0.01, ((0.02,), (0.02,)))
FAMILY = Knowledge({"a": (0.9,), "d": (0.9,)}, {"a": 0.19, "d": 0.19}, 1.0, PLAIN)


def test_a_relative_of_a_good_model_is_kept() -> None:
    scores = np.array([[0.50], [0.51], [0.4], [0.9], [0.4], [0.4]])
    seen = Seen(NAMES[:6], scores, 0.0, 5)
    kept = set(seen.models) - {drop.model for drop in NoiseAware(EQUAL).drops(seen)}
    assert kept == {"b", "d"}  # by the scores alone
    kept = set(seen.models) - {d.model for d in NoiseAware(EQUAL, knowledge=FAMILY).drops(seen)}
    assert kept == {"a", "d"}


def test_scores_of_the_dropped_count_for_their_relatives() -> None:
    seen = Seen(("a", "b"), np.array([[0.5, 0.50], [0.5, 0.51]]), 0.0, 5)
    gone = (("c", (0.2,)), ("d", (0.6,)))
    policy = NoiseAware(EQUAL, knowledge=FAMILY)
    assert [d.model for d in policy.drops(seen)] == ["a"]
    assert [d.model for d in policy.drops(seen._replace(gone=gone))] == ["b"]
    alone = NoiseAware(EQUAL, knowledge=Knowledge({}, {}, 1.0, PLAIN))
    assert [d.model for d in alone.drops(seen._replace(gone=gone))] == ["a"]


def test_relatives_are_told_apart_with_more_confidence() -> None:
    """What they share does not separate them: a difference is more surely one of their own."""
    seen = Seen(("a", "d", "b"), np.array([[0.6], [0.6], [0.6]]), 0.0, 5)
    noise = replace(EQUAL, prior=EQUAL.prior | {"a": 0.55})
    found = gaps(noise, FAMILY, seen, 0)
    assert (found.variance[:, 1] < found.variance[:, 2]).all()
    sure = NoiseAware(noise, knowledge=FAMILY).confidence(seen, 0)
    assert sure[1] > sure[2] > 0.5


def test_a_model_without_results_is_the_less_sure() -> None:
    knowledge = Knowledge({}, dict.fromkeys("ab", 1.0), 3.0, PLAIN)
    noise = replace(EQUAL, prior={"a": 0.5, "b": 0.5, "new": 0.5})
    seen = Seen(("a", "b", "new"), np.array([[0.6], [0.5], [0.5]]), 0.0, 5)
    variances = np.diagonal(after_scores(noise, knowledge, seen).covariance())
    np.testing.assert_allclose(variances[0], variances[1])
    assert variances[2] > 1.2 * variances[0]


# ---- without past results ------------------------------------------------------------------------


def test_an_early_score_is_not_a_final_one_where_nothing_is_known() -> None:
    """One epoch's scores that hardly differ separate nothing, also on many rows."""
    nothing = NoiseAware.fit(PastResults.from_accuracies({}).for_models(NAMES[:4]))
    seen = Seen(NAMES[:4], np.array([[0.34], [0.35], [0.33], [0.36]]), 1e-6, 5)
    first, last = (nothing.confidence(s, 3) for s in (seen, seen._replace(variance=1.0)))
    assert first.max() < 0.9
    assert [d.model for d in nothing.drops(seen)] == ["c", "a", "b"]
    np.testing.assert_allclose(last, 0.5, atol=0.01)
    equal = seen._replace(validation=np.full((4, 1), 0.25))
    np.testing.assert_allclose(nothing.confidence(equal, 0), 0.5)


def test_equal_differences_have_no_sign() -> None:
    found = Gaps(np.array([[0.0, 0.1, -0.1]]), np.zeros((1, 3))).probability(PLAIN)
    np.testing.assert_array_equal(found, [0.5, 1, 0])


# ---- in words and on disk ------------------------------------------------------------------------


def test_an_expected_share_is_between_0_and_1() -> None:
    noise = ValidationNoise({"a": 0.9, "b": 0.05, "c": 0.4}, 0.01, ((1.0,), (1.0,)))
    policy = NoiseAware(noise, knowledge=Knowledge({}, {}, 1.0, PLAIN))
    seen = Seen(("a", "b", "c"), np.array([[0.1], [0.0], [0.0]]), 0.0, 1)
    said = {drop.model: drop.reason for drop in policy.drops(seen._replace(bounded=True))}
    assert said["b"].startswith("expected 0.000, a 0.")
    assert "expected -0." in {d.model: d.reason for d in policy.drops(seen)}["b"]


def test_knowledge_is_plain_values() -> None:
    rng = np.random.default_rng(3)
    policy = NoiseAware(some_noise(rng), knowledge=some_knowledge(rng))
    content = json.loads(json.dumps(policy_content(policy)))
    assert read_policy(content) == policy
    del content["knowledge"]  # as policies were written before
    assert read_policy(content) == NoiseAware(policy.spread)
    content["knowledge"] = policy_content(policy)["knowledge"]
    content["knowledge"]["loadings"]["a"] = [1.0]
    with pytest.raises(ValueError, match="loadings"):
        read_policy(content)
