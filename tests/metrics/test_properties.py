"""One table: metrics x shared properties, and their cores under padding, jit and vmap."""

import math
from inspect import signature

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from spider_jax.metrics import METRICS
from spider_jax.metrics.methods.h_score import h_score_core
from spider_jax.metrics.methods.knn import knn_core
from spider_jax.metrics.methods.logme import logme_core
from spider_jax.metrics.methods.pactran import pactran_core
from spider_jax.metrics.methods.ridge import ridge_core
from spider_jax.metrics.shared.statistics import Statistics
from spider_jax.runtime.buckets import compiled
from spider_jax.zoo.scores import score_zoo
from spider_jax.zoo.store import FeatureStore
from support.toy_tasks import blobs, with_columns

# ---- the cores: padding, jit, vmap ------------------------------------------------------------


def fill(array, *shape):
    """The array in the corner of zeros of a shape."""
    whole = np.zeros(shape)
    whole[tuple(slice(n) for n in np.shape(array))] = array
    return whole


def inputs_of(F, y, rows=64, classes=8, *, standardize=False):
    """The arguments of every core for one task, with so many rows, directions and classes."""
    given = Statistics(F, y, standardize=standardize)
    n, (s, U), side = np.float64(given.n), given.left_vectors(), given.raw
    targets, total = fill(given.targets(), rows, classes), fill(given.total, classes)
    spectrum = fill(given.raw_spectrum.s, rows), fill(given.raw_spectrum.x, rows, classes)
    gram = F @ F.T if given.tall else side.gram
    centred = [
        fill(a, rows, m) for a, m in zip(given.centred, (rows, classes, classes), strict=True)
    ]
    scalars = n, np.float64(given.width), np.float64(given.moments.quartic)
    there = np.arange(rows) < given.n
    return {
        "logme": (*spectrum, total, n),
        "knn": (fill(gram, rows, rows), targets, there, n),
        "h_score_shrunk": (*centred, total, *scalars),
        "pactran_gauss": pactran(given, rows, targets, there),
        "ridge": (fill(s, rows), fill(U, rows, rows), targets, there, n),
    }


def pactran(given, rows, targets, there):
    Z = fill(given.coordinates(min(given.n, given.width)), rows, rows)
    scalars = map(np.float64, (given.n, given.width, 1.0, 10.0))
    return (Z, (Z**2).sum(0), targets, there, *scalars)


CORES = {
    "logme": logme_core,
    "knn": knn_core,
    "h_score_shrunk": h_score_core,
    "pactran_gauss": pactran_core,
    "ridge": ridge_core,
}
# The minimum is found to a gradient of 1e-8, which another shape reaches by other steps.
EXACT = {"pactran_gauss": 1e-6}


def run(name, arguments, *, batch=False):
    with jax.enable_x64(True):
        return np.asarray(compiled(CORES[name], batch=batch)(*arguments))


@pytest.mark.parametrize("data", [blobs(), blobs(12, 50)])
@pytest.mark.parametrize("name", CORES)
def test_a_core_is_its_metric(name, data):
    expected = METRICS[name].score(*data, **({"standardize": False} if name == "ridge" else {}))
    same = EXACT.get(name, 1e-12)
    assert run(name, inputs_of(*data)[name]) == pytest.approx(expected, abs=same)


@pytest.mark.parametrize("name", CORES)
def test_padding_changes_nothing(name):
    one, another = (run(name, inputs_of(*blobs(), rows=rows)[name]) for rows in (64, 128))
    np.testing.assert_allclose(one, another, atol=EXACT.get(name, 1e-12))


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("name", CORES)
def test_a_batch_is_its_tasks_one_by_one(name, standardize):
    tasks = [blobs(n, 6, c, seed=n) for n, c in ((40, 3), (64, 8), (12, 2))] + [blobs(12, 50)]
    alone = [inputs_of(*task, standardize=standardize)[name] for task in tasks]
    together = run(name, [np.stack(a) for a in zip(*alone, strict=True)], batch=True)
    same = EXACT.get(name, 1e-12)
    np.testing.assert_allclose(together, [run(name, one) for one in alone], atol=same)


@pytest.mark.parametrize("name", CORES)
def test_jit_changes_nothing(name):
    given = inputs_of(*blobs())[name]
    with jax.enable_x64(True), jax.disable_jit():
        eager = np.asarray(CORES[name](*map(jnp.asarray, given)))
    np.testing.assert_allclose(run(name, given), eager, atol=EXACT.get(name, 1e-12))


# ---- all metrics x shared properties ----------------------------------------------------------

ALL = sorted(METRICS)
# The folds of the probe follow the order of rows and classes: other folds, another accuracy.
# So does the start of N-LEEP's mixture.
SAME = {"linear_probe": 0.15, "n_leep": 0.3}
INF = math.inf
RANGES = {
    "logme": (-INF, INF),
    "knn": (0, 1),
    "h_score": (0, 2),
    "h_score_shrunk": (0, 2),
    "n_leep": (-INF, 0),
    "parc": (-1, 1),
    "gbc": (-6, 0),
    "transrate": (0, INF),
    "sfda": (0, 1),
    "lfc": (-1, 1),
    "pactran_gauss": (-INF, INF),
    "ncti": (-INF, INF),
    "nce": (-math.log(3), 0),
    "leep": (-INF, 0),
    "pactran_dirichlet": (-INF, INF),
    "pactran_gamma": (-INF, INF),
    "ridge": (0, 1),
    "linear_probe": (0, 1),
}


RANGES_OF_FIVE = {
    "h_score": (0, 4),
    "h_score_shrunk": (0, 4),
    "gbc": (-20, 0),
    "nce": (-math.log(5), 0),
}


def inputs(name, F):
    """What the metric reads, made of features: themselves, or a softmax of them."""
    return softmax(F, axis=1) if METRICS[name].needs == "probabilities" else F


def score(name, X, y):
    """The metric called by its kind: its value, or its parts."""
    by_name = METRICS[name].needs == "probabilities"
    metric = METRICS[name].score
    found = metric(probabilities=X, labels=y) if by_name else metric(X, y)
    return np.array(found) if METRICS[name].combine else found


def test_every_metric_has_a_range():
    assert set(RANGES) == set(METRICS)
    assert {metric.needs for metric in METRICS.values()} == {"features", "probabilities"}


def test_every_metric_that_standardizes_unless_told_is_marked():
    options = {n: signature(m.score).parameters.get("standardize") for n, m in METRICS.items()}
    on = {name for name, option in options.items() if option is not None and option.default}
    assert on == {name for name, metric in METRICS.items() if metric.standardize} != set()


def test_features_of_a_standardized_zoo_are_scored_as_they_are(small_zoo):
    labels = FeatureStore(small_zoo).labels("apples")
    skewed = blobs(len(labels), 12)[0] * 10.0 ** np.arange(-2, 10)
    skewed = (skewed / 1e6).astype(np.float32)
    FeatureStore.write_features(small_zoo, "wide", "apples", skewed)
    for standardized in (False, True):
        FeatureStore.write_manifest(small_zoo, extractor="psi", standardized=standardized)
        table = score_zoo(FeatureStore(small_zoo), "apples", ["knn", "ridge"])
        knn, ridge = table.values[table.models.index("wide")]
        assert knn == METRICS["knn"].score(skewed, labels)
        assert ridge == METRICS["ridge"].score(skewed, labels, standardize=not standardized)
    assert ridge != METRICS["ridge"].score(skewed, labels)


@pytest.mark.parametrize("name", ALL)
def test_the_order_of_rows_does_not_count(name):
    F, y = blobs(noise=1.5)
    order = np.random.default_rng(7).permutation(len(F))
    X, same = inputs(name, F), SAME.get(name, 1e-12)
    assert score(name, X[order], y[order]) == pytest.approx(score(name, X, y), abs=same)


@pytest.mark.parametrize("name", ALL)
def test_the_names_of_classes_do_not_count(name):
    F, y = blobs(noise=1.5)
    X, same = inputs(name, F), SAME.get(name, 1e-12)
    assert score(name, X, np.array([40, -3, 7])[y]) == pytest.approx(score(name, X, y), abs=same)
    assert np.array_equal(score(name, X, np.array([-3, 7, 40])[y]), score(name, X, y))
    assert np.array_equal(score(name, X, y.astype(np.uint8).tolist()), score(name, X, y))


@pytest.mark.parametrize("name", ALL)
def test_float32_input_will_do(name):
    F, y = blobs(noise=1.5)
    X = inputs(name, F)
    assert score(name, X.astype(np.float32), y) == pytest.approx(score(name, X, y), abs=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_the_layout_in_memory_does_not_count(name):
    F, y = blobs(noise=1.5)
    X = inputs(name, F)
    strided = np.repeat(X, 2, axis=0)[::2].copy(order="F")
    strided.setflags(write=False)
    assert score(name, strided, y) == pytest.approx(score(name, X, y), abs=1e-12)


EDGES = {
    "more features than rows": blobs(12, 50),
    "a constant feature": with_columns(3),
    "a feature of zeros": with_columns(0),
    "all features constant": (np.full((40, 6), 3.0), np.arange(40) % 3),
    "all features zero": (np.zeros((40, 6)), np.arange(40) % 3),
    "a class of one sample": (blobs()[0], np.repeat([0, 1, 2], [20, 19, 1])),
    "every row its own class but one": (blobs(6)[0], np.array([0, 1, 2, 3, 4, 4])),
    "one feature": blobs(width=1),
    "large features": (1e6 * blobs()[0], blobs()[1]),
    "small features": (1e-6 * blobs()[0], blobs()[1]),
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("edge", EDGES)
def test_at_the_edges_a_score_is_finite_and_in_its_range(name, edge):
    F, y = EDGES[edge]
    low, high = RANGES[name]
    if edge == "every row its own class but one":
        low, high = RANGES_OF_FIVE.get(name, (low, high))
    found = np.atleast_1d(score(name, inputs(name, F), y))
    assert np.isfinite(found).all()
    assert (low - 1e-12 <= found).all()
    assert (found <= high + 1e-12).all()


@pytest.mark.parametrize("name", ["ridge", "linear_probe"])
def test_a_probe_does_not_see_a_constant_feature(name):
    F, y = blobs(noise=1.5)
    with_constant = np.insert(F, 2, 5.0, axis=1)
    assert score(name, with_constant, y) == pytest.approx(score(name, F, y), abs=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_features_that_tell_the_classes_apart_score_higher(name):
    (clear, y), (vague, _) = blobs(60, noise=0.3), blobs(60, noise=30.0)
    found = [score(name, inputs(name, F / F.std()), y) for F in (clear, vague)]
    combine = METRICS[name].combine
    clear, vague = found if combine is None else combine(np.stack(found))
    assert clear > vague


@pytest.mark.parametrize("name", ["logme", "knn", "h_score_shrunk", "ridge"])
def test_standardize_standardizes_first(name):
    F, y = blobs(noise=1.5)
    skewed = F * 10.0 ** np.arange(-2, 4) + 5
    by_hand = (skewed - skewed.mean(0)) / skewed.std(0)
    metric = METRICS[name].score
    expected = metric(by_hand, y, standardize=False)
    assert metric(skewed, y, standardize=True) == pytest.approx(expected, abs=1e-9)
    assert metric(skewed, y, standardize=False) != pytest.approx(expected, abs=1e-6)


def put(X, value):
    X = X.copy()
    X[3, 1] = value
    return X


BAD = {
    "a label short": (lambda X, y: (X, y[:-1]), ("labels", "N=40", 39)),
    "a label more": (lambda X, y: (X[:-1], y), ("labels", "N=39", 40)),
    "no labels": (lambda X, y: (X, y[:0]), ("labels", "N=40", 0)),
    "one class": (lambda X, y: (X, 0 * y + 7), ("labels", "two classes", 7)),
    "labels as text": (lambda X, y: (X, y.astype(str)), ("labels", "<U21")),
    "labels as objects": (lambda X, y: (X, y.astype(object)), ("labels", "object")),
    "NaN": (lambda X, y: (put(X, np.nan), y), ("First row: 3", "1 ")),
    "infinity": (lambda X, y: (put(X, np.inf), y), ("First row: 3", "1 ")),
    "no rows": (lambda X, y: (X[:0], y[:0]), ("[N, ", "(0, 6)")),
    "no columns": (lambda X, y: (X[:, :0], y), ("[N, ", "(40, 0)")),
    "a vector": (lambda X, y: (X[:, 0], y), ("[N, ", "(40,)")),
    "a stack": (lambda X, y: (X[None], y), ("[N, ", "(1, 40, 6)")),
    "objects": (lambda X, y: (X.astype(object), y), ("object", "(40, 6)")),
    "text": (lambda X, y: (X.astype(str), y), ("<U32", "(40, 6)")),
    "complex": (lambda X, y: (X.astype(complex), y), ("complex128", "(40, 6)")),
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("bad", BAD)
def test_bad_input_is_refused_in_one_line(refused, name, bad):
    spoil, mentions = BAD[bad]
    F, y = blobs()
    X, y = spoil(inputs(name, F), y)
    with refused(*mentions):
        score(name, X, y)
