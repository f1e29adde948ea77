"""The index after kill -9, damage, strangers in its folder, files it was not written with."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from programs import killed_index
from programs.killed_index import NEW, OLD, killed_spider, write
from spider_jax.index import files as index_files
from spider_jax.index.zoo_index import ZooIndex
from support.toy_index import only, snapshot, toy_spider, toy_tokens

pytestmark = pytest.mark.slow

Refused = Callable[..., AbstractContextManager[None]]
SPIDER = toy_spider(8)
PARTS = ("key.npy", "self_logit.npy", "self_value.npy", "base.npy", "names.txt")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of m0 to m5 in a block of five and one of one; tests work on copies."""
    folder = tmp_path_factory.mktemp("built") / "index"
    ZooIndex.build(only(SPIDER, SPIDER.models[:5]), folder).append(SPIDER, ["m5"])
    return folder


@pytest.fixture
def folder(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "copy"))


def flip(path: Path, bit: int = 1) -> None:
    """One bit in the middle of a file, of an array's data."""
    content, header = bytearray(path.read_bytes()), 128 if path.suffix == ".npy" else 0
    content[(header + len(content)) // 2] ^= bit
    path.write_bytes(content)


# ---- damage -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PARTS[:4])
def test_a_cut_or_missing_array_is_found_on_opening(
    folder: Path, name: str, refused: Refused
) -> None:
    path = folder / "blocks/00000001" / name
    path.write_bytes(path.read_bytes()[:-1])
    with refused(path):
        ZooIndex.open(folder)
    path.unlink()
    with refused(path, "missing"):
        ZooIndex.open(folder)


@pytest.mark.parametrize("bit", [1, 128])
@pytest.mark.parametrize("name", PARTS)
def test_a_flipped_bit_is_found(folder: Path, name: str, bit: int, refused: Refused) -> None:
    index, path = ZooIndex.open(folder), folder / "blocks/00000000" / name
    assert index.verify() == ()
    flip(path, bit)
    (line,) = index.verify()
    assert str(path.parent) in line
    assert name in line
    before = snapshot(folder)
    with refused(path.parent, name):
        index.append(SPIDER, ["m6"])
    assert snapshot(folder) == before


def test_every_damaged_part_is_named(folder: Path) -> None:
    index = ZooIndex.open(folder)
    flip(folder / "blocks/00000000/key.npy")
    (folder / "blocks/00000001/block.json").unlink()
    flip(folder / "shared/head.npy")
    lines = index.verify()
    assert [line.count("\n") for line in lines] == [0, 0, 0]
    for line, part in zip(lines, ("shared", "00000000", "00000001"), strict=True):
        assert part in line


@pytest.mark.parametrize("name", ["mean", "matrix", "value", "head", "norm_scale"])
def test_damage_of_what_is_shared_is_found_on_opening(
    folder: Path, name: str, refused: Refused
) -> None:
    flip(folder / f"shared/{name}.npy")
    with refused(folder / "shared", f"{name}.npy", "damaged"):
        ZooIndex.open(folder)
    (folder / f"shared/{name}.npy").unlink()
    with refused(folder / "shared", f"{name}.npy", "missing"):
        ZooIndex.open(folder)


def test_lost_names_are_one_line(folder: Path, refused: Refused) -> None:
    path = folder / "blocks/00000000/names.txt"
    path.write_text("m0\nm1\n")
    with refused("names.txt"):
        ZooIndex.open(folder).top_k(toy_tokens(), 6)
    path.unlink()
    with refused("names.txt"):
        ZooIndex.open(folder).top_k(toy_tokens(), 6)


# ---- index.json -------------------------------------------------------------------------------

WHOLE = ("extractor", "width", "key_width", "members", "resolution", "precision", "spread")
CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    **{f"no {key}": lambda c, key=key: c.pop(key) for key in (*WHOLE, "shared", "source")},
    "no format": lambda c: c.pop("format"),
    "another format": lambda c: c.update(format="spider_jax/spider"),
    "text for a version": lambda c: c.update(version="1"),
    "an extractor without width": lambda c: c["extractor"].pop("width"),
    "text for the extractor": lambda c: c.update(extractor="psi"),
    "an unknown precision": lambda c: c.update(precision="float16"),
    "another width": lambda c: c.update(width=9),
    "another key width": lambda c: c.update(key_width=9),
    "more members": lambda c: c.update(members=2),
    "no blocks": lambda c: c.pop("blocks"),
    "blocks as a number": lambda c: c.update(blocks=3),
    "a block as text": lambda c: c["blocks"].append("00000000"),
    "a block of no name": lambda c: c["blocks"][0].pop("name"),
    "a block elsewhere": lambda c: c["blocks"][0].update(name="../x"),
    "a block that is not there": lambda c: c["blocks"][0].update(name="00000007"),
    "a block twice": lambda c: c["blocks"].append(c["blocks"][0]),
    "no rows": lambda c: c["blocks"][0].pop("rows"),
    "too many rows": lambda c: c["blocks"][0].update(rows=6),
    "rows as text": lambda c: c["blocks"][0].update(rows="five"),
    "nothing on removed rows": lambda c: c["blocks"][0].pop("removed"),
    "a removed row too many": lambda c: c["blocks"][0].update(removed=[5]),
    "a negative removed row": lambda c: c["blocks"][0].update(removed=[-1]),
    "a row removed twice": lambda c: c["blocks"][0].update(removed=[0, 0]),
    "half a removed row": lambda c: c["blocks"][0].update(removed=[0.5]),
    "a guessed row too many": lambda c: c["blocks"][0].update(guessed=[5]),
    "guesses as text": lambda c: c["blocks"][0].update(guessed="1"),
    **{
        f"{key} is {odd!r}": lambda c, key=key, odd=odd: c.update({key: odd})
        for key in ("width", "key_width", "members", "memory", "rank")
        for odd in ([1], "1", -1, True, 1.5, {"a": [1]})
    },
    "a sum as a number": lambda c: c.update(shared=1),
    "a source as a list": lambda c: c.update(source=["a"]),
    "nothing for the spread": lambda c: c.update(spread=None),
    "another spread": lambda c: c.update(spread=not c["spread"]),
    "a name as a list": lambda c: c["extractor"].update(name=[["psi"]]),
    "a resolution as text": lambda c: c.update(resolution="1"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_an_index_json_that_does_not_fit(folder: Path, case: str, refused: Refused) -> None:
    content = json.loads((folder / "index.json").read_text())
    del content["checksum"]  # which would find them all
    CHANGES[case](content)
    (folder / "index.json").write_text(json.dumps(content))
    with refused(folder):
        ZooIndex.open(folder)


def test_an_index_of_before_guesses_were_listed(folder: Path) -> None:
    content = json.loads((folder / "index.json").read_text())
    del content["blocks"][0]["guessed"], content["checksum"]
    (folder / "index.json").write_text(json.dumps(content))
    assert ZooIndex.open(folder).blocks[0].guessed == ()


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff", b"null"])
def test_an_index_json_that_is_none(folder: Path, text: bytes, refused: Refused) -> None:
    (folder / "index.json").write_bytes(text)
    with refused(folder / "index.json"):
        ZooIndex.open(folder)


def test_a_newer_version_is_refused(folder: Path, refused: Refused) -> None:
    for name in ("shared/block.json", "index.json"):
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(content | {"version": 2}))
        with refused(folder / name, "version 2 is newer", "upgrade"):
            ZooIndex.open(folder)
    with refused(folder / "index.json", "version 2 is newer"):
        ZooIndex.build(SPIDER, folder)


# ---- what else may stand there ----------------------------------------------------------------


@pytest.mark.parametrize("path", ["notes.txt", "shared/notes.txt", "blocks/data/notes.txt"])
def test_a_folder_of_something_else_is_left_alone(
    tmp_path: Path, path: str, refused: Refused
) -> None:
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_text("mine")
    with refused(tmp_path, "choose another"):
        ZooIndex.build(SPIDER, tmp_path)
    assert {name: kept for name, (_, kept) in snapshot(tmp_path).items()} == {path: b"mine"}


def test_a_file_in_place_of_the_folder(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "file").write_text("mine")
    with refused(tmp_path / "file", "file"):
        ZooIndex.build(SPIDER, tmp_path / "file")
    with refused(tmp_path / "file"):
        ZooIndex.open(tmp_path / "file")
    with refused(tmp_path / "none", "missing"):
        ZooIndex.open(tmp_path / "none")
    assert (tmp_path / "file").read_text() == "mine"
    assert os.listdir(tmp_path) == ["file"]


def test_the_index_of_another_spider_is_left_alone(folder: Path, refused: Refused) -> None:
    before = snapshot(folder)
    for other in (SPIDER, toy_spider(5, seed=1), toy_spider(5, precision="bfloat16")):
        with refused(folder, "another index"):
            ZooIndex.build(other, folder)
    assert snapshot(folder) == before


def test_a_file_of_the_file_manager_does_not_stop_a_writer(folder: Path) -> None:
    (folder / "blocks/.DS_Store").write_text("left by a look into the folder")
    assert len(ZooIndex.open(folder).append(SPIDER, ["m6"])) == 7


def test_a_writer_waits_for_no_other(folder: Path, refused: Refused) -> None:
    index, before = ZooIndex.open(folder), snapshot(folder)
    with index_files.writing(folder):
        for write in (
            lambda: index.append(SPIDER, ["m6"]),
            lambda: index.remove(["m0"]),
            lambda: ZooIndex.build(SPIDER, folder),
        ):
            with refused(folder, "written by another process"):
                write()
        assert list(ZooIndex.open(folder).names()) == list(index.names())  # readers may
    assert snapshot(folder) == before
    assert len(index.append(SPIDER, ["m6"])) == 7


# ---- kill -9 ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def deaths(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders in which the action died at every step, and "whole", in which it did not."""
    folder, spider = tmp_path_factory.mktemp("deaths"), killed_spider("append")
    if request.param == "append":
        ZooIndex.build(only(spider, spider.models[:OLD]), folder / "old")
    program = [sys.executable, killed_index.__file__, str(folder), request.param]
    done = subprocess.run(program, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def dead(deaths: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Copies of the folders of the dead: a block has 7 steps."""
    monkeypatch.setattr(index_files, "BLOCK_BYTES", 1)
    shutil.copytree(deaths, tmp_path / "deaths")
    folders = sorted((tmp_path / "deaths").glob("[sm]*"))
    assert len(folders) >= 8
    return folders


def content(folder: Path) -> dict[str, bytes]:
    """Bytes of all that is not hidden; of a finished build that was marked unfinished, as well."""
    files = {name: kept for name, (_, kept) in snapshot(folder).items() if "/." not in f"/{name}"}
    return {name: kept for name, kept in files.items() if name != "building.json"}


@pytest.mark.parametrize("deaths", ["build"], indirect=True)
def test_a_killed_build_is_none_until_resumed(
    deaths: Path, dead: list[Path], refused: Refused
) -> None:
    wanted, left = set(snapshot(deaths / "whole")), {}
    for folder in dead:
        if not (folder / "index.json").exists():
            begun = (folder / "building.json").exists()
            with refused(folder, "not built to the end" if begun else "is this a spider_jax index"):
                ZooIndex.open(folder)
            if begun:
                with refused(folder, "beginning of another index"):
                    ZooIndex.build(SPIDER, folder)
        blocks = {p: seen for p, seen in snapshot(folder).items() if p.startswith("blocks/0")}
        assert write(folder, "build").verify() == ()
        assert {p: snapshot(folder)[p] for p in blocks} == blocks  # times of change, too
        assert content(folder) == content(deaths / "whole")
        left[folder.name] = set(snapshot(folder)) - wanted
    assert {name: files for name, files in left.items() if files} == {}


@pytest.mark.parametrize("deaths", ["append"], indirect=True)
def test_a_killed_append_changed_nothing(deaths: Path, dead: list[Path]) -> None:
    old, whole, left = content(deaths / "old"), content(deaths / "whole"), {}
    for folder in dead:
        index, found = ZooIndex.open(folder), content(folder)
        assert index.verify() == ()
        assert len(index) in (OLD, NEW)
        expected = old if len(index) == OLD else whole
        assert {p: found[p] for p in expected} == expected
        assert len(write(folder, "append")) == NEW
        assert content(folder) == whole
        left[folder.name] = set(snapshot(folder)) - set(whole)
    assert {name: files for name, files in left.items() if files} == {}
