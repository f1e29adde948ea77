"""ZooD against a loop over domains in float64, written from the two densities."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import multivariate_normal
from sklearn.covariance import oas

from spider_jax.errors import InputError
from spider_jax.metrics import METRICS, fit_zood, zood
from spider_jax.metrics.methods import zood as module
from spider_jax.zoo.files import write_domains
from spider_jax.zoo.scores import score_zoo
from spider_jax.zoo.store import FeatureStore


def data(rows, width, seed=0):
    """Three classes, three domains that are shifted and rotated against each other."""
    rng = np.random.default_rng(seed)
    labels, domains = rng.integers(3, size=rows), np.arange(rows) % 3
    F = 1.5 * rng.normal(size=(3, width))[labels] + rng.normal(size=(rows, width))
    return F + 0.5 * rng.normal(size=(3, width))[domains], labels, domains


def without_a_class():
    F, labels, domains = data(45, 6)
    return F, np.where((labels == 2) & (domains == 1), 0, labels), domains


def only_there():
    F, labels, domains = data(45, 6)
    return F, np.where((labels == 2) & (domains != 1), 0, labels), domains


def with_a_constant():
    F, labels, domains = data(45, 6)
    return np.pad(F, ((0, 0), (0, 1)), constant_values=2), labels, domains


def one_row_each(rows, width):
    F, labels, domains = data(rows, width)
    return F, labels, np.where(np.arange(rows) < 4, np.arange(rows) + 10, domains)


def regression(rows, width):
    F, labels, domains = data(rows, width)
    noise = np.random.default_rng(1).normal(size=(rows, 2))
    return F, F[:, :2] + labels[:, None] + noise, domains


CASES = {
    "more rows than features": data(45, 6),
    "more features than rows": data(24, 40),
    "others fewer than features": data(30, 25),
    "a domain without a class": without_a_class(),
    "a class of one domain": only_there(),
    "domains of one row": one_row_each(40, 6),
    "domains of one row, wide": one_row_each(20, 30),
    "targets": regression(40, 6),
    "targets, wide": regression(20, 30),
    "far from 0": (data(45, 6)[0] + 1e2, *data(45, 6)[1:]),
    "a constant feature": with_a_constant(),
}


def evidence(K, y, u):
    """ln p(y) at the best beta, and that beta, where y ~ N(0, (I + K/t)/beta)."""
    cov = np.eye(len(y)) + K * np.exp(-u)
    error = y @ np.linalg.solve(cov, y)
    log_det = np.linalg.slogdet(cov)[1]
    n = len(y)
    return -0.5 * (n * np.log(2 * np.pi * error / n) + n + log_det), n / error


def best_precisions(K, y):
    """alpha and beta of largest evidence; where y is explained exactly, t = 0 may be the best."""
    grid = np.linspace(-15, 15, 121) + np.log(np.linalg.eigvalsh(K)[-1])
    at = grid[int(np.argmax([evidence(K, y, u)[0] for u in grid]))]
    u = minimize_scalar(
        lambda u: -evidence(K, y, u)[0], bounds=(at - 0.3, at + 0.3), options={"xatol": 1e-11}
    ).x
    best, beta = evidence(K, y, u)
    if np.linalg.matrix_rank(K) == len(K):
        error, log_det = y @ np.linalg.solve(K, y), np.linalg.slogdet(K)[1]
        limit = -0.5 * (len(y) * np.log(2 * np.pi * error / len(y)) + len(y) + log_det)
        if limit > best - 1e-6:
            return len(y) / error, np.inf
    return beta * np.exp(u), beta


def reference(F, labels, domains):
    classes = labels.ndim == 1
    Y = np.eye(labels.max() + 1)[labels] if classes else labels
    K, variance, found = F @ F.T, ((F - F.mean(0)) ** 2).mean(), []
    for domain in np.unique(domains):
        own, rest = domains == domain, domains != domain
        said = []
        for y in Y.T:
            if not y[rest].any() or (classes and y[rest].all()):
                continue
            alpha, beta = best_precisions(K[np.ix_(rest, rest)], y[rest])
            beta = min(beta, 1e6 / (y[rest] ** 2).mean())  # noise is at least that
            cov = np.eye(len(y)) / beta + K / alpha
            gain = np.linalg.solve(cov[np.ix_(rest, rest)], cov[np.ix_(rest, own)]).T
            left = cov[np.ix_(own, own)] - gain @ cov[np.ix_(rest, own)]
            said.append(multivariate_normal.logpdf(y[own], gain @ y[rest], left) / own.sum())
        shrunk = oas(F[rest])[0]
        density = multivariate_normal.logpdf(F[own], F[rest].mean(0), shrunk)
        found.append((np.mean(said), np.mean(density) / F.shape[1] + np.log(variance) / 2))
    return np.array(found)


@pytest.mark.parametrize("name", CASES)
def test_it_is_the_loop_over_domains(name):
    F, labels, domains = CASES[name]
    found, expected = fit_zood(F, labels, domains=domains), reference(F, labels, domains)
    np.testing.assert_allclose(found.evidence, expected[:, 0], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found.density, expected[:, 1], rtol=1e-6, atol=1e-6)
    assert found.score == pytest.approx(expected.sum(1).mean(), rel=1e-6, abs=1e-6)


def test_scale_order_and_streaming_do_not_matter(monkeypatch):
    F, labels, domains = CASES["more rows than features"]
    expected, order = zood(F, labels, domains=domains), np.random.default_rng(0).permutation(45)
    assert zood(100 * F, labels, domains=domains) == pytest.approx(expected, abs=1e-8)
    shuffled = zood(F[order], labels[order] * 7 - 3, domains=5 - domains[order])
    assert shuffled == pytest.approx(expected, abs=1e-8)
    monkeypatch.setattr(module, "BLOCK_NUMBERS", 24)
    monkeypatch.setattr(module, "KEPT_NUMBERS", 0)  # every domain is read again
    assert zood(F, labels, domains=domains) == pytest.approx(expected, abs=1e-9)


def test_shift_costs():
    F, labels, domains = CASES["more rows than features"]
    moved = F + 20 * np.random.default_rng(3).normal(size=(3, 6))[domains]
    assert zood(F, labels, domains=domains) > zood(moved, labels, domains=domains)


@pytest.mark.parametrize(
    ("F", "labels", "domains", "said"),
    [
        (np.eye(3), [0, 1, 1], [0, 0, 0], "two values"),
        (np.eye(3), [0, 1, 1], [0, 1], "one per row"),
        (np.eye(3), [0, 1, 1], [0.5, 1, 1], "int"),
        (np.eye(2), [0, 1], [0, 1], "no domain"),
        (np.eye(4), [0, 0, 1, 1], [0, 0, 1, 1], "no domain"),
        (np.array([[np.nan], [1], [2]]), [0, 1, 1], [0, 1, 1], "finite"),
    ],
)
def test_bad_input_is_one_line(F, labels, domains, said):
    with pytest.raises(InputError, match=said):
        zood(F, labels, domains=domains)


def test_extremes_are_finite():
    F, labels, domains = data(30, 4)
    for one in (np.ones_like(F), np.repeat(F[:, :1], 4, 1), 1e-12 * F, np.eye(3)[labels]):
        assert np.isfinite(zood(one, labels, domains=domains))


def test_a_zoo_scores_it_where_a_task_has_domains(small_zoo):
    zoo = FeatureStore(small_zoo)
    labels = zoo.labels("apples")
    domains = np.arange(len(labels)) % 2
    assert "zood" in dict(score_zoo(zoo, "apples", ["knn", "zood"], cache=False).left_out)
    write_domains(small_zoo, "apples", domains)
    table = score_zoo(zoo, "apples", ["zood", "knn"], cache=False)
    expected = [zood(zoo.features(m, "apples"), labels, domains=domains) for m in table.models]
    np.testing.assert_allclose(table.values[:, 0], expected)
    assert "zood" not in METRICS  # "all" means what every task can have
