"""N-LEEP against its definition, its start, its edges and what it refuses."""

from importlib import import_module

import numpy as np
import pytest

from spider_jax.metrics.methods.n_leep import n_leep, n_leep_of
from spider_jax.metrics.shared import statistics
from spider_jax.metrics.shared.statistics import Statistics
from support.references import metrics as references
from support.toy_tasks import blobs, columns_twice, rank_deficient, rows_twice, with_columns

module = import_module(
    "spider_jax.metrics.methods.n_leep"
)  # the package has the function by that name
F, y = blobs(noise=1.5)
CASES = {
    "more rows than features": (F, y),
    "more features than rows": blobs(20, 50),
    "as many features as rows": blobs(20, 20),
    "rank 3 of 8, tall": rank_deficient(40, 8, 3),
    "rank 4 of 30, wide": rank_deficient(20, 30, 4),
    "constant columns": with_columns(3, 0),
    "columns twice": columns_twice(),
    "rows twice": rows_twice(20, 6),
    "a class of one sample": (F, np.repeat([0, 1, 2], [20, 19, 1])),
    "labels with gaps": (F, np.array([40, -3, 7])[y]),
    "float32": (F.astype(np.float32), y),
    "far from 0": (F + 1e3, y),
    "small": (1e-6 * F, y),
    "one feature": blobs(width=1),
    "a full bucket of rows": blobs(64),
    "one row over the bucket": blobs(65),
    "more than a bucket of directions": blobs(150, 60, 7, noise=2.0),
}


def start(n, components=5, seed=3):
    """Responsibilities [n, components] that are nowhere 0 and nowhere equal."""
    return np.random.default_rng(seed).dirichlet(np.full(components, 0.3), size=n)


@pytest.mark.parametrize("options", [(1, 0.8), (25, 0.8), (4, 0.99)])
@pytest.mark.parametrize("case", CASES)
def test_n_leep_agrees_with_the_definition(case, options):
    features, labels = CASES[case]
    steps, variance = options
    R = start(len(features))
    expected = references.n_leep(features, labels, R, steps, variance)
    found = n_leep(features, labels, responsibilities=R, steps=steps, variance=variance)
    assert found == pytest.approx(expected, abs=1e-9)


def test_a_component_without_a_row_is_dead():
    R = np.hstack([start(40), np.zeros((40, 4))])
    assert n_leep(F, y, responsibilities=R) == pytest.approx(
        n_leep(F, y, responsibilities=R[:, :5]), abs=1e-12
    )
    assert n_leep(F, y, responsibilities=R, steps=3) == pytest.approx(
        references.n_leep(F, y, R, 3), abs=1e-9
    )


def test_the_number_of_directions_is_the_least_that_holds_the_variance():
    """Variances in the ratio 4 : 3 : 2 : 1, so 0.4, 0.7, 0.9 and 1 of the total."""
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(np.hstack([np.ones((60, 1)), rng.normal(size=(60, 4))]))[0][:, 1:]
    Z = Q * np.sqrt([4.0, 3, 2, 1])
    for features in (Z, 1e-3 * Z[:, ::-1] + 7, np.hstack([Z, np.zeros((60, 90))])):
        given = Statistics(features, np.arange(60) % 3)
        shares = (0.01, 0.39, 0.41, 0.69, 0.71, 0.89, 0.91, 1.0)
        widths = [module._coordinates(given, share).shape[1] for share in shares]
        assert widths == [1, 1, 2, 2, 3, 3, 4, 4]


def test_a_few_directions_or_all_of_them_are_the_same(monkeypatch):
    features, labels = blobs(150, 60, 7, noise=0.3)
    R, found = start(150), []
    for below, tried in ((1024, 64), (10, 7), (10, 1)):
        monkeypatch.setattr(module, "FULL_BELOW", below)
        monkeypatch.setattr(module, "DIRECTIONS", tried)
        found.append(n_leep(features, labels, responsibilities=R))
    np.testing.assert_allclose(found, found[0], atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"responsibilities": start(150)}])
def test_blocks_of_rows_change_nothing(monkeypatch, tmp_path, options):
    features, labels = blobs(150, 6, 7, noise=2.0)
    expected = n_leep(features, labels, **options)
    np.save(tmp_path / "F.npy", features)
    monkeypatch.setattr(module, "BLOCK_NUMBERS", 100)
    monkeypatch.setattr(statistics, "BLOCK_NUMBERS", 7 * 6)
    file = np.load(tmp_path / "F.npy", mmap_mode="r")
    assert n_leep(file, labels, **options) == pytest.approx(expected, abs=1e-12)


def test_shared_statistics_give_the_same():
    given = Statistics(F, y)
    for options in ({}, {"components": 7, "seed": 2, "steps": 3, "variance": 0.5}):
        assert n_leep_of(given, **options) == n_leep(F, y, **options)


# ---- the start ---------------------------------------------------------------------------------


def test_a_seed_gives_one_score_in_any_order_of_rows():
    assert n_leep(F, y, seed=1) == n_leep(F, y, seed=1)
    assert n_leep(F, y, seed=1) != n_leep(F, y, seed=2)
    order = np.random.default_rng(7).permutation(40)
    assert n_leep(F[order], y[order]) == pytest.approx(n_leep(F, y), abs=1e-12)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_scale_and_origin_do_not_count(scale):
    assert n_leep(scale * (F + 5), y) == pytest.approx(n_leep(F, y), abs=1e-9)


def test_k_means_finds_clusters_that_lie_apart():
    rng = np.random.default_rng(0)
    truth = rng.permutation(np.arange(400) % 8)
    Z = 100 * rng.normal(size=(8, 5))[truth] + rng.normal(size=(400, 5))
    found = module._kmeans(Z, 8, np.random.default_rng(0))
    assert len(set(zip(truth.tolist(), found.tolist(), strict=True))) == 8


def test_more_components_than_distinct_rows_are_left_empty():
    features = np.tile(np.random.default_rng(0).normal(size=(3, 4)), (10, 1))
    labels = np.arange(30) % 3
    assert n_leep(features, labels, components=9) == pytest.approx(0, abs=1e-9)


def test_seeds_are_drawn_from_a_part_of_very_many_rows(monkeypatch):
    monkeypatch.setattr(module, "SEEDING_ROWS", 30)
    assert -np.log(3) < n_leep(F, y, components=5) <= 0
    assert n_leep(F, y, components=5) == n_leep(F, y, components=5)


def test_the_default_number_of_components():
    # min(N, 5 C, max(min(C, N // 5), N // 10))
    sizes = ((3000, 10), (300, 10), (40, 3), (6, 5), (4, 2))
    assert [module._default_components(*size) for size in sizes] == [50, 30, 4, 1, 1]


# ---- edges -------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, 0.1, 3.0])
def test_constant_features_leave_the_entropy_of_the_labels(value):
    labels = np.repeat([0, 1, 2], [20, 15, 5])
    share = np.array([20, 15, 5]) / 40
    entropy = -(share * np.log(share)).sum()
    for options in ({}, {"responsibilities": start(40)}):
        found = n_leep(np.full((40, 6), value), labels, **options)
        assert found == pytest.approx(-entropy, abs=1e-12)


def test_rows_that_are_their_class_mean_leave_nothing_to_say():
    means = np.random.default_rng(0).normal(size=(3, 5))
    assert n_leep(means[y], y, components=3) == pytest.approx(0, abs=1e-9)


BAD = {
    "no components": ({"components": 0}, ("components", "from 1", 40, "got 0")),
    "more components than rows": ({"components": 41}, ("components", 40, "got 41")),
    "no variance": ({"variance": 0.0}, ("variance", "(0, 1]", "got 0.0")),
    "too much variance": ({"variance": 1.5}, ("variance", "(0, 1]", "got 1.5")),
    "no share": ({"variance": float("nan")}, ("variance", "(0, 1]", "got nan")),
    "no steps": ({"steps": 0}, ("steps", "at least 1", "got 0")),
    "a row short": ({"responsibilities": start(39)}, ("responsibilities", "N=40", "(39, 5)")),
    "a vector": ({"responsibilities": np.ones(40)}, ("responsibilities", "[N=40, K]", "(40,)")),
    "no column": ({"responsibilities": np.ones((40, 0))}, ("responsibilities", "(40, 0)")),
    "text": ({"responsibilities": np.full((40, 2), "a")}, ("responsibilities", "<U1")),
    "NaN": ({"responsibilities": np.full((40, 2), np.nan)}, ("responsibilities", "40", "row: 0")),
    "no softmax": ({"responsibilities": 2 * start(40)}, ("responsibilities", "sum to 1", 40)),
    "negative": (
        {"responsibilities": np.tile([1.5, -0.5], (40, 1))},
        ("responsibilities", "sum to 1", "First row: 0"),
    ),
    "both": (
        {"responsibilities": start(40), "components": 5},
        ("components", "None", "responsibilities", "got 5"),
    ),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_options_are_refused_in_one_line(refused, bad):
    options, mentions = BAD[bad]
    with refused(*mentions):
        n_leep(F, y, **options)
