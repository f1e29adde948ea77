"""Disagreement of metrics against its formula, what is learned from it, and what it changes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spider_jax.belief.disagreement import Disagreement, disagreement, learn_disagreement
from spider_jax.belief.evidence import MetricNoise, metric_observation
from spider_jax.belief.gaussian import Posterior, Standings

GAIN = np.array([0.9, 0.7, 0.5])
NOISE = np.array([[0.19, 0.1, 0.05], [0.1, 0.51, -0.2], [0.05, -0.2, 0.75]])


def metrics_of(rng, models, size=1.0):
    """Standings and metrics g y + e of some models, e of so many times the usual variance."""
    truth = rng.normal(size=models)
    errors = rng.multivariate_normal(np.zeros(3), size * NOISE, size=models)
    return truth, truth[:, None] * GAIN + errors


def test_it_is_what_the_metrics_leave_beside_their_best_value() -> None:
    """Against the quadratic form C^-1 - C^-1 g g^T C^-1/(g^T C^-1 g), model by model."""
    _, z = metrics_of(np.random.default_rng(0), 7)
    inverse = np.linalg.inv(NOISE)
    form = inverse - np.outer(inverse @ GAIN, inverse @ GAIN) / (GAIN @ inverse @ GAIN)
    wanted = sum(row @ form @ row for row in z - z.mean(0)) / (2 * 6)
    assert disagreement(z, GAIN, NOISE) == (pytest.approx(wanted, rel=1e-12), 7)


@pytest.mark.parametrize("size", [0.25, 1.0, 4.0])
def test_it_is_the_size_of_the_noise_whatever_the_standings(size: float) -> None:
    rng = np.random.default_rng(1)
    found = [disagreement(5 + metrics_of(rng, 6, size)[1], GAIN, NOISE)[0] for _ in range(2000)]
    assert np.mean(found) == pytest.approx(size, rel=4 * np.sqrt(2 / 10 / 2000))


def test_models_that_lack_a_metric_do_not_count_and_few_show_nothing() -> None:
    _, z = metrics_of(np.random.default_rng(2), 6)
    holed = z.copy()
    holed[1, 2] = np.nan
    whole = np.delete(z, 1, axis=0)
    assert disagreement(holed, GAIN, NOISE) == disagreement(whole, GAIN, NOISE)
    assert disagreement(z[:2], GAIN, NOISE) is None
    assert disagreement(z[:, :1], GAIN[:1], NOISE[:1, :1]) is None


def looks(shared: bool):
    """Disagreement, models, and errors of looks on tasks whose noise differs."""
    rng = np.random.default_rng(3)
    inverse = np.linalg.inv(NOISE)
    pull = inverse @ GAIN / (GAIN @ inverse @ GAIN)
    usual = 1 / (GAIN @ inverse @ GAIN)
    rows, sizes = [], []
    for _ in range(1500):
        size, p = np.exp(0.7 * rng.normal()), int(rng.choice([4, 8, 40]))
        truth, z = metrics_of(rng, p, size)
        q = disagreement(z, GAIN, NOISE)[0]
        if not shared:
            q = disagreement(metrics_of(rng, p, np.exp(0.7 * rng.normal()))[1], GAIN, NOISE)[0]
        rows.append((q, p, np.var(z @ pull - truth, ddof=1) / usual))
        sizes.append(size)
    return np.array(rows, np.float64).T, np.array(sizes)


def test_a_noise_that_is_shared_is_learned_and_few_models_show_less_of_it() -> None:
    (q, models, errors), sizes = looks(shared=True)
    learned = learn_disagreement(q, models, errors)
    found = np.array([learned.size(float(a), int(p)) for a, p in zip(q, models, strict=True)])
    off = np.log(found / sizes)
    many = models == 40
    assert np.std(off[many]) < 0.3 < np.std(np.log(sizes))
    assert abs(off[many].mean()) < 0.1
    slopes = [np.log(learned.size(2.0, p) / learned.size(1.0, p)) for p in (4, 8, 40)]
    assert slopes == sorted(slopes)
    assert slopes[0] > 0


def test_a_disagreement_that_says_nothing_is_not_listened_to() -> None:
    (q, models, errors), _ = looks(shared=False)
    learned = learn_disagreement(q, models, errors)
    found = [learned.size(e, 40) for e in (0.25, 4.0)]
    assert found[1] / found[0] < 1.5  # 16 where it says all
    assert np.mean(found) == pytest.approx(errors[models == 40].mean(), rel=0.15)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.integers(3, 10**6))
def test_more_disagreement_is_never_less_noise(a: float, b: float, models: int) -> None:
    learned = Disagreement(0.1, -0.3, 1.2, 15.0)
    low, high = (learned.size(q, models) for q in sorted((a, b)))
    assert 0 < low <= high < np.inf


def test_an_observation_keeps_its_values_and_takes_the_noise_of_its_task() -> None:
    learned, varying = MetricNoise(GAIN, NOISE, np.ones(3), np.ones(3)), Disagreement(0, 0, 1, 5.0)
    now = Posterior(Standings(np.zeros(12), np.zeros((12, 0)), np.ones(12), 1.0))
    models, rng = np.arange(12), np.random.default_rng(4)
    factors = []
    for size in (0.1, 6.0):
        metrics = metrics_of(rng, 12, size)[1]
        plain = metric_observation(now, learned, models, metrics)
        seen = metric_observation(now, learned, models, metrics, varying)
        np.testing.assert_array_equal(seen.values, plain.values)
        factors += [(seen.variances / plain.variances)[0]]
        np.testing.assert_allclose(seen.variances, factors[-1] * plain.variances)
    assert factors[0] < 1 < factors[1]
