"""Tokens, sampled tasks, scaling, teachers and the task kernel against their definitions."""

import math
from itertools import pairwise

import jax.numpy as jnp
import numpy as np
import pytest

from spider_jax.kernel import BANDWIDTH, task_kernel
from spider_jax.metrics import METRICS
from spider_jax.scaling import KINDS, fit_scaling, with_unit_tokens
from spider_jax.store import FeatureStore
from spider_jax.tasks import (
    MetaTask,
    TaskConfig,
    class_bucket,
    gather,
    load_sources,
    pad_tokens,
    sample_tasks,
    task_tokens,
)
from spider_jax.teachers import BATCH, TEACHERS, teach


def sources(**classes):
    """Labels of datasets with so many classes, of 3, 8, 13, ... rows."""
    rng = np.random.default_rng(0)
    return {
        name: rng.permutation(np.repeat(np.arange(size), 3 + 5 * np.arange(size))).astype(np.int32)
        for name, size in classes.items()
    }


# ---- tokens -----------------------------------------------------------------------------------


def test_tokens_are_the_means_of_classes_in_the_order_of_their_labels():
    rng = np.random.default_rng(0)
    F, y = rng.normal(size=(30, 5)), rng.permutation(np.arange(30) % 3)
    names = np.array([7, 40, -3])[y]
    expected = [F[names == name].mean(0) for name in (-3, 7, 40)]
    np.testing.assert_allclose(task_tokens(F, names), expected, rtol=1e-6)
    assert task_tokens(F, names).dtype == np.float32


def test_tokens_are_summed_in_float64():
    F = np.float32([[1e8], [1], [-1e8], [5]])
    assert task_tokens(F, [0, 0, 0, 1]).tolist() == [[np.float32(1 / 3)], [5]]


def test_tokens_of_a_broken_task_are_refused(refused):
    F = np.ones((4, 2))
    with refused("labels", "N=4", 3):
        task_tokens(F, [0, 1, 0])
    with refused("labels", "two classes"):
        task_tokens(F, [3, 3, 3, 3])
    F[2, 1] = np.nan
    with refused("features", "First row: 2"):
        task_tokens(F, [0, 1, 0, 1])


@pytest.mark.parametrize("classes", [*range(1, 18), 31, 32, 33, 400, 1000])
def test_a_bucket_is_the_next_power_of_two(classes):
    assert class_bucket(classes) == max(8, 2 ** math.ceil(math.log2(classes)))


def test_tokens_are_padded_to_the_bucket_of_the_largest_task():
    rng = np.random.default_rng(0)
    tokens = [rng.normal(size=(c, 4)).astype(np.float32) for c in (3, 9, 1)]
    padded, mask = pad_tokens(tokens)
    assert padded.shape == (3, 16, 4)
    assert mask.sum(1).tolist() == [3, 9, 1]
    for task, row, real in zip(tokens, padded, mask, strict=True):
        np.testing.assert_array_equal(row[real], task)
        assert (row[~real] == 0).all()


# ---- sampling ---------------------------------------------------------------------------------

SOURCES = sources(apples=3, birds=5, cars=8, dice=2)
CONFIGS = {
    "few classes": TaskConfig(count=60, max_classes=5, rows=40, min_per_class=4),
    "many classes": TaskConfig(count=60, min_classes=6, max_classes=12, max_per_class=9),
    "whole sources": TaskConfig(count=60, min_classes=18, max_classes=18, min_per_class=1),
    "more classes than there are": TaskConfig(count=20, min_classes=50, max_classes=60),
    "one source a task": TaskConfig(count=60, single=1.0),
    "two sources a task": TaskConfig(count=60, single=0.0, max_datasets=2),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_a_task_holds_rows_of_its_classes(config):
    tasks = sample_tasks(SOURCES, config, 0)
    assert len(tasks) == config.count
    for task in tasks:
        assert len(task.source) == len(task.rows) == len(task.labels) <= config.max_rows
        assert set(task.datasets) <= set(SOURCES)
        assert sorted(set(task.source)) == list(range(len(task.datasets)))
        assert len(task.datasets) <= config.max_datasets
        assert len(set(zip(task.source, task.rows, strict=True))) == len(task.rows)
        check_classes(task, config)


def check_classes(task, config):
    """Labels are 0..C-1, each one class of one source, with as many rows as asked for or there."""
    classes, found = int(task.labels.max()) + 1, set()
    per_class = np.clip(config.rows // classes, config.min_per_class, config.max_per_class)
    for label in range(classes):
        here = task.labels == label
        (source,) = set(task.source[here])
        labels = SOURCES[task.datasets[source]]
        (original,) = set(labels[task.rows[here]])
        assert here.sum() == min(per_class, (labels == original).sum())
        found.add((source, original))
    assert len(found) == classes


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_number_of_classes_is_in_its_range(config):
    for task in sample_tasks(SOURCES, config, 1):
        classes = len(set(task.labels))
        there = sum(len(set(SOURCES[name])) for name in task.datasets)
        assert min(config.min_classes, there) <= classes <= min(config.max_classes, there)


def test_every_number_of_classes_in_the_range_occurs():
    labels, config = sources(many=20), TaskConfig(count=200, min_classes=4, max_classes=9)
    sizes = [len(set(task.labels)) for task in sample_tasks(labels, config, 0)]
    assert set(sizes) == set(range(4, 10))


@pytest.mark.parametrize(("single", "count"), [(0.0, 200), (0.6, 400), (1.0, 200)])
def test_the_share_of_tasks_from_one_source(single, count):
    # All classes of what is drawn are taken, so a task touches every source drawn for it.
    config = TaskConfig(count=count, single=single, min_classes=18, max_classes=18)
    touched = [len(task.datasets) for task in sample_tasks(SOURCES, config, 0)]
    five_deviations = 5 * math.sqrt(single * (1 - single) / count)
    assert np.mean(np.equal(touched, 1)) == pytest.approx(single, abs=five_deviations)
    assert set(touched) - {1} == (set() if single == 1 else {2, 3})


def test_every_source_and_every_class_is_drawn():
    tasks = sample_tasks(SOURCES, CONFIGS["few classes"], 0)
    drawn = {
        (name, int(SOURCES[name][row]))
        for task in tasks
        for name, row in zip(np.array(task.datasets)[task.source], task.rows, strict=True)
    }
    assert drawn == {(name, c) for name, labels in SOURCES.items() for c in set(labels.tolist())}


def as_bytes(tasks):
    return [(t.datasets, t.source.tobytes(), t.rows.tobytes(), t.labels.tobytes()) for t in tasks]


def test_the_seed_decides_the_tasks():
    config = TaskConfig(count=20)
    drawn = as_bytes(sample_tasks(SOURCES, config, 0))
    assert as_bytes(sample_tasks(SOURCES, config, 0)) == drawn
    assert as_bytes(sample_tasks(SOURCES, config, 1)) != drawn


def test_a_single_source_is_enough_and_none_is_not(refused):
    tasks = sample_tasks({"dice": SOURCES["dice"]}, TaskConfig(count=5, single=0.0), 0)
    assert [task.datasets for task in tasks] == [("dice",)] * 5
    with refused("at least one dataset"):
        sample_tasks({}, TaskConfig(), 0)


@pytest.mark.parametrize(
    "settings",
    [
        {"count": 0},
        {"max_datasets": 0},
        {"single": -0.1},
        {"single": 1.1},
        {"min_classes": 1},
        {"min_classes": 9, "max_classes": 8},
        {"min_per_class": 0},
        {"min_per_class": 9, "max_per_class": 8},
    ],
)
def test_settings_out_of_range_are_named(refused, settings):
    with refused("tasks:", *settings):
        TaskConfig(**settings)


def test_gather_reads_every_row_from_its_own_source():
    rng = np.random.default_rng(0)
    features = {name: rng.normal(size=(len(y), 3)) for name, y in SOURCES.items()}
    for task in sample_tasks(SOURCES, TaskConfig(count=10), 0):
        expected = [
            features[task.datasets[source]][row]
            for source, row in zip(task.source, task.rows, strict=True)
        ]
        np.testing.assert_array_equal(gather(task, features), np.float32(expected))


def test_gather_by_hand():
    task = MetaTask(("b", "a"), np.int32([1, 0]), np.int64([1, 0]), np.int32([0, 1]))
    features = {"a": np.float32([[1, 2], [3, 4]]), "b": np.float32([[5, 6]])}
    assert gather(task, features).tolist() == [[3, 4], [5, 6]]


# ---- scaling ----------------------------------------------------------------------------------


def raw_features(n=50, width=6):
    """Correlated columns of different means and scales, the third constant."""
    rng = np.random.default_rng(1)
    F = rng.normal(size=(n, width)) @ rng.normal(size=(width, width)) * 10.0 ** np.arange(-2, 4) + 3
    F[:, 2] = 7
    return F.astype(np.float32)


def standardized(F):
    F, sd = np.float64(F), np.float64(F).std(0)
    return (F - F.mean(0)) / np.where(sd > 0, sd, 1)


def scaled_rows(scaling, F):
    return np.asarray(scaling(jnp.asarray(F[None]), jnp.ones((1, len(F)), bool)))[0]


def distances(F):
    return np.linalg.norm(F[:, None] - F[None], axis=-1)


def test_raw_changes_nothing():
    F = raw_features()
    np.testing.assert_array_equal(scaled_rows(fit_scaling(F, kind="raw", spread=False), F), F)


def test_standardize_brings_every_feature_to_mean_0_and_deviation_1():
    F = raw_features()
    found = scaled_rows(fit_scaling(F, kind="standardize", spread=False), F)
    np.testing.assert_allclose(found, standardized(F), atol=1e-4)


def test_pca_turns_the_standardized_features():
    F = raw_features()
    found = scaled_rows(fit_scaling(F, kind="pca", spread=False), F)
    np.testing.assert_allclose(distances(found), distances(standardized(F)), atol=1e-3)
    covariance = found.T @ found / len(F)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-3)
    assert all(a >= b - 1e-4 for a, b in pairwise(np.diag(covariance)))


def test_pca_keeps_the_leading_components():
    F = raw_features()
    most = np.linalg.svd(standardized(F), compute_uv=False)[:2]
    scaling = fit_scaling(F, kind="pca", components=2, spread=False)
    found = scaled_rows(scaling, F)
    assert scaling.width == found.shape[1] == 2
    np.testing.assert_allclose(np.linalg.norm(found, axis=0), most, rtol=1e-4)


def test_the_signs_of_components_do_not_depend_on_the_order_of_rows():
    F = raw_features()
    np.testing.assert_allclose(fit_scaling(F).matrix, fit_scaling(F[::-1].copy()).matrix, atol=1e-4)


def random_tokens(sizes, width=6, seed=0):
    rng = np.random.default_rng(seed)
    return pad_tokens([rng.normal(size=(c, width)).astype(np.float32) for c in sizes])


@pytest.mark.parametrize("kind", KINDS)
def test_the_spread_stands_beside_every_token(kind):
    tokens, mask = random_tokens((3, 7, 1))
    plain, wide = (fit_scaling(raw_features(), kind=kind, spread=s) for s in (False, True))
    expected = np.asarray(plain(jnp.asarray(tokens), jnp.asarray(mask)))
    found = np.asarray(wide(jnp.asarray(tokens), jnp.asarray(mask)))
    assert found.shape[-1] == wide.width == 2 * plain.width
    for task, real, before in zip(found, mask, expected, strict=True):
        spread = np.abs(before[real] - before[real].mean(0))
        np.testing.assert_allclose(task[real], np.hstack([before[real], spread]), atol=1e-4)
        assert (task[~real] == 0).all()
        assert (before[~real] == 0).all()


@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_unit_tokens_have_mean_square_one(kind, spread):
    tokens, mask = random_tokens((3, 7, 1))
    scaling = fit_scaling(raw_features(), kind=kind, spread=spread)
    unit = with_unit_tokens(scaling, tokens, mask)
    found = np.asarray(unit(jnp.asarray(tokens), jnp.asarray(mask)))
    assert np.mean(found[mask].astype(float) ** 2) == pytest.approx(1, abs=1e-5)
    factor = np.linalg.norm(unit.matrix) / np.linalg.norm(scaling.matrix)
    np.testing.assert_allclose(unit.matrix, factor * scaling.matrix, rtol=1e-6)
    np.testing.assert_array_equal(unit.mean, scaling.mean)


@pytest.mark.parametrize("kind", KINDS)
def test_features_that_say_nothing_stay_finite(kind):
    scaling = fit_scaling(np.full((10, 4), 3.0), kind=kind)
    tokens, mask = np.full((1, 8, 4), 3.0, np.float32), np.arange(8)[None] < 2
    unit = with_unit_tokens(scaling, tokens, mask)
    assert np.isfinite(unit(jnp.asarray(tokens), jnp.asarray(mask))).all()


def test_scalings_that_are_none_are_refused(refused):
    with refused("scaling", "pca", "'whiten'"):
        fit_scaling(raw_features(), kind="whiten")
    with refused("components", 0):
        fit_scaling(raw_features(), components=0)


# ---- teachers ---------------------------------------------------------------------------------

CONFIG = TaskConfig(count=BATCH + 3, max_classes=6, rows=48, min_per_class=4)  # a batch and a bit
TAUGHT = tuple(TEACHERS)


def tasks_of(zoo, config=CONFIG):
    return sample_tasks({name: zoo.labels(name) for name in zoo.tasks}, config, 0)


def test_a_teacher_is_the_public_metric_of_the_standardized_features(small_zoo):
    zoo = FeatureStore(small_zoo)
    tasks = tasks_of(zoo)
    models, found, problems = teach(zoo, tasks, TAUGHT)
    assert models == zoo.models
    assert problems == ()
    for m, model in enumerate(models):
        features = load_sources(zoo, model, zoo.tasks)
        for task, scores in zip(tasks, found[:, :, m], strict=True):
            F = standardized(gather(task, features))
            expected = [METRICS[name].score(F, task.labels, standardize=False) for name in TAUGHT]
            np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_features_standardized_before_are_only_centred(small_zoo):
    FeatureStore.write_manifest(small_zoo, extractor="psi", standardized=True)
    zoo = FeatureStore(small_zoo)
    tasks = tasks_of(zoo)[:2]
    models, found, _ = teach(zoo, tasks, TAUGHT)
    for m, model in enumerate(models):
        for t, task in enumerate(tasks):
            F = gather(task, load_sources(zoo, model, zoo.tasks)).astype(float)
            F = F - F.mean(0)
            expected = [METRICS[name].score(F, task.labels, standardize=False) for name in TAUGHT]
            np.testing.assert_allclose(found[t, :, m], expected, atol=1e-4)


def test_a_task_scores_alone_as_it_does_among_others(small_zoo):
    zoo = FeatureStore(small_zoo)
    tasks = tasks_of(zoo)
    _, together, _ = teach(zoo, tasks, TAUGHT)
    _, alone, _ = teach(zoo, tasks[-1:], TAUGHT)
    np.testing.assert_allclose(alone[0], together[-1], atol=1e-6)


def test_a_model_with_nan_is_left_out_and_listed(small_zoo):
    path = small_zoo / "features" / "middle" / "birds.npy"
    F = np.load(path)
    F[4, 2] = np.nan
    np.save(path, F)
    tasks = tasks_of(FeatureStore(small_zoo))
    models, found, (problem,) = teach(FeatureStore(small_zoo), tasks, TAUGHT)
    assert models == ("narrow", "psi", "wide")
    assert found.shape == (len(tasks), len(TAUGHT), 3)
    assert np.isfinite(found).all()
    assert problem.model == "middle"
    assert "birds" in problem.message


def test_nan_in_a_dataset_that_no_task_touches_leaves_no_model_out(small_zoo):
    np.save(small_zoo / "features" / "middle" / "birds.npy", np.full((45, 8), np.nan, np.float32))
    zoo = FeatureStore(small_zoo)
    tasks = sample_tasks({"cars": zoo.labels("cars")}, CONFIG, 0)
    models, _, problems = teach(zoo, tasks, TAUGHT)
    assert "middle" in models
    assert problems == ()


def test_teachers_that_cannot_teach_are_refused(small_zoo, refused):
    zoo = FeatureStore(small_zoo)
    tasks = tasks_of(zoo)
    with refused("'nce'", "logme", "ridge"):
        teach(zoo, tasks, ["logme", "nce"])
    for model in ("middle", "narrow", "wide"):
        path = small_zoo / "features" / model / "cars.npy"
        np.save(path, np.full_like(np.load(path), np.inf))
    with refused("fewer than two models", "cars"):
        teach(FeatureStore(small_zoo), tasks, TAUGHT)


# ---- the task kernel --------------------------------------------------------------------------


def kernel_by_hand(train, targets, task):
    """The ranking of one task: a loop over training tasks, tokens [C, D] without padding."""

    def embed(tokens):
        return np.hstack([tokens.mean(0), tokens.std(0)]).astype(float)

    distance = [((embed(task) - embed(other)) ** 2).sum() for other in train]
    weight = [math.exp(-(d - min(distance)) / (BANDWIDTH * np.std(distance))) for d in distance]
    return sum(w * target for w, target in zip(weight, targets, strict=True)) / sum(weight)


def test_the_kernel_is_a_weighted_mean_of_training_targets():
    rng = np.random.default_rng(0)
    train, asked = random_tokens((3, 7, 1, 9, 4)), random_tokens((2, 12, 5), seed=1)
    targets = rng.normal(size=(5, 4))
    found = task_kernel(*train, targets, *asked)
    known = [tokens[real] for tokens, real in zip(*train, strict=True)]
    for scores, tokens, real in zip(found, *asked, strict=True):
        np.testing.assert_allclose(scores, kernel_by_hand(known, targets, tokens[real]), rtol=1e-5)


def test_a_training_task_seen_again_is_ranked_mostly_as_it_was():
    train = random_tokens((3, 3, 3, 3))
    targets = np.eye(4)
    assert task_kernel(*train, targets, *train).argmax(1).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("count", [1, 3])
def test_training_tasks_that_look_alike_count_alike(count):
    tokens, mask = random_tokens((3,))
    train = np.repeat(tokens, count, axis=0), np.repeat(mask, count, axis=0)
    targets = np.random.default_rng(0).normal(size=(count, 5))
    found = task_kernel(*train, targets, *random_tokens((4,), seed=1))
    np.testing.assert_allclose(found[0], targets.mean(0), rtol=1e-12)
