"""Metrics and results as observations: noise that comes back, spreads, joint conditioning."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spider_jax.belief.evidence import (
    UNKNOWN_GAIN,
    EvidenceModel,
    MetricNoise,
    Spread,
    learn_metric_noise,
    metric_observation,
    result_observation,
)
from spider_jax.belief.gaussian import Posterior, Standings
from support.references.beliefs import (
    LEVEL_VARIANCE,
    conditioned_on,
    dense_prior,
    expected_sample_variance,
    seen_spread,
)
from support.references.recommending import shown_results

GAIN = np.array([0.9, 0.7, 0.5])
SHARED = np.array([[0.19, 0.1, 0.05], [0.1, 0.51, -0.2], [0.05, -0.2, 0.75]])
SIZES = np.array([0.05, 3.0, 20.0])


def metrics_of(rng, datasets, models, noise=SHARED, gain=GAIN):
    """Standings [G, M] and metrics [G, K, M] whose standard scores are g y + e."""
    truth = rng.normal(size=(datasets, models))
    truth = (truth - truth.mean(1, keepdims=True)) / truth.std(1, keepdims=True)
    errors = rng.multivariate_normal(np.zeros(len(gain)), noise, size=(datasets, models))
    shown = gain[:, None] * truth[:, None] + np.moveaxis(errors, -1, 1)
    size = SIZES[: len(gain), None] * np.exp(0.2 * rng.normal(size=(datasets, len(gain), 1)))
    level = 10 * rng.normal(size=(datasets, len(gain), 1))
    return truth, level + size * shown


# ---- how far values spread ---------------------------------------------------------------------


def test_one_model_shows_no_spread():
    typical = Spread(0.3, 2.0)
    assert typical.seen(np.array([5.0]), 1.0) == 0.3
    assert typical.seen(np.zeros(0), 1.0) == 0.3


def test_many_models_show_their_own_spread():
    values = np.random.default_rng(0).normal(size=20000) * 2.5
    assert abs(Spread(0.3, 4.0).seen(values, 1.0) - 2.5) < 0.05
    assert abs(Spread(0.3, 4.0).seen(values, 4.0) - 1.25) < 0.03


def test_a_typical_spread_of_much_worth_stays():
    values = np.random.default_rng(0).normal(size=10) * 2.5
    assert abs(Spread(0.3, 1e9).seen(values, 1.0) - 0.3) < 1e-6


@given(
    values=st.lists(st.floats(-10, 10), max_size=8),
    size=st.floats(0.01, 10),
    worth=st.floats(0.1, 20),
    expected=st.floats(0.1, 5),
)
@settings(max_examples=60)
def test_a_spread_is_the_weighed_mean(values, size, worth, expected):
    found = Spread(size, worth).seen(np.array(values), expected)
    np.testing.assert_allclose(
        found, seen_spread(size, worth, np.array(values), expected), rtol=1e-9
    )


def test_a_spread_from_datasets():
    rng = np.random.default_rng(1)
    worth = 12.0  # var(ln s^2) = 2/worth, and that of ln s a fourth of it
    sizes = 0.07 * np.exp(np.sqrt(2 / worth) / 2 * rng.normal(size=20000))
    found = Spread.of(sizes)
    assert abs(found.size / 0.07 - 1) < 0.01
    assert abs(found.worth / worth - 1) < 0.05
    assert Spread.of(np.array([*sizes, np.nan, 0.0, np.inf])) == found


def test_spreads_from_one_dataset_and_none():
    assert Spread.of(np.array([0.2])).size == pytest.approx(0.2)
    assert 0 < Spread.of(np.array([0.2])).worth < 5
    assert Spread.of(np.array([np.nan])) == Spread(1.0, 0.0)


# ---- gains and noise ---------------------------------------------------------------------------


def test_gains_and_noise_come_back_beside_truth():
    truth, metrics = metrics_of(np.random.default_rng(2), 40, 500)
    found = learn_metric_noise(metrics, truth)
    np.testing.assert_allclose(found.gain, GAIN, atol=0.02)
    np.testing.assert_allclose(found.noise, SHARED, atol=0.02)
    np.testing.assert_allclose(found.size / SIZES, 1, atol=0.15)
    assert ((found.worth > 4) & (found.worth < 40)).all()  # 2/(4 0.2^2) = 12.5


def test_gains_and_noise_come_back_without_truth_where_errors_are_independent():
    rng = np.random.default_rng(3)
    noise = np.diag(1 - GAIN**2)
    truth, metrics = metrics_of(rng, 40, 500, noise)
    for known in (np.nan * truth, np.where(np.arange(40)[:, None] < 2, truth, np.nan)):
        found = learn_metric_noise(metrics, known)
        np.testing.assert_allclose(found.gain, GAIN, atol=0.03)
        np.testing.assert_allclose(found.noise, noise, atol=0.04)


@pytest.mark.parametrize("known", [True, False])
def test_models_without_metrics_or_truth_do_not_bias(known):
    rng = np.random.default_rng(4)
    noise = np.diag(1 - GAIN**2)
    truth, metrics = metrics_of(rng, 40, 500, noise)
    metrics[np.broadcast_to(rng.random((40, 1, 500)) < 0.4, metrics.shape)] = np.nan
    truth = np.where(rng.random(truth.shape) < 0.3, np.nan, truth) if known else np.nan * truth
    found = learn_metric_noise(metrics, truth)
    np.testing.assert_allclose(found.gain, GAIN, atol=0.03)
    np.testing.assert_allclose(found.noise, noise, atol=0.04)


def test_a_dataset_without_a_metric_does_not_stop_the_others():
    truth, metrics = metrics_of(np.random.default_rng(5), 40, 500)
    metrics[7, 1] = np.nan
    metrics[8] = np.inf
    found = learn_metric_noise(metrics, truth)
    np.testing.assert_allclose(found.gain, GAIN, atol=0.02)
    np.testing.assert_allclose(found.noise, SHARED, atol=0.02)


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_metrics_to_compare_have_a_plain_gain(count):
    truth, metrics = metrics_of(np.random.default_rng(6), 5, 60)
    found = learn_metric_noise(metrics[:, :count], np.nan * truth)
    assert found.gain.tolist() == [UNKNOWN_GAIN] * count
    np.testing.assert_allclose(found.noise, np.eye(count) * (1 - UNKNOWN_GAIN**2), atol=1e-12)


def test_a_metric_that_is_the_truth_keeps_some_noise():
    truth, metrics = metrics_of(np.random.default_rng(7), 5, 60)
    metrics[:, 0] = 3 * truth + 1
    found = learn_metric_noise(metrics, truth)
    assert found.gain[0] == pytest.approx(1)
    assert found.noise[0, 0] == pytest.approx(0.01)
    assert np.linalg.eigvalsh(found.noise).min() > 0


# ---- looks -------------------------------------------------------------------------------------


def some_standings(rng, models):
    return Standings(
        rng.normal(size=models), rng.normal(size=(models, 2)), rng.uniform(0.3, 1, models), 0.7
    )


def in_units(prior, learned, models, metrics):
    """The p metrics in units of their spread, less what makes their mean the expected one."""
    covariance = dense_prior(*prior[1:])[np.ix_(models, models)]
    spread = expected_sample_variance(prior.mean[models], covariance) if len(models) > 1 else 1.0
    scaled = np.full(metrics.shape, np.nan)
    for k, (g, size, worth) in enumerate(
        zip(learned.gain, learned.size, learned.worth, strict=True)
    ):
        there = np.isfinite(metrics[:, k])
        expected = g**2 * spread + learned.noise[k, k]
        values = metrics[there, k] / seen_spread(size, worth, metrics[there, k], expected)
        scaled[there, k] = values - (values - g * prior.mean[models[there]]).mean()
    return scaled


def jointly(prior, learned, models, scaled, levels):
    """Standings given every metric as a value of its own, errors of one model with noise C."""
    M, K, extra = len(prior.mean), len(learned.gain), levels.shape[1]
    full = np.zeros((M + extra, M + extra))
    full[:M, :M] = dense_prior(*prior[1:])
    full[M:, M:] = LEVEL_VARIANCE * np.eye(extra)
    H, R = np.zeros((len(models) * K, M + extra)), np.kron(np.eye(len(models)), learned.noise)
    for i, model in enumerate(models):
        H[i * K : (i + 1) * K, model] = learned.gain
        H[i * K : (i + 1) * K, M:] = levels
    t, there = scaled.ravel(), np.isfinite(scaled.ravel())
    start = np.concatenate([prior.mean, np.zeros(extra)])
    found = conditioned_on(start, full, H[there], t[there], R[np.ix_(there, there)])
    return found.mean[:M], found.covariance[:M, :M]


LEARNED = MetricNoise(GAIN, SHARED, SIZES, np.array([3.0, 0.5, 20.0]))


@given(seed=st.integers(0, 2**20), looked=st.integers(1, 6))
@settings(max_examples=30)
def test_one_value_is_worth_all_metrics_of_a_model(seed, looked):
    """Exact where the metrics' levels are one number times g: then w t loses nothing."""
    rng = np.random.default_rng(seed)
    prior, models = some_standings(rng, 6), rng.permutation(6)[:looked]
    metrics = rng.normal(size=(looked, 3)) * SIZES + 4
    now = Posterior(prior)
    seen = metric_observation(now, LEARNED, models, metrics)
    after = now.with_observation(seen)
    scaled = in_units(prior, LEARNED, models, metrics)
    mean, covariance = jointly(prior, LEARNED, models, scaled, GAIN[:, None])
    np.testing.assert_allclose(after.mean, mean, rtol=0, atol=1e-8)
    np.testing.assert_allclose(after.covariance(np.arange(6)), covariance, rtol=0, atol=1e-8)


def test_metrics_with_a_level_each_are_worth_the_same():
    """With levels of which nothing is known: equal but for what the levels' prior still says."""
    rng = np.random.default_rng(8)
    prior, models = some_standings(rng, 6), np.array([4, 0, 2, 5])
    metrics = rng.normal(size=(4, 3)) * SIZES
    now = Posterior(prior)
    after = now.with_observation(metric_observation(now, LEARNED, models, metrics))
    scaled = in_units(prior, LEARNED, models, metrics)
    mean, covariance = jointly(prior, LEARNED, models, scaled, np.eye(3))
    np.testing.assert_allclose(after.mean, mean, rtol=0, atol=1e-3)
    np.testing.assert_allclose(after.covariance(np.arange(6)), covariance, rtol=0, atol=1e-3)


def test_a_model_that_lacks_a_metric_is_worth_the_others():
    rng = np.random.default_rng(9)
    prior, models = some_standings(rng, 6), np.array([4, 0, 2, 5])
    metrics = rng.normal(size=(4, 3)) * SIZES
    metrics[1, 0] = metrics[2, 1] = metrics[2, 2] = np.nan
    now = Posterior(prior)
    after = now.with_observation(metric_observation(now, LEARNED, models, metrics))
    scaled = in_units(prior, LEARNED, models, metrics)
    mean, covariance = jointly(prior, LEARNED, models, scaled, GAIN[:, None])
    np.testing.assert_allclose(after.mean, mean, rtol=0, atol=1e-8)
    np.testing.assert_allclose(after.covariance(np.arange(6)), covariance, rtol=0, atol=1e-8)


def test_a_metric_that_no_model_has_is_no_evidence():
    rng = np.random.default_rng(10)
    prior, models = some_standings(rng, 6), np.array([4, 0, 2])
    metrics = rng.normal(size=(3, 3)) * SIZES
    metrics[:, 1] = np.nan
    some = [0, 2]
    fewer = MetricNoise(GAIN[some], SHARED[np.ix_(some, some)], SIZES[some], LEARNED.worth[some])
    now = Posterior(prior)
    seen = metric_observation(now, LEARNED, models, metrics)
    expected = metric_observation(now, fewer, models, metrics[:, some])
    np.testing.assert_allclose(seen.values, expected.values, rtol=0, atol=1e-12)
    np.testing.assert_allclose(seen.variances, expected.variances, rtol=0, atol=1e-12)


def test_looks_find_the_order_of_models_that_were_alike():
    rng = np.random.default_rng(11)
    truth, metrics = metrics_of(rng, 1, 400)
    prior = Standings(np.zeros(400), np.zeros((400, 0)), np.ones(400), 1.0)
    now, models = Posterior(prior), np.arange(400)
    after = now.with_observation(metric_observation(now, LEARNED, models, metrics[0].T))
    gap = truth[0] - after.mean
    assert abs(gap.std() / np.sqrt(after.variances.mean()) - 1) < 0.15
    assert np.corrcoef(truth[0], after.mean)[0, 1] > 0.9


# ---- results -----------------------------------------------------------------------------------


def observed(prior, evidence, models, results, errors):
    given = (np.asarray(part, np.float64) for part in (results, errors))
    return result_observation(Posterior(prior), evidence, np.array(models), *given)


def expected_of(prior, models):
    covariance = dense_prior(*prior[1:])[np.ix_(models, models)]
    return expected_sample_variance(prior.mean[models], covariance)


@pytest.mark.parametrize(
    ("p", "ranks"), [(1, 0.0), (1, np.inf), (2, 3.0), (2, np.inf), (3, np.inf)]
)
def test_results_are_divided_by_their_spread(p, ranks):
    """Where only values count, and always where two results or fewer have no order to speak of."""
    prior, models = some_standings(np.random.default_rng(12), 6), [1, 3, 4][:p]
    results, errors = np.array([0.7, 0.75, 0.9])[:p], np.array([0.01, 0.02, 0.05])[:p]
    evidence = EvidenceModel(results=Spread(0.1, 3.0), ranks=ranks, link=0.2)
    seen, line = observed(prior, evidence, models, results, errors)
    size = 0.1
    if p > 1:
        size = seen_spread(0.1, 3.0, results, expected_of(prior, models))
    assert line.unit == pytest.approx(size, rel=1e-9)
    assert line.origin == 0
    assert seen.values.tolist() == (results / line.unit).tolist()  # to the bit
    np.testing.assert_allclose(seen.variances, (errors / size) ** 2 + 0.2, rtol=0, atol=1e-8)
    freedom = max(3.0 + p - 1, 3.0)
    assert line.doubt == pytest.approx(np.sqrt(freedom / (freedom - 2)))


def test_a_lone_result_is_in_units_of_the_typical_spread():
    prior = some_standings(np.random.default_rng(13), 4)
    evidence = EvidenceModel(results=Spread(0.12, 1.0))
    seen, line = observed(prior, evidence, [2], [0.6], [0.01])
    assert line.unit == 0.12
    assert seen.values.tolist() == [0.6 / 0.12]


@given(
    seed=st.integers(0, 2**20),
    p=st.integers(3, 9),
    levels=st.integers(2, 30),
    ranks=st.floats(0, 100),
)
@settings(max_examples=40)
def test_order_and_values_are_blended(seed, p, levels, ranks):
    rng = np.random.default_rng(seed)
    prior, models = some_standings(rng, 9), rng.permutation(9)[:p]
    results = rng.integers(0, levels, size=p).astype(np.float64)
    results[:2] = 0, 1  # not all the same
    errors = rng.uniform(0.01, 0.1, size=p)
    evidence = EvidenceModel(results=Spread(2.0, 1.5), ranks=ranks, link=0.3)
    seen, line = observed(prior, evidence, models, results, errors)
    expected = expected_of(prior, models)
    size = seen_spread(2.0, 1.5, results, expected)
    values, variances, unit, origin = shown_results(results, errors, expected, size, 2.0, ranks)
    np.testing.assert_allclose(seen.values, values, rtol=0, atol=1e-9)
    np.testing.assert_allclose(seen.variances, variances + 0.3, rtol=0, atol=1e-8)
    np.testing.assert_allclose([line.unit, line.origin], [unit, origin], rtol=1e-8)
    order = np.argsort(results, kind="stable")
    assert (np.diff(seen.values[order]) >= -1e-12).all()


@pytest.mark.parametrize("value", [0.0, 0.1, 85.2, 1e6 + 0.1])
@pytest.mark.parametrize("p", [3, 6, 7, 12, 19])
@pytest.mark.parametrize("apart", [0.0, 1e-15, 1e-8])
def test_equal_results_show_neither_order_nor_unit(p, value, apart):
    prior = some_standings(np.random.default_rng(14), 20)
    evidence = EvidenceModel(results=Spread(2.0, 3.0), ranks=3.0)
    results = value * (1 + apart * np.arange(p))
    seen, line = observed(prior, evidence, np.arange(p), results, np.full(p, 0.5))
    assert 0.5 <= line.unit <= 2.0
    assert line.origin == pytest.approx(value, abs=0.5)
    if apart == 0:
        np.testing.assert_allclose(seen.values, 0, atol=1e-9)


def test_a_far_outlier_moves_the_order_of_the_others_little():
    rng = np.random.default_rng(15)
    prior, models = some_standings(rng, 8), np.arange(6)
    results = np.array([3.0, 5.0, 1.0, 4.0, 2.0, -1.0])
    errors = np.full(6, 0.05)
    by_order = EvidenceModel(results=Spread(2.0, 3.0), ranks=0.0)
    one, two = (
        observed(prior, by_order, models, given, errors)[0]
        for given in (results, np.where(results < 0, -1e6, results))
    )
    np.testing.assert_allclose(two.values, one.values, rtol=0, atol=1e-12)
    blended = by_order._replace(ranks=3.0)
    seen, _ = observed(prior, blended, models, np.where(results < 0, -1e6, results), errors)
    after = Posterior(prior).with_observation(seen).mean[:5]
    assert np.argsort(after).tolist() == np.argsort(results[:5]).tolist()
    by_value = by_order._replace(ranks=np.inf)
    flat, _ = observed(prior, by_value, models, np.where(results < 0, -1e6, results), errors)
    assert np.ptp(flat.values[:5]) < 1e-4 < 0.5 < np.ptp(seen.values[:5])
