"""Teachers against the public metrics, and the models that they leave out."""

import numpy as np
from toy_tasks import standardized

from spider_jax.metrics import METRICS
from spider_jax.store import FeatureStore
from spider_jax.tasks import TaskConfig, gather, load_sources, sample_tasks
from spider_jax.teachers import BATCH, TEACHERS, teach

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
