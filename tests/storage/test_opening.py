"""What may be opened: no FIFO is read, nothing is written through a link, caches are ours."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spider_jax.index.zoo_index import ZooIndex
from spider_jax.spider.spider import Spider
from spider_jax.storage.cache import ScoreCache
from spider_jax.storage.files import atomic_file, atomic_folder, read_json, write_json
from spider_jax.storage.locks import locked_folder
from spider_jax.storage.npy import read_header
from spider_jax.storage.run_folder import RunFolder
from spider_jax.storage.toml_page import read_page
from spider_jax.training.config import TrainConfig
from spider_jax.zoo.accuracies import read_accuracies
from spider_jax.zoo.matrix_file import matrix_path
from spider_jax.zoo.store import FeatureStore
from spider_jax.zoo.unfinished import work_folder
from support.toy_index import toy_spider

READERS: dict[str, Callable[[Path], object]] = {
    "json": lambda path: read_json(path, "zoo"),
    "npy": read_header,
    "toml": lambda path: read_page(path, TrainConfig),
    "csv": read_accuracies,
}


# ---- reading ---------------------------------------------------------------------------------


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ["fifo", "device", "socket of a link"])
def test_only_regular_files_are_read(reader: str, kind: str, tmp_path: Path, refused: Any) -> None:
    path = tmp_path / "file"
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else "/dev/null")
    with refused(path):
        READERS[reader](path)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"format": "spider_jax/zoo", "version": 1, "a": ' + "[" * 200 + "]" * 200 + "}",
        '{"format": "spider_jax/zoo", "version": 1, "a": NaN}',
        '{"format": "spider_jax/zoo", "version": true}',
        '{"format": "spider_jax/zoo", "version": ' + "9" * 5000 + "}",
    ],
    ids=["list", "object", "deep but whole", "NaN", "true", "long number"],
)
def test_hostile_json_is_one_line(text: str, tmp_path: Path, refused: Any) -> None:
    (tmp_path / "x.json").write_text(text)
    with refused(tmp_path / "x.json"):
        read_json(tmp_path / "x.json", "zoo")


@pytest.mark.parametrize(
    "text",
    ["a = " + "[" * 5000, "a = " + "{a=" * 500, "seed = " + "9" * 5000, "members = 1_000_000_000"],
)
def test_hostile_toml_is_one_line(text: str, tmp_path: Path, refused: Any) -> None:
    (tmp_path / "x.toml").write_text(text)
    with refused(tmp_path / "x.toml"):
        read_page(tmp_path / "x.toml", TrainConfig)


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, refused: Any) -> None:
    with (tmp_path / "x.json").open("wb") as file:
        file.truncate(1 << 40)  # a hole, which takes no room
    with refused("x.json", "at most", "MB are read"):
        read_json(tmp_path / "x.json", "zoo")


# ---- writing ---------------------------------------------------------------------------------


def write_atomic_file(path: Path) -> None:
    with atomic_file(path) as file:
        file.write(b"x")


def write_atomic_folder(path: Path) -> None:
    with atomic_folder(path):
        pass


@pytest.mark.parametrize("write", [write_atomic_file, write_atomic_folder])
@pytest.mark.parametrize("target", ["file", "folder", "nothing", "fifo"])
def test_nothing_is_written_in_the_place_of_a_link(
    write: Callable[[Path], None], target: str, tmp_path: Path, refused: Any
) -> None:
    aim, path = tmp_path / "aim", tmp_path / "path"
    if target == "file":
        aim.write_text("mine")
    elif target == "folder":
        aim.mkdir()
    if target == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(aim)
    with refused(path):
        write(path)
    assert {p.name for p in tmp_path.iterdir()} <= {"path", "aim"}
    assert target != "file" or aim.read_text() == "mine"


ZOO_WRITES: dict[str, Callable[[Path], object]] = {
    "labels": lambda zoo: FeatureStore.write_labels(zoo, "t", np.arange(4)),
    "features": lambda zoo: FeatureStore.write_features(zoo, "m", "t", np.ones((4, 2), np.float32)),
    "features/m": lambda zoo: FeatureStore.write_features(
        zoo, "m", "t", np.ones((4, 2), np.float32)
    ),
    "manifest.json": lambda zoo: FeatureStore.write_manifest(zoo, extractor="m"),
    "probabilities": lambda zoo: matrix_path(zoo / "probabilities", "m", "t"),
    ".extract": lambda zoo: work_folder(zoo, "m", "t"),
    ".extract/m/t": lambda zoo: work_folder(zoo, "m", "t"),
}


@pytest.mark.parametrize("place", ZOO_WRITES)
def test_no_part_of_a_zoo_is_written_through_a_link(
    place: str, tmp_path: Path, refused: Any
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    link = tmp_path / "zoo" / place
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    with refused(link, "symbolic link"):
        ZOO_WRITES[place](tmp_path / "zoo")
    assert list(outside.iterdir()) == []


def test_a_zoo_may_itself_be_reached_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "zoo").symlink_to(tmp_path / "disk")
    FeatureStore.write_labels(tmp_path / "zoo", "t", np.arange(4))
    assert (tmp_path / "disk" / "labels" / "t.npy").exists()


@pytest.mark.parametrize("name", [".lock", "blocks", "index.json", "building.json", "shared"])
def test_an_index_is_not_written_through_a_link(name: str, tmp_path: Path, refused: Any) -> None:
    index, outside = tmp_path / "index", tmp_path / "outside"
    ZooIndex.build(toy_spider(3), index)
    if name in ("blocks", "shared"):
        (index / name).rename(outside)
    else:
        outside.write_text("mine")
        (index / name).unlink(missing_ok=True)
    (index / name).symlink_to(outside)
    with refused(index / name, "symbolic link"):
        ZooIndex.build(toy_spider(3), index)
    assert outside.is_dir() or outside.read_text() == "mine"


# ---- caches and runs -------------------------------------------------------------------------

KEY = "ab" + 62 * "0"


def test_caches_and_runs_are_private(tmp_path: Path) -> None:
    os.umask(before := os.umask(0o002))
    try:
        os.umask(0o002)
        ScoreCache(tmp_path / "a" / "cache", KEY).put("x", np.ones(1))
        RunFolder(tmp_path / "b" / "run", {"seed": 0})
    finally:
        os.umask(before)
    made = [p for p in tmp_path.rglob("*") if p.is_dir()]
    assert len(made) == 5
    assert {oct(path.stat().st_mode & 0o777) for path in made} == {"0o700"}


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o722])
def test_what_others_may_have_written_is_not_trusted(
    mode: int, tmp_path: Path, refused: Any, caplog: pytest.LogCaptureFixture
) -> None:
    ScoreCache(tmp_path / "cache", KEY).put("x", np.ones(1))
    assert ScoreCache(tmp_path / "cache", KEY).get("x") is not None
    (tmp_path / "cache").chmod(mode)
    assert ScoreCache(tmp_path / "cache", KEY).get("x") is None
    assert "writable by others" in caplog.text
    RunFolder(tmp_path / "run", {"seed": 0})
    (tmp_path / "run").chmod(mode)
    with refused(tmp_path / "run", "writable by others"):
        RunFolder(tmp_path / "run", {"seed": 0})


@pytest.mark.parametrize("change", ["value", "key", "checksum"])
def test_a_cache_entry_that_was_changed_or_moved_is_not_used(
    change: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ScoreCache(tmp_path, KEY).put("x", np.array([0.5]))
    path = tmp_path / "ab" / f"{KEY}.json"
    content = json.loads(path.read_text())
    key = KEY
    if change == "key":
        key = "ab" + 62 * "1"
        path.rename(path.with_name(f"{key}.json"))
    elif change == "value":
        path.write_text(json.dumps(content | {"values": {"x": [0.9]}}))
    else:
        path.write_text(json.dumps(content | {"checksum": "0"}))
    assert ScoreCache(tmp_path, key).get("x") is None
    assert "damaged, or of another key" in caplog.text


# ---- checksums bind names --------------------------------------------------------------------


@pytest.mark.parametrize("change", ["reversed", "renamed", "width"])
def test_a_description_that_was_changed_is_found(change: str, tmp_path: Path, refused: Any) -> None:
    toy_spider(4).save(tmp_path / "spider")
    path = tmp_path / "spider" / "spider.json"
    content = json.loads(path.read_text())
    if change == "reversed":
        content["models"].reverse()
    elif change == "renamed":
        content["models"][0] = "other"
    else:
        content["seed"] = 5
    path.write_text(json.dumps(content))
    with refused(path, "is not the one that was written"):
        Spider.load(tmp_path / "spider")


@pytest.mark.parametrize("change", ["names", "removed", "block order"])
def test_an_index_whose_names_were_changed_is_found(
    change: str, tmp_path: Path, refused: Any
) -> None:
    folder = tmp_path / "index"
    ZooIndex.build(toy_spider(4), folder).remove(["m1"])
    if change == "names":
        path = folder / "blocks" / "00000000" / "names.txt"
        path.write_text("".join(f"{name}\n" for name in reversed(path.read_text().split())))
    else:
        path = folder / "index.json"
        content = json.loads(path.read_text())
        if change == "removed":
            content["blocks"][0]["removed"] = [2]
        else:
            content["blocks"][0]["checksum"] = "0"
            del content["checksum"]
        path.write_text(json.dumps(content))
    with refused(folder, "copy the index again"):
        list(ZooIndex.open(folder).names())


# ---- two at once -----------------------------------------------------------------------------


def test_a_folder_that_is_replaced_is_still_held_by_one(tmp_path: Path) -> None:
    """The second waits for the first, though the folder that it waits at has gone meanwhile."""
    folder, seen = tmp_path / "spider", []
    write_json(folder / "n.json", "note", {"n": 0})

    def add_one() -> None:
        with locked_folder(folder):
            n = read_json(folder / "n.json", "note")["n"]
            with atomic_folder(folder) as fresh:
                write_json(fresh / "n.json", "note", {"n": n + 1})
            seen.append(n)

    threads = [threading.Thread(target=add_one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seen) == list(range(6))
    assert read_json(folder / "n.json", "note")["n"] == 6
