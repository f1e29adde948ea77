"""A spider to disk and back: every bit, what may be replaced, damage, what is not loaded."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spider_jax.belief.factors import Factors
from spider_jax.spider.checkpoint import refuse_foreign
from spider_jax.spider.spider import Spider
from spider_jax.training.config import TrainConfig
from spider_jax.training.train_spider import HOW_IT_RUNS
from support.small_training import CONFIG, Refused, tokens, with_resolution
from support.small_training import PSI_WIDTH as WIDTH
from support.small_zoo import SMALL_MODELS as MODELS
from support.small_zoo import SMALL_WIDTHS


def content_of(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# ---- on disk ---------------------------------------------------------------------------------


def test_a_round_trip_keeps_every_bit(spider: Spider, saved: Path) -> None:
    loaded = Spider.load(saved)
    tasks = [tokens(0, 3), tokens(1, 9)]
    assert loaded.scores(tasks).tobytes() == spider.scores(tasks).tobytes()
    for name in ("models", "widths", "extractor", "width", "members", "token_width", "precision"):
        assert getattr(loaded.description, name) == getattr(spider.description, name)
    known = spider.description.resolution  # one that is not finite is not known
    expected = known if math.isfinite(known) else math.nan
    assert loaded.description.resolution == pytest.approx(expected, nan_ok=True)
    training = json.loads(json.dumps(spider.description.training))
    assert loaded.description.training == training


def test_what_models_share_may_be_unknown(spider: Spider, tmp_path: Path) -> None:
    """As after a training on one or two datasets: orbax writes no array without numbers."""
    assert spider.beliefs is not None
    own = np.ones(len(spider.models))
    beliefs = spider.beliefs._replace(factors=Factors(np.zeros((len(own), 0)), own))
    alone = replace(spider, beliefs=beliefs)
    alone.save(tmp_path / "spider")
    loaded = Spider.load(tmp_path / "spider")
    assert loaded.belief(tokens()).mean.tobytes() == alone.belief(tokens()).mean.tobytes()
    assert loaded.belief(tokens()).sd.tobytes() == alone.belief(tokens()).sd.tobytes()


def test_an_unknown_resolution_survives(spider: Spider, tmp_path: Path) -> None:
    for resolution in (math.nan, math.inf):
        with_resolution(spider, resolution).save(tmp_path / "spider")
        assert not math.isfinite(Spider.load(tmp_path / "spider").description.resolution)


def test_every_json_says_what_it_is(saved: Path, spider: Spider, tmp_path: Path) -> None:
    spider.rank(tokens()).to_json(saved / "ranking.json")
    kinds = {path.name: json.loads(path.read_text()) for path in saved.glob("*.json")}
    assert set(kinds) == {"spider.json", "checksums.json", "ranking.json"}
    for name, content in kinds.items():
        assert list(content)[:3] == ["format", "version", "created_with"]
        assert content["format"] == f"spider_jax/{name.removesuffix('.json')}"
        assert content["created_with"]["spider_jax"]
    described = kinds["spider.json"]
    assert tuple(described["models"]) == MODELS
    assert described["widths"] == {**SMALL_WIDTHS, "psi": WIDTH}
    assert described["extractor"] == {"name": "psi", "width": WIDTH}
    assert described["precision"] == "float32"
    assert described["training"]["config"]["seed"] == CONFIG.seed
    names = {field.name for field in fields(TrainConfig)} - set(HOW_IT_RUNS)
    assert set(described["training"]["config"]) == names


def test_a_spider_takes_the_place_of_a_spider(spider: Spider, saved: Path, small_zoo: Path) -> None:
    with_resolution(spider, 3.0).save(saved)
    assert Spider.load(saved).description.resolution == 3.0
    assert sorted(path.name for path in saved.parent.iterdir()) == ["small_zoo", "spider"]


def test_an_empty_folder_is_taken(spider: Spider, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    spider.save(str(tmp_path / "empty"))
    assert Spider.load(str(tmp_path / "empty")).models == MODELS


@pytest.mark.parametrize("entry", ["notes.txt", "spider.json.bak", "arrays/x", ".hidden"])
@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside a spider"])
def test_a_foreign_folder_is_refused_and_left_alone(
    spider: Spider, saved: Path, refused: Refused, tmp_path: Path, entry: str, beside: bool
) -> None:
    if beside and entry == "arrays/x":
        entry = "other/x"  # within arrays/ it belongs to the spider that is replaced
    folder = saved if beside else tmp_path / "mine"
    (folder / entry).parent.mkdir(parents=True, exist_ok=True)
    (folder / entry).write_text("mine")
    before = content_of(folder)
    with refused(folder, "no spider"):
        spider.save(folder)
    assert content_of(folder) == before


def test_a_file_in_the_way_is_refused_and_left_alone(
    spider: Spider, tmp_path: Path, refused: Refused
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with refused(file, "is a file"):
        spider.save(file)
    with refused(file, "is a file"):
        spider.save(file / "below")
    with refused(file, "is a file"):
        refuse_foreign(file)
    assert [path.name for path in tmp_path.iterdir() if path.name != "small_zoo"] == ["file"]
    assert file.read_text() == "mine"


# ---- what is not loaded ----------------------------------------------------------------------


def test_what_is_no_spider_is_refused(tmp_path: Path, small_zoo: Path, refused: Refused) -> None:
    with refused("spider.json is missing"):
        Spider.load(tmp_path / "nowhere")
    (tmp_path / "spider.json").write_bytes((small_zoo / "manifest.json").read_bytes())
    with refused("spider.json", "'spider_jax/spider'", "'spider_jax/zoo'"):
        Spider.load(tmp_path)
    (tmp_path / "spider.json").write_text("{")
    with refused("spider.json", "not valid JSON"):
        Spider.load(tmp_path)


@pytest.mark.parametrize("name", ["spider.json", "checksums.json"])
def test_a_newer_version_is_refused(saved: Path, refused: Refused, name: str) -> None:
    edit(saved / name, version=2)
    with refused(name, "version 2", "newer", "upgrade spider_jax"):
        Spider.load(saved)


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 16},
        {"width": "8"},
        {"members": 3},
        {"members": None},
        {"models": ["a", "b"]},
        {"models": "abcd"},
        {"models": 4},
        {"token_width": 5},
        {"scaling": {"diagonal": False, "spread": True}},
        {"scaling": {"diagonal": True, "spread": True}},
        {"extractor": {"name": "psi", "width": 7}},
        {"extractor": {}},
        {"resolution": "wide"},
        {"models": ["middle", "narrow", {"psi": 1}, "wide"]},
        {"extractor": {"name": ["psi"], "width": 6}},
        {"training": {"network_weight": "1"}},
        {"widths": {"psi": [6]}},
        {"precision": ["float32"]},
    ],
    ids=str,
)
def test_a_description_that_does_not_fit_is_refused(
    saved: Path, refused: Refused, capfd: pytest.CaptureFixture[str], changes: dict[str, Any]
) -> None:
    edit(saved / "spider.json", **changes)
    with refused("spider.json"):
        Spider.load(saved)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("key", ["models", "extractor", "scaling", "training"])
def test_a_description_that_lacks_something_is_refused(
    saved: Path, refused: Refused, key: str
) -> None:
    content = json.loads((saved / "spider.json").read_text())
    del content[key]
    (saved / "spider.json").write_text(json.dumps(content))
    with refused("spider.json", key):
        Spider.load(saved)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("harm", [flip, truncate, Path.unlink], ids=["flip", "truncate", "delete"])
def test_any_damaged_file_of_the_arrays_is_refused(
    saved: Path,
    refused: Refused,
    capfd: pytest.CaptureFixture[str],
    harm: Callable[[Path], None],
) -> None:
    files = sorted(path for path in (saved / "arrays").rglob("*") if path.is_file())
    assert len(files) > 3
    for path in files:
        whole = path.read_bytes()
        harm(path)
        with refused("arrays", path.name, "missing" if harm is Path.unlink else "damaged"):
            Spider.load(saved)
        path.write_bytes(whole)
    assert Spider.load(saved).models == MODELS
    assert capfd.readouterr().err == ""


def test_missing_arrays_are_refused(saved: Path, refused: Refused) -> None:
    shutil.rmtree(saved / "arrays")
    with refused("arrays", "missing"):
        Spider.load(saved)
    edit(saved / "checksums.json", files={})
    with refused("arrays", "no files"):
        Spider.load(saved)
    (saved / "checksums.json").unlink()
    with refused("checksums.json is missing"):
        Spider.load(saved)


def test_a_stray_file_beside_the_arrays_does_no_harm(spider: Spider, saved: Path) -> None:
    (saved / "arrays" / ".DS_Store").write_bytes(b"left by a file manager")
    assert Spider.load(saved).scores([tokens()]).tolist() == spider.scores([tokens()]).tolist()
