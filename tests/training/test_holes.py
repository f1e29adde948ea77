"""What is missing costs its cell: a model on a dataset, or a dataset without the extractor."""

from pathlib import Path

import numpy as np
import pytest

from spider_jax.training.targets import without_holes
from spider_jax.zoo.store import FeatureStore
from support.small_training import CONFIG, train
from support.small_zoo import SMALL_MODELS


def test_a_hole_is_the_models_usual_standing() -> None:
    rng = np.random.default_rng(0)
    standing = rng.normal(size=(1, 2, 5))
    scale, centre = rng.uniform(1, 9, (6, 2, 1)), rng.normal(size=(6, 2, 1))
    whole = (scale * standing + centre).astype(np.float32)
    assert without_holes(whole) is whole
    holes = whole.copy()
    holes[2:4, :, 1] = np.nan
    filled = without_holes(holes)
    known = np.isfinite(holes)
    np.testing.assert_array_equal(filled[known], whole[known])
    off = np.abs(filled - whole) / scale
    assert off[2:4, :, 1].max() < 0.6  # of the deviation of the standings, which is 1


@pytest.mark.parametrize("harm", ["missing", "NaN", "cut"])
def test_a_model_missing_on_a_dataset_stays(small_zoo: Path, harm: str) -> None:
    path = small_zoo / "features" / "wide" / "cars.npy"
    if harm == "missing":
        path.unlink()
    elif harm == "NaN":
        broken = np.load(path)
        broken[3] = np.nan
        np.save(path, broken)
    else:
        path.write_bytes(path.read_bytes()[:-1])
    spider = train(FeatureStore(small_zoo))
    assert spider.models == SMALL_MODELS
    (left_out,) = spider.description.training["left_out"]
    assert left_out.startswith("wide on cars: ")
    scores = spider.rank_task(FeatureStore(small_zoo), "birds").scores
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("harm", ["missing", "NaN", "one class with training rows"])
def test_a_dataset_that_cannot_be_read_costs_itself(small_zoo: Path, harm: str) -> None:
    path = small_zoo / "features" / "psi" / "cars.npy"
    if harm == "missing":
        path.unlink()
    elif harm == "NaN":
        np.save(path, np.full_like(np.load(path), np.nan))
    else:
        labels = np.load(small_zoo / "labels" / "cars.npy")
        (small_zoo / "splits").mkdir()
        np.save(small_zoo / "splits" / "cars.npy", (labels != 0).astype(np.int8))
    spider = train(FeatureStore(small_zoo))
    assert spider.description.training["datasets"] == ["apples", "birds", "dice"]
    assert "cars: " in spider.description.training["left_out"][0]


def test_none_left_is_refused(small_zoo: Path, refused) -> None:  # type: ignore[no-untyped-def]
    for path in (small_zoo / "features" / "psi").glob("*.npy"):
        np.save(path, np.full_like(np.load(path), np.nan))
    with refused("can be trained on", "NaN"):
        train(FeatureStore(small_zoo), CONFIG)
