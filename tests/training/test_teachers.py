"""Teachers against the public metrics, the models that they leave out, and what they remember."""

import ctypes
import json
import logging
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from spider_jax.metrics import METRICS
from spider_jax.runtime.blas import NAMES, one_blas_thread
from spider_jax.storage.files import write_json
from spider_jax.tasks.moments import gather
from spider_jax.tasks.sampling import TaskConfig, sample_tasks
from spider_jax.tasks.tokens import load_sources
from spider_jax.training import teachers
from spider_jax.training.teachers import BATCH, TEACHERS, teach
from spider_jax.zoo.store import FeatureStore
from support.toy_tasks import standardized

pytestmark = pytest.mark.slow

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


def test_some_tasks_may_be_asked_for(small_zoo):
    zoo = FeatureStore(small_zoo)
    tasks = tasks_of(zoo)
    _, whole, _ = teach(zoo, tasks, TAUGHT)
    for only in ([], [3], [18, 2, 7]):
        models, part, _ = teach(zoo, tasks, TAUGHT, only=np.array(only, np.int64))
        assert models == zoo.models
        assert part.shape == (len(only), *whole.shape[1:])
        np.testing.assert_allclose(part, whole[only], atol=1e-6)


# ---- what was computed once --------------------------------------------------------------------


@pytest.fixture
def computed(monkeypatch):
    """The metrics computed of each model in turn; `.stop_after` so many the run is interrupted."""

    class Computed(list):
        stop_after = 10**9

    found, real = Computed(), teachers._teach_model

    def counting(features, tasks, metrics, **options):
        if len(found) == found.stop_after:
            raise KeyboardInterrupt
        found.append(metrics)
        return real(features, tasks, metrics, **options)

    monkeypatch.setattr(teachers, "_teach_model", counting)
    return found


def labels_on_disk():
    return sorted(teachers.default_folder("labels").rglob("*.json"))


def taught(folder, names=TAUGHT, config=CONFIG, **options):
    zoo = FeatureStore(folder)
    return teach(zoo, tasks_of(zoo, config), names, **options)[1]


def test_a_second_run_computes_nothing(small_zoo, computed, tmp_path):
    first = taught(small_zoo)
    assert computed == [TAUGHT] * 4
    assert len(labels_on_disk()) == 4
    assert taught(small_zoo).tobytes() == first.tobytes()
    shutil.copytree(small_zoo, tmp_path / "copy")  # the content counts, not the name
    assert taught(tmp_path / "copy").tobytes() == first.tobytes()
    assert len(computed) == 4


def test_an_interrupted_run_loses_one_model(small_zoo, computed):
    computed.stop_after = 2
    with pytest.raises(KeyboardInterrupt):
        taught(small_zoo)
    assert len(labels_on_disk()) == 2
    computed.stop_after = 10**9
    assert taught(small_zoo).tobytes() == taught(small_zoo, cache=False).tobytes()
    assert len(computed) == 4 + 4


def test_another_teacher_is_added_to_what_is_there(small_zoo, computed):
    taught(small_zoo, ("knn", "logme"))
    both = taught(small_zoo, ("logme", "ridge"))
    assert computed == [("knn", "logme")] * 4 + [("ridge",)] * 4
    np.testing.assert_allclose(both, taught(small_zoo, ("logme", "ridge"), cache=False), atol=1e-9)


def changed_feature(folder):
    path = folder / "features" / "wide" / "birds.npy"
    F = np.load(path)
    F[7, 3] += 0.5
    np.save(path, F)


def swapped_labels(folder):
    path = folder / "labels" / "birds.npy"
    y = np.load(path)
    y[[0, int(np.argmax(y != y[0]))]] = y[[int(np.argmax(y != y[0])), 0]]
    np.save(path, y)


def standardized_before(folder):
    FeatureStore.write_manifest(folder, extractor="psi", standardized=True)


def a_split(folder):
    (folder / "splits").mkdir()
    n = len(np.load(folder / "labels" / "cars.npy"))
    np.save(folder / "splits" / "cars.npy", (np.arange(n) == 0).astype(np.int8))


@pytest.mark.parametrize(
    ("change", "again"),
    [(changed_feature, 1), (swapped_labels, 4), (standardized_before, 4), (a_split, 4)],
)
def test_what_depends_on_a_change_is_computed_again(small_zoo, computed, change, again):
    def sampled(zoo):  # from rows that are there with and without a split
        return sample_tasks({name: zoo.labels(name)[:-5] for name in zoo.tasks}, CONFIG, 0)

    zoo = FeatureStore(small_zoo)
    teach(zoo, sampled(zoo), TAUGHT)
    change(small_zoo)
    zoo = FeatureStore(small_zoo)
    tasks = sampled(zoo)
    found = teach(zoo, tasks, TAUGHT)[1]
    assert len(computed) == 4 + again
    assert found.tobytes() == teach(zoo, tasks, TAUGHT, cache=False)[1].tobytes()


def test_other_tasks_and_another_version_are_computed_again(small_zoo, computed, monkeypatch):
    taught(small_zoo)
    taught(small_zoo, config=replace(CONFIG, rows=40))
    monkeypatch.setitem(METRICS, "knn", METRICS["knn"]._replace(version=99))
    taught(small_zoo)
    assert computed == [TAUGHT] * 8 + [("knn",)] * 4
    monkeypatch.setattr(teachers, "LABELS", 99)
    taught(small_zoo)
    assert computed[12:] == [TAUGHT] * 4


def of_another_length(path):
    values = {name: parts[:-1] for name, parts in json.loads(path.read_text())["values"].items()}
    write_json(path, "score-cache", {"values": values})


def not_finite(path):
    content = json.loads(path.read_text())
    next(iter(content["values"].values()))[0] = float("nan")
    path.write_text(json.dumps(content))


def of_text(path):
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"values": dict.fromkeys(content["values"], "0.5")}))


def of_texts(path):
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"values": {name: ["0.5"] for name in content["values"]}}))


DAMAGE = {
    "no values": lambda path: write_json(path, "score-cache", {}),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:200]),
    "no text": lambda path: path.write_bytes(b"\xff\x00" * 50),
    "another format": lambda path: write_json(path, "zoo", {"values": {}}),
    "a newer version": lambda path: path.write_text(
        path.read_text().replace('"version": 1', '"version": 2')
    ),
    "another length": of_another_length,
    "not finite": not_finite,
    "text": of_text,
    "texts": of_texts,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_is_replaced(small_zoo, computed, caplog, damage):
    first = taught(small_zoo)
    path = labels_on_disk()[1]
    whole = path.read_bytes()
    damage(path)
    with caplog.at_level(logging.WARNING, "spider_jax"):
        assert taught(small_zoo).tobytes() == first.tobytes()
    assert len(computed) == 5
    assert path.name in caplog.text
    assert path.read_bytes() == whole
    taught(small_zoo)
    assert len(computed) == 5


def test_no_folder_costs_the_cache_not_the_run(small_zoo, computed, caplog, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING, "spider_jax"):
        found = taught(small_zoo)
    assert "not cached" in caplog.text
    assert found.tobytes() == taught(small_zoo, cache=False).tobytes()


def test_the_cache_is_where_it_is_asked_for(small_zoo, computed, tmp_path):
    taught(small_zoo, cache=False)
    assert labels_on_disk() == []
    for where in (tmp_path / "here", str(tmp_path / "here")):
        taught(small_zoo, cache=where)
    assert len(list((tmp_path / "here").rglob("*.json"))) == 4
    assert labels_on_disk() == []
    assert len(computed) == 8


# ---- threads -----------------------------------------------------------------------------------


def blas_threads():
    """How many threads NumPy's OpenBLAS uses; None where there is none to ask."""
    library = ctypes.CDLL(np.linalg._umath_linalg.__file__)
    asked = [name.format("get_num_threads") for name in NAMES]
    return next((getattr(library, name)() for name in asked if hasattr(library, name)), None)


def test_blas_has_one_thread_inside_and_its_own_again_outside():
    before = blas_threads()
    if before is None or (os.cpu_count() or 1) == 1:
        pytest.skip("NumPy has no OpenBLAS here, or one core")
    with one_blas_thread():
        assert blas_threads() == 1
    assert blas_threads() == before
    with pytest.raises(np.linalg.LinAlgError), one_blas_thread():
        np.linalg.eigh(np.zeros(3))
    assert blas_threads() == before
