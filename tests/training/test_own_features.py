"""Class centres of models' own features, against a loop over rows in float64."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spider_jax.tasks.sampling import MetaTask, sample_tasks
from spider_jax.training import own_features as own_features_module
from spider_jax.training.own_features import OwnFeatures, own_features, own_scaling, scale_own
from spider_jax.zoo.store import FeatureStore
from support.small_training import CONFIG, Refused
from support.small_zoo import SMALL_CLASSES, put

MODELS = ("narrow", "middle", "wide")
WIDTH, CLASSES, LEAST = 6, 4, 2
Array = NDArray[np.float64]


@pytest.fixture(params=[False, True], ids=["all rows", "splits"])
def zoo(small_zoo: Path, request: pytest.FixtureRequest) -> FeatureStore:
    for task in SMALL_CLASSES if request.param else ():
        n = len(np.load(small_zoo / f"labels/{task}.npy"))
        put(small_zoo, f"splits/{task}", (np.arange(n) % 3 == 1).astype(np.int8))
    return FeatureStore(small_zoo)


def sampled(zoo: FeatureStore) -> list[MetaTask]:
    return sample_tasks({t: zoo.training_labels(t) for t in zoo.tasks}, CONFIG.tasks, 0)


def mask_of(meta: list[MetaTask]) -> NDArray[np.bool_]:
    sizes = [int(task.labels.max()) + 1 for task in meta]
    return np.arange(CLASSES)[None] < np.array(sizes)[:, None]


def found_in(zoo: FeatureStore, meta: list[MetaTask], **options: int) -> OwnFeatures:
    asked = {"width": WIDTH, "least": LEAST} | options
    return own_features(zoo, MODELS, meta, mask_of(meta), zoo.tasks, **asked)


def rows_by_dataset(zoo: FeatureStore, model: str) -> dict[str, Array]:
    """Features of the training rows, read past the store."""
    found = {}
    for name in zoo.tasks:
        rows = np.load(zoo.folder / f"features/{model}/{name}.npy").astype(np.float64)
        split = zoo.folder / f"splits/{name}.npy"
        found[name] = rows[np.load(split) == 0] if split.exists() else rows
    return found


def centres_by_loop(rows: dict[str, Array], task: MetaTask) -> Array:
    """[C, D] means of the raw rows of a task, one row after another."""
    width = next(iter(rows.values())).shape[1]
    sums, counts = np.zeros((CLASSES, width)), np.zeros(CLASSES)
    for source, row, label in zip(task.source, task.rows, task.labels, strict=True):
        sums[label] += rows[task.datasets[source]][row]
        counts[label] += 1
    return sums / np.maximum(counts, 1)[:, None]


def assert_tokens(zoo: FeatureStore, meta: list[MetaTask], found: OwnFeatures) -> None:
    """By the scalings that the spider keeps, applied to raw class centres: what it does later."""
    for t, task in enumerate(meta):
        for model, tokens in zip(found.models[t], found.tokens[t], strict=True):
            mean, matrix, _ = found.scalings[model]
            raw = centres_by_loop(rows_by_dataset(zoo, MODELS[model]), task)
            classes = int(task.labels.max()) + 1
            expected = (raw[:classes] - np.float64(mean)) @ np.float64(matrix)
            np.testing.assert_allclose(tokens[:classes], expected, rtol=0, atol=2e-5)
            assert (tokens[classes:] == 0).all()


def test_tokens_of_all_models(zoo: FeatureStore) -> None:
    meta = sampled(zoo)
    found = found_in(zoo, meta)
    assert found.tokens.shape == (len(meta), 3, CLASSES, WIDTH)
    assert found.tokens.dtype == np.float32
    assert (found.models == np.arange(3)).all()
    assert_tokens(zoo, meta, found)


def test_tokens_of_some_models_where_all_find_no_room(
    zoo: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_features_module, "NUMBERS", 1)
    meta = sampled(zoo)
    found = found_in(zoo, meta)
    assert found.tokens.shape == (len(meta), LEAST, CLASSES, WIDTH)
    assert (np.diff(found.models, axis=1) > 0).all()
    drawn, counts = np.unique(found.models, return_counts=True)
    assert drawn.tolist() == [0, 1, 2]
    assert counts.min() > len(meta) / 3
    assert_tokens(zoo, meta, found)
    again, other = found_in(zoo, meta), found_in(zoo, meta, seed=1)
    assert (again.models == found.models).all()
    assert (again.tokens == found.tokens).all()
    assert (other.models != found.models).any()


def test_room_for_two_of_three(zoo: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    meta = sampled(zoo)
    monkeypatch.setattr(own_features_module, "NUMBERS", 2 * len(meta) * CLASSES * WIDTH)
    assert found_in(zoo, meta, least=1).models.shape == (len(meta), 2)


def test_tokens_have_mean_square_one(zoo: FeatureStore) -> None:
    meta = sampled(zoo)
    mask, found = mask_of(meta), found_in(zoo, meta)
    for place in range(3):
        real = found.tokens[:, place][mask].astype(np.float64)
        assert (real**2).mean() == pytest.approx(1, abs=1e-5)


def test_scaling_is_standardised_principal_components(zoo: FeatureStore) -> None:
    """By NumPy's SVD; the directions of variance are uncorrelated and fall."""
    rows = np.concatenate(list(rows_by_dataset(zoo, "wide").values()))
    scaling = own_scaling(zoo, "wide", zoo.tasks, WIDTH)
    z = (rows - rows.mean(0)) / rows.std(0)
    _, _, directions = np.linalg.svd(z, full_matrices=False)
    found = (rows - np.float64(scaling.mean)) @ np.float64(scaling.matrix)
    expected = z @ directions[:WIDTH].T
    signs = np.sign((found * expected).sum(0))
    np.testing.assert_allclose(found, expected * signs, rtol=0, atol=1e-4)


def test_a_narrow_model_is_padded(zoo: FeatureStore) -> None:
    scaling = own_scaling(zoo, "narrow", zoo.tasks, WIDTH)
    assert scaling.matrix.shape == (5, WIDTH)
    assert (scaling.matrix[:, 5:] == 0).all()
    assert (np.abs(scaling.matrix[:, :5]).max(0) > 0).all()


def test_few_rows_of_every_source_are_enough(
    zoo: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_features_module, "SCALING_ROWS", 40)
    parts = []
    for rows in rows_by_dataset(zoo, "wide").values():
        step = len(rows) // 10
        parts.append(rows[[i * step for i in range(10)]])
    expected = np.concatenate(parts).mean(0)
    scaling = own_scaling(zoo, "wide", zoo.tasks, WIDTH)
    np.testing.assert_allclose(scaling.mean, expected, rtol=0, atol=1e-6)


def test_rows_go_by_in_blocks(zoo: FeatureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    scaling = own_scaling(zoo, "wide", zoo.tasks, WIDTH)
    rows = np.array([5, 2, 2, 17, 0, 30])
    whole = scale_own(scaling, zoo.features("wide", "cars"), rows)
    raw = np.load(zoo.folder / "features/wide/cars.npy").astype(np.float64)[rows]
    expected = (raw - np.float64(scaling.mean)) @ np.float64(scaling.matrix)
    np.testing.assert_allclose(whole, expected, rtol=0, atol=1e-5)
    monkeypatch.setattr(own_features_module, "BLOCK_NUMBERS", 25)  # two rows at a time
    blocks = scale_own(scaling, zoo.features("wide", "cars"), rows)
    np.testing.assert_allclose(blocks, whole, rtol=0, atol=1e-6)


def test_features_that_cannot_be_read(small_zoo: Path, refused: Refused) -> None:
    features = np.load(small_zoo / "features/wide/dice.npy")
    features[3] = np.inf
    put(small_zoo, "features/wide/dice", features)
    zoo = FeatureStore(small_zoo)
    with refused("'wide'", "'dice'"):
        found_in(zoo, sampled(zoo))
