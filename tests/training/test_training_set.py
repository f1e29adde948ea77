"""What a spider learns from: rows and class centres of meta-tasks, targets, shares of the work."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from spider_jax.ranking.aggregate import AGGREGATES
from spider_jax.tasks import moments as meta_tasks
from spider_jax.tasks.moments import _segment_sums, gather, moments_of_tasks, rows_of_files
from spider_jax.tasks.sampling import MetaTask, TaskConfig, sample_tasks
from spider_jax.tasks.tokens import task_deviations
from spider_jax.training import training_set as training_set_module
from spider_jax.training.config import TrainConfig
from spider_jax.training.targets import target_orders
from spider_jax.training.teachers import teach
from spider_jax.training.training_set import TrainingSet, training_set, with_targets
from spider_jax.zoo.store import FeatureStore
from support.small_training import CONFIG, PSI_WIDTH, Refused, train
from support.small_zoo import SMALL_CLASSES, SMALL_MODELS, put

pytestmark = pytest.mark.slow

ACCURACIES = replace(CONFIG, targets="accuracies")


def sampled(zoo: FeatureStore, config: TaskConfig = CONFIG.tasks) -> list[MetaTask]:
    return sample_tasks({name: zoo.training_labels(name) for name in zoo.tasks}, config, 0)


def with_splits(folder: Path) -> Path:
    """Every third row is no training row; the features are float16."""
    for task in SMALL_CLASSES:
        n = len(np.load(folder / "labels" / f"{task}.npy"))
        put(folder, f"splits/{task}", (np.arange(n) % 3 == 1).astype(np.int8))
        for model in SMALL_MODELS:
            path = folder / "features" / model / f"{task}.npy"
            np.save(path, np.load(path).astype(np.float16))
    return folder


# ---- rows ------------------------------------------------------------------------------------


def test_gather_by_hand() -> None:
    task = MetaTask(("b", "a"), np.int32([1, 0, 1]), np.int64([1, 0, 0]), np.int32([0, 1, 0]))
    features = {"a": np.float32([[1, 2], [3, 4]]), "b": np.float32([[5, 6]])}
    assert gather(task, features).tolist() == [[3, 4], [5, 6], [1, 2]]


def rows_one_by_one(zoo: FeatureStore, model: str, task: MetaTask) -> NDArray[np.float64]:
    """[N, D] of a task, its rows counted in the training rows."""
    rows = []
    for source, row in zip(task.source, task.rows, strict=True):
        name = task.datasets[source]
        split = zoo.split(name)
        kept = range(10**9) if split is None else np.flatnonzero(split == 0)
        rows.append(np.load(zoo.folder / "features" / model / f"{name}.npy")[kept[row]])
    return np.float64(rows)


@pytest.mark.parametrize("splits", [False, True])
def test_rows_are_read_from_the_files_where_they_stand(small_zoo: Path, splits: bool) -> None:
    zoo = FeatureStore(with_splits(small_zoo) if splits else small_zoo)
    tasks = sampled(zoo)
    for model in zoo.models:
        features = {name: zoo.features(model, name) for name in zoo.tasks}
        for task, in_files in zip(tasks, rows_of_files(zoo, tasks), strict=True):
            rows = gather(in_files, features)
            np.testing.assert_array_equal(rows, rows_one_by_one(zoo, model, task))
            assert rows.dtype == np.float32


# ---- class centres ---------------------------------------------------------------------------


def means_one_by_one(zoo: FeatureStore, model: str, task: MetaTask) -> NDArray[np.float64]:
    F = rows_one_by_one(zoo, model, task)
    return np.array([F[task.labels == c].mean(0) for c in range(task.labels.max() + 1)])


def deviations_one_by_one(zoo: FeatureStore, model: str, task: MetaTask) -> NDArray[np.float64]:
    F, centres = rows_one_by_one(zoo, model, task), means_one_by_one(zoo, model, task)
    within = [F[i] - centres[c] for i, c in enumerate(task.labels)]
    return np.array([F.std(0), np.sqrt((np.array(within) ** 2).mean(0))])


@pytest.mark.parametrize("splits", [False, True])
@pytest.mark.parametrize("block", [1, 60, 1 << 22])
def test_centres_are_the_means_of_every_task(
    small_zoo: Path, monkeypatch: pytest.MonkeyPatch, splits: bool, block: int
) -> None:
    monkeypatch.setattr(meta_tasks, "BLOCK_NUMBERS", block)
    zoo = FeatureStore(with_splits(small_zoo) if splits else small_zoo)
    tasks = sampled(zoo, replace(CONFIG.tasks, resamples=2))
    found = moments_of_tasks(zoo, "wide", tasks)
    assert len(found.centres) == len(found.deviations) == len(tasks)
    for task, centres, deviations in zip(tasks, *found, strict=True):
        expected = means_one_by_one(zoo, "wide", task)
        np.testing.assert_allclose(centres, expected, rtol=1e-6, atol=1e-7)
        assert centres.dtype == np.float32
        expected = deviations_one_by_one(zoo, "wide", task)
        np.testing.assert_allclose(deviations, expected, rtol=1e-6, atol=1e-7)
        rows = rows_one_by_one(zoo, "wide", task)
        np.testing.assert_allclose(task_deviations(rows, task.labels), expected, rtol=1e-6)


def test_a_class_may_be_mixed_of_two_datasets(small_zoo: Path) -> None:
    zoo = FeatureStore(small_zoo)
    rows = np.array([3, 9, 4, 0, 30])
    task = MetaTask(("cars", "dice"), np.int32([0, 1, 1, 0, 0]), rows, np.int32([0, 0, 0, 1, 1]))
    ((centres,), (deviations,)) = moments_of_tasks(zoo, "psi", [task])
    np.testing.assert_allclose(centres, means_one_by_one(zoo, "psi", task), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(deviations, deviations_one_by_one(zoo, "psi", task), rtol=1e-5)


def test_no_task_has_no_centre(small_zoo: Path) -> None:
    centres, deviations = moments_of_tasks(FeatureStore(small_zoo), "psi", [])
    assert centres == []
    assert deviations.shape == (0, 2, PSI_WIDTH)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), min_size=1, max_size=40),
    st.integers(1, 12),
)
def test_segment_sums_are_sums_in_float64(pairs: list[tuple[int, int]], block: int) -> None:
    F = np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32)
    F[::2] += np.float32(1e7)  # lost in a float32 sum
    row, segment = (np.array(part, np.int64) for part in zip(*pairs, strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meta_tasks, "BLOCK_NUMBERS", block)
        found, pivot = _segment_sums(F, row, segment)
    expected = np.zeros((2, segment.max() + 1, 3))
    for r, s in pairs:
        expected[0, s] += np.float64(F[r]) - pivot
        expected[1, s] += (np.float64(F[r]) - pivot) ** 2
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-6)


def test_centres_of_an_extractor_with_nan_are_refused(small_zoo: Path, refused: Refused) -> None:
    path = small_zoo / "features" / "psi" / "cars.npy"
    F = np.load(path)
    F[2, 1] = np.nan
    np.save(path, F)
    zoo = FeatureStore(small_zoo)
    with refused("'psi'", "'cars'", "First row: 2"):
        training_set(zoo, CONFIG, zoo.tasks)


# ---- the set ---------------------------------------------------------------------------------


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_a_set_is_what_its_parts_say(small_zoo: Path, aggregate: str) -> None:
    zoo, config = FeatureStore(with_splits(small_zoo)), replace(CONFIG, aggregate=aggregate)
    found = training_set(zoo, config, zoo.tasks)
    meta = sampled(zoo)
    models, metrics, _ = teach(zoo, meta, config.teachers, cache=False)
    assert found.models == models == SMALL_MODELS
    expected = np.float32(AGGREGATES[aggregate](np.float32(metrics)))
    np.testing.assert_array_equal(found.targets, expected)
    assert found.tokens.shape == (len(meta), config.tasks.max_classes, PSI_WIDTH)
    for task, tokens, mask in zip(meta, found.tokens, found.mask, strict=True):
        expected = means_one_by_one(zoo, "psi", task)
        assert mask.tolist() == [c < len(expected) for c in range(config.tasks.max_classes)]
        np.testing.assert_allclose(tokens[mask], expected, rtol=1e-6, atol=1e-7)
        assert (tokens[~mask] == 0).all()


def test_no_dataset_is_read_whole(small_zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a whole dataset was read")

    monkeypatch.setattr(FeatureStore, "training_features", refuse)
    zoo = FeatureStore(small_zoo)
    training_set(zoo, CONFIG, zoo.tasks)


def test_variants_share_the_target_of_their_first(
    small_zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo, plain = FeatureStore(small_zoo), training_set(FeatureStore(small_zoo), CONFIG, ["cars"])
    taught: list[int] = []

    def counting(zoo: FeatureStore, tasks: Any, *rest: Any, **options: Any) -> Any:
        taught.append(len(tasks))
        return teach(zoo, tasks, *rest, **options)

    monkeypatch.setattr(training_set_module, "teach", counting)
    config = replace(CONFIG, tasks=replace(CONFIG.tasks, resamples=3))
    found = training_set(zoo, config, ["cars"])
    assert taught == [CONFIG.tasks.count, 1]  # and the dataset whole
    assert len(found.meta) == len(found.tokens) == len(found.mask) == 3 * CONFIG.tasks.count
    np.testing.assert_array_equal(found.targets, np.repeat(plain.targets, 3, axis=0))
    np.testing.assert_array_equal(found.tokens[::3], plain.tokens)
    assert (found.tokens[1::3] != found.tokens[::3]).any((1, 2)).all()
    np.testing.assert_array_equal(found.mask, np.repeat(plain.mask, 3, axis=0))


def test_a_spider_trains_on_variants_and_on_accuracies(small_zoo: Path) -> None:
    config = replace(CONFIG, tasks=replace(CONFIG.tasks, count=16, resamples=2))
    for targets in ("teachers", "accuracies"):
        spider = train(FeatureStore(small_zoo), replace(config, targets=targets))
        assert spider.models == SMALL_MODELS


# ---- shares of the work ----------------------------------------------------------------------

ALL = CONFIG.tasks.count * 2
SHARES = {
    "halves": [np.arange(ALL // 2), np.arange(ALL // 2, ALL)],
    "every third": [np.arange(i, ALL, 3) for i in range(3)],
    "one and the rest, not in order": [np.array([5]), np.delete(np.arange(ALL), 5)[::-1]],
    "nothing and all": [np.arange(0), np.arange(ALL)],
}


@pytest.mark.parametrize("targets", ["teachers", "accuracies"])
@pytest.mark.parametrize("shares", SHARES.values(), ids=SHARES)
def test_shares_add_up_to_the_whole(
    small_zoo: Path, shares: list[NDArray[np.int64]], targets: str
) -> None:
    zoo = FeatureStore(small_zoo)
    tasks = replace(CONFIG.tasks, resamples=2)
    config = replace(CONFIG, tasks=tasks, targets=targets, aggregate="borda")
    whole = training_set(zoo, config, zoo.tasks)
    parts = [training_set(zoo, config, zoo.tasks, only=only) for only in shares]
    for only, part in zip(shares, parts, strict=True):
        rest = np.delete(np.arange(ALL), only)
        assert not part.tokens[rest].any()
        assert not part.metrics[rest].any()
        assert len(part.targets) == 0
        assert part.models == whole.models
        np.testing.assert_array_equal(part.mask, whole.mask)
        assert [t.rows.tobytes() for t in part.meta] == [t.rows.tobytes() for t in whole.meta]
    np.testing.assert_array_equal(sum(part.tokens for part in parts), whole.tokens)
    metrics = sum(part.metrics for part in parts)
    np.testing.assert_array_equal(metrics, whole.metrics)
    again = with_targets(parts[0]._replace(metrics=metrics), config)
    np.testing.assert_array_equal(again.targets, whole.targets)


def test_every_share_leaves_the_same_cells_out(small_zoo: Path) -> None:
    put(small_zoo, "features/middle/birds", np.full((45, 8), np.nan, np.float32))
    zoo = FeatureStore(small_zoo)
    untouched = [i for i, task in enumerate(sampled(zoo)) if "birds" not in task.datasets]
    part = training_set(zoo, CONFIG, zoo.tasks, only=np.array(untouched[:2]))
    assert part.models == ("middle", "narrow", "psi", "wide")
    assert [(problem.model, problem.task) for problem in part.problems] == [("middle", "birds")]


# ---- true accuracies -------------------------------------------------------------------------


def truth(folder: Path) -> dict[tuple[str, str], float]:
    lines = (folder / "accuracies.csv").read_text().splitlines()[1:]
    return {(m, t): float(a) for m, t, a in (line.split(",") for line in lines)}


def write_truth(folder: Path, found: Mapping[tuple[str, str], float]) -> None:
    lines = [f"{m},{t},{a}" for (m, t), a in found.items()]
    (folder / "accuracies.csv").write_text("\n".join(["model,task,accuracy", *lines, ""]))


def from_accuracies(folder: Path, monkeypatch: pytest.MonkeyPatch) -> TrainingSet:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a teacher ran")

    monkeypatch.setattr(training_set_module, "teach", refuse)
    return training_set(FeatureStore(folder), ACCURACIES, list(SMALL_CLASSES))


def test_accuracies_are_the_targets_of_whole_datasets(
    small_zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, known = from_accuracies(small_zoo, monkeypatch), truth(small_zoo)
    assert found.models == SMALL_MODELS
    assert len(found.meta) == CONFIG.tasks.count
    for task, mask, targets in zip(found.meta, found.mask, found.targets, strict=True):
        (name,) = task.datasets
        assert mask.sum() == SMALL_CLASSES[name]  # cars has more than max_classes
        np.testing.assert_allclose(targets, [known[m, name] for m in SMALL_MODELS], rtol=1e-6)
    assert {task.datasets[0] for task in found.meta} == set(SMALL_CLASSES)
    assert found.problems == ()


def test_models_without_an_accuracy_are_left_out(
    small_zoo: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    known = truth(small_zoo)
    del known["narrow", "birds"]
    write_truth(small_zoo, known)
    with caplog.at_level(logging.WARNING, "spider_jax"):
        found = from_accuracies(small_zoo, monkeypatch)
    assert found.models == ("middle", "psi", "wide")
    assert found.targets.shape[1] == 3
    (problem,) = found.problems
    assert (problem.model, problem.task) == ("narrow", "birds")
    assert "narrow on birds" in caplog.text


def test_accuracies_that_are_not_there_are_refused(
    small_zoo: Path, monkeypatch: pytest.MonkeyPatch, refused: Refused
) -> None:
    write_truth(small_zoo, {k: v for k, v in truth(small_zoo).items() if k[0] == "psi"})
    with refused("fewer than two models", "accuracy", "cars"):
        from_accuracies(small_zoo, monkeypatch)
    (small_zoo / "accuracies.csv").unlink()
    with refused("accuracies.csv", small_zoo):
        from_accuracies(small_zoo, monkeypatch)
    with refused("targets must be one of", "accuracies", "'truth'"):
        TrainConfig(targets="truth")


# ---- calibration -----------------------------------------------------------------------------


def z(values: NDArray[np.floating]) -> NDArray[np.float64]:
    values = np.float64(values)
    return (values - values.mean()) / values.std()


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_targets_move_to_the_known_accuracies(small_zoo: Path, strength: float) -> None:
    """By the definition, one task after another."""
    zoo = FeatureStore(small_zoo)
    config = replace(CONFIG, calibration=strength)
    plain = training_set(zoo, replace(config, calibration=0.0), zoo.tasks)
    found = training_set(zoo, config, zoo.tasks)
    expected = []
    for task, targets in zip(plain.meta, plain.targets, strict=True):
        y = z(targets)
        for i, name in enumerate(task.datasets):
            alone = [
                z(t)
                for m, t in zip(plain.meta, plain.targets, strict=True)
                if m.datasets == (name,)
            ]
            truth = np.array([zoo.accuracies[model, name] for model in plain.models])
            y = y + strength * (task.source == i).mean() * (z(truth) - z(np.mean(alone, axis=0)))
        expected.append(z(y))
    assert any(len(task.datasets) > 1 for task in plain.meta)
    np.testing.assert_allclose(found.targets, expected, atol=1e-5)


def without(zoo: Path, *models: str) -> FeatureStore:
    lines = (zoo / "accuracies.csv").read_text().splitlines()
    kept = [line for line in lines if line.split(",")[0] not in models]
    (zoo / "accuracies.csv").write_text("\n".join(kept))
    return FeatureStore(zoo)


def test_a_model_without_accuracy_is_not_corrected(small_zoo: Path) -> None:
    """By the definition: its gap is 0, that of the others is among themselves."""
    zoo, config = without(small_zoo, "wide"), replace(CONFIG, calibration=1.0)
    plain = training_set(zoo, replace(CONFIG, calibration=0.0), zoo.tasks)
    found = target_orders(config, plain.metrics, plain.meta, plain.accuracies)
    known = [i for i, model in enumerate(plain.models) if model != "wide"]
    for task, targets, corrected in zip(plain.meta, plain.targets, found, strict=True):
        y = z(targets)
        for i, name in enumerate(task.datasets):
            alone = [
                z(t)
                for m, t in zip(plain.meta, plain.targets, strict=True)
                if m.datasets == (name,)
            ]
            truth = np.array([zoo.accuracies[plain.models[m], name] for m in known])
            gap = z(truth) - z(np.mean(alone, axis=0)[known])
            y[known] += (task.source == i).mean() * gap
        np.testing.assert_allclose(corrected, z(y), atol=1e-5)


def test_datasets_with_few_accuracies_stay_as_taught(small_zoo: Path) -> None:
    zoo = without(small_zoo, "wide", "narrow", "middle")
    plain = training_set(zoo, replace(CONFIG, calibration=0.0), zoo.tasks)
    config = replace(CONFIG, calibration=1.0)
    found = target_orders(config, plain.metrics, plain.meta, plain.accuracies)
    for a, b in zip(found, plain.targets, strict=True):
        np.testing.assert_allclose(a, z(b), atol=1e-6)
