"""Tokens and sampled tasks against their definitions."""

import math
from dataclasses import replace

import numpy as np
import pytest

from spider_jax.tasks import padding
from spider_jax.tasks.padding import class_bucket, class_buckets, pad_tokens
from spider_jax.tasks.sampling import TaskConfig, sample_tasks, whole_tasks
from spider_jax.tasks.tokens import (
    TaskTokens,
    checked_tokens,
    task_centres,
    task_deviations,
    task_tokens,
    zoo_tokens,
)
from spider_jax.zoo.store import FeatureStore


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
    found = task_tokens(F, names, extractor="psi")
    np.testing.assert_allclose(found.centres, expected, rtol=1e-6)
    assert found.centres.dtype == np.float32
    assert found.extractor == "psi"
    np.testing.assert_array_equal(task_centres(F, names), found.centres)


def test_deviations_are_over_all_rows_and_within_classes():
    rng = np.random.default_rng(1)
    F, y = rng.normal(size=(30, 5)), rng.permutation(np.arange(30) % 3)
    within = F - np.array([F[y == label].mean(0) for label in y])
    expected = [F.std(0), np.sqrt((within**2).mean(0))]
    found = task_tokens(F, y).deviations
    assert found is not None
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_array_equal(task_deviations(F, y), found)


def test_tokens_are_summed_in_float64():
    F = np.float32([[1e8], [1], [-1e8], [5]])
    assert task_tokens(F, [0, 0, 0, 1]).centres.tolist() == [[np.float32(1 / 3)], [5]]


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
def test_a_bucket_is_one_of_sixteen_an_octave(classes):
    sizes = [8 * s for s in range(1, 16)] + [2**k * s for k in range(3, 9) for s in range(16, 32)]
    assert class_bucket(classes) == min(size for size in sizes if size >= classes)


def test_tasks_of_a_bucket_are_found_together():
    tokens = [TaskTokens(np.zeros((c, 4), np.float32)) for c in (3, 9, 8, 70, 16)]
    assert class_buckets(tokens) == {(8, False): [0, 2], (16, False): [1, 4], (72, False): [3]}
    tokens[2] = replace(tokens[2], deviations=np.ones((2, 4), np.float32))
    assert class_buckets(tokens)[8, True] == [2]


def test_tokens_are_padded_to_the_bucket_of_the_largest_task(monkeypatch):
    monkeypatch.setattr(padding, "aligned", lambda shape, dtype: np.full(shape, 7, dtype))
    rng = np.random.default_rng(0)
    tokens = [rng.normal(size=(c, 4)).astype(np.float32) for c in (3, 9, 1)]
    padded, mask, deviations = pad_tokens([TaskTokens(task) for task in tokens])
    assert deviations is None
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
        {"resamples": 0},
    ],
)
def test_settings_out_of_range_are_named(refused, settings):
    with refused("tasks:", *settings):
        TaskConfig(**settings)


# ---- variants, whole sources --------------------------------------------------------------------


def classes_of(task, labels):
    """(dataset, class there, rows of it) of every label 0..C-1."""
    found = []
    for label in range(int(task.labels.max()) + 1):
        here = np.flatnonzero(task.labels == label)
        name = task.datasets[task.source[here[0]]]
        assert {task.datasets[source] for source in task.source[here]} == {name}
        (original,) = {int(labels[name][row]) for row in task.rows[here]}
        assert len(set(task.rows[here].tolist())) == len(here)
        found.append((name, original, len(here)))
    return found


@pytest.mark.parametrize("sample", [sample_tasks, whole_tasks])
@pytest.mark.parametrize("resamples", [1, 2, 5])
def test_variants_follow_the_task_that_they_vary(sample, resamples):
    config = TaskConfig(count=30, max_classes=6, min_per_class=2, rows=24)
    plain = sample(SOURCES, config, 3)
    found = sample(SOURCES, replace(config, resamples=resamples), 3)
    assert len(found) == 30 * resamples
    assert as_bytes(found[::resamples]) == as_bytes(plain)
    for group in range(30):
        first, *variants = found[group * resamples : (group + 1) * resamples]
        for variant in variants:
            assert variant.datasets == first.datasets
            assert classes_of(variant, SOURCES) == classes_of(first, SOURCES)


def test_every_variant_has_rows_of_its_own():
    labels = {"one": np.repeat(np.arange(3, dtype=np.int32), 100)}
    found = whole_tasks(labels, TaskConfig(count=4, resamples=3, rows=30), 0)
    assert len({task.rows.tobytes() for task in found}) == 12
    # a class of at most as many rows as are asked for is always there whole
    few = whole_tasks(labels, TaskConfig(count=1, resamples=3, rows=900, max_per_class=300), 0)
    assert {tuple(sorted(task.rows.tolist())) for task in few} == {tuple(range(300))}


def test_the_seed_decides_the_variants():
    config = TaskConfig(count=5, resamples=3)
    drawn = as_bytes(sample_tasks(SOURCES, config, 0))
    assert as_bytes(sample_tasks(SOURCES, config, 0)) == drawn
    assert set(as_bytes(sample_tasks(SOURCES, config, 1))).isdisjoint(drawn)


@pytest.mark.parametrize("rows", [16, 60, 400])
def test_a_whole_task_has_all_classes_of_one_source(rows):
    config = TaskConfig(count=10, max_classes=3, rows=rows, min_per_class=4)
    tasks = whole_tasks(SOURCES, config, 0)
    assert [task.datasets for task in tasks] == [(name,) for name in [*SOURCES] * 3][:10]
    for task in tasks:
        labels = SOURCES[task.datasets[0]]
        size = len(set(labels.tolist()))
        most = min(max(rows // size, 4), 32)
        there = [min(most, int((labels == c).sum())) for c in range(size)]
        assert classes_of(task, SOURCES) == [(task.datasets[0], c, there[c]) for c in range(size)]


def test_whole_tasks_need_a_source(refused):
    with refused("at least one dataset"):
        whole_tasks({}, TaskConfig(), 0)


# ---- of a zoo ---------------------------------------------------------------------------------


def test_tokens_of_a_zoos_task_are_of_its_extractor(small_zoo, refused):
    zoo = FeatureStore(small_zoo)
    rows = np.arange(0, 40, 2)
    for given, options in ((slice(None), {}), (rows, {"rows": rows})):
        wanted = task_tokens(zoo.features("psi", "cars")[given], zoo.labels("cars")[given])
        found = zoo_tokens(zoo, "cars", **options)
        np.testing.assert_array_equal(found.centres, wanted.centres)
        np.testing.assert_array_equal(found.deviations, wanted.deviations)
        assert found.extractor == "psi"
    FeatureStore.write_manifest(small_zoo)
    with refused("no general extractor"):
        zoo_tokens(FeatureStore(small_zoo), "cars")


def test_tokens_of_another_extractor_are_refused(refused):
    extractor = {"name": "psi", "width": 4}
    tokens = TaskTokens(np.ones((3, 4), np.float32), extractor="phi")
    with refused("tokens are of extractor 'phi'", "'psi'"):
        checked_tokens(tokens, extractor)
    bare = checked_tokens(np.ones((3, 4)), extractor)
    assert (bare.centres.dtype, bare.deviations, bare.extractor) == (np.float32, None, None)
