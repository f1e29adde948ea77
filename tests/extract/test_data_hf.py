"""Hugging Face datasets from a folder of Parquet files, without network or code of their own."""

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its own, on import
    datasets: Any = pytest.importorskip("datasets", reason="hf: data need datasets")
image: Any = pytest.importorskip("PIL.Image", reason="pictures need pillow")

from spider_jax.extract import extract
from spider_jax.extract.readers import open_data
from spider_jax.zoo.store import FeatureStore
from support.toy_extract import SPEC, pictures

Refused = Callable[..., AbstractContextManager[None]]
pytestmark = pytest.mark.filterwarnings("default")  # datasets warns of itself


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    features = datasets.Features(
        {
            "picture": datasets.Image(),
            "caption": datasets.Value("string"),
            "kind": datasets.ClassLabel(names=["ant", "bee", "cow"]),
            "price": datasets.Value("float32"),
        }
    )
    content = {
        "picture": [image.fromarray(picture) for picture in pictures(6)],
        "caption": list("abcdef"),
        "kind": [0, 2, 0, 2, 0, 2],
        "price": [0.5 * row for row in range(6)],
    }
    (tmp_path / "toys").mkdir()
    table = datasets.Dataset.from_dict(content, features=features)
    table.to_parquet(tmp_path / "toys" / "train-00000-of-00001.parquet")
    return tmp_path / "toys"


def test_pictures_and_classes(folder: Path, tmp_path: Path) -> None:
    data = open_data(f"hf:{folder}:train")
    assert (data.name, data.source, data.modality) == ("toys:train", "hf:toys:train", "image")
    assert data.classes == ("ant", "cow")  # no bee occurs
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert (np.asarray(data.item(4)) == pictures(6)[4]).all()
    assert extract([SPEC], [f"hf:{folder}:train"], tmp_path / "zoo").problems == []
    assert FeatureStore(tmp_path / "zoo").features("tiny", "toys:train").shape == (6, 6)


def test_texts_and_targets(folder: Path) -> None:
    data = open_data(f"hf:{folder}:train?text=caption&label=price")
    assert (data.modality, data.kind, data.item(2)) == ("text", "regression", "c")
    assert data.labels is not None
    assert data.labels.tolist() == [0, 0.5, 1, 1.5, 2, 2.5]


def test_what_is_refused(folder: Path, refused: Refused) -> None:
    with refused("hf:NAME:split"):
        open_data("hf:toys")
    with refused("label must be one of picture, caption, kind, price", "'size'"):
        open_data(f"hf:{folder}:train?label=size")
    with refused("cannot be loaded"):
        open_data(f"hf:{folder}:none")
    (folder / "toys.py").write_text("raise SystemExit('code of a dataset was run')")
    (folder / "train-00000-of-00001.parquet").unlink()
    with refused("cannot be loaded"):
        open_data(f"hf:{folder}:train")
