"""Names on disk, all-or-nothing writes, versioned JSON."""

import os
import signal
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import jaxtyping
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spider_jax.errors import InputError
from spider_jax.storage.files import (
    atomic_file,
    atomic_folder,
    component_to_name,
    name_to_component,
    read_json,
    refuse_case_twin,
    write_json,
    write_text,
)

NAMES = (
    st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=60)
    .map(lambda text: unicodedata.normalize("NFC", text))
    .filter(lambda name: len(name.encode()) <= 66)  # at most three bytes a byte when quoted
)


def test_types_are_checked_in_tests() -> None:
    with pytest.raises(jaxtyping.TypeCheckError):
        name_to_component(3)  # type: ignore[arg-type]


# ---- names ------------------------------------------------------------------------------------


@given(NAMES)
def test_a_name_is_one_component_and_comes_back(name: str) -> None:
    component = name_to_component(name)
    assert os.path.basename(component) == component
    assert component.isascii()
    assert component.isprintable()
    assert not component.startswith(".")
    assert len(component) <= 200
    assert unquote(component) == component_to_name(component) == name


@pytest.mark.parametrize(
    ("name", "component"),
    [
        ("resnet50", "resnet50"),
        ("../x", "%2E.%2Fx"),
        ("..", "%2E."),
        (".hidden", "%2Ehidden"),
        ("v1.5", "v1.5"),
        ("org/model v1", "org%2Fmodel%20v1"),
        ("C:\\x", "C%3A%5Cx"),
        ("100%", "100%25"),
        ("%2E", "%252E"),
        ("café", "caf%C3%A9"),
        ("a" * 200, "a" * 200),
    ],
)
def test_names_are_quoted(name: str, component: str) -> None:
    assert name_to_component(name) == component
    assert component_to_name(component) == name


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("", "empty"),
        ("a\nb", "control"),
        ("a\0", "control"),
        ("a\x7f", "control"),
        ("a\u2028b\x85", "control"),
        ("right\u202eleft", "control"),
        ("\ud800", "control"),
        ("cafe\u0301", "NFC"),
        ("a" * 201, "201 bytes"),
        ("é" * 34, "204 bytes"),  # two bytes, each quoted with three
        ("." + "a" * 198, "201 bytes"),
    ],
)
def test_names_that_cannot_stand_on_disk(name: str, rule: str, refused: Any) -> None:
    with refused("name", rule):
        name_to_component(name)


@pytest.mark.parametrize("component", ["a b", "caf%c3%a9", "%2f", ".x", "%FF", "%2E%2E", "é", ""])
def test_components_that_no_name_gives(component: str, refused: Any) -> None:
    with refused("name"):
        component_to_name(component)


@given(st.text() | st.from_regex(r"(%[0-9A-Fa-f]{2}|[a-z.%])+", fullmatch=True))
def test_a_component_is_refused_or_comes_back(component: str) -> None:
    try:
        answer: str | InputError = component_to_name(component)
    except InputError as error:
        answer = error
    assert len(str(answer).splitlines()) == 1
    assert isinstance(answer, InputError) or name_to_component(answer) == component


def test_names_that_differ_only_in_case(refused: Any) -> None:
    refuse_case_twin("ResNet", ["ResNet", "resnet50", "vgg"])
    with refused("'ResNet'", "'resnet'", "case"):
        refuse_case_twin("ResNet", ["vgg", "resnet"])


# ---- all or nothing ---------------------------------------------------------------------------


def test_atomic_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with atomic_file(path) as file:
        file.write(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert path.stat().st_mode & 0o777 == 0o644  # not the 0600 of a temporary file
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_atomic_file_keeps_the_old_on_error(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(error), atomic_file(path) as file:  # noqa: PT012
        file.write(b"half")
        file.flush()
        raise error
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_atomic_folder_replaces_the_whole_folder(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "folder"
    for generation in ("first", "second"):
        with atomic_folder(path) as new:
            (new / generation).write_text(generation)
            assert not (path / generation).exists()
        assert os.listdir(path) == [generation]
        assert os.listdir(path.parent) == ["folder"]
    assert path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_atomic_folder_keeps_the_old_on_error(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    (path / "old").write_text("old")
    with pytest.raises(error), atomic_folder(path) as new:  # noqa: PT012
        (new / "half").write_text("half")
        raise error
    assert os.listdir(path) == ["old"]
    assert os.listdir(tmp_path) == ["folder"]


DEATHS = {"os.kill(os.getpid(), signal.SIGKILL)": -signal.SIGKILL, "os._exit(7)": 7}
WRITERS = {
    "file": "with atomic_file(path / 'old') as file: file.write(b'half'); file.flush(); {death}",
    "folder": "with atomic_folder(path) as new: (new / 'half').write_bytes(b'half'); {death}",
}


@pytest.mark.parametrize("death", DEATHS)
@pytest.mark.parametrize("writer", WRITERS)
def test_a_process_killed_in_mid_write_leaves_the_old(
    tmp_path: Path, writer: str, death: str
) -> None:
    path = tmp_path / "folder"
    write_text(path / "old", "old")
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from spider_jax.storage.files import atomic_file, atomic_folder\n"
        f"path = Path(sys.argv[1])\n{WRITERS[writer].format(death=death)}"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(path)], timeout=1800, check=False)
    assert ended.returncode == DEATHS[death]
    assert (path / "old").read_text() == "old"
    leftovers = {*os.listdir(tmp_path), *os.listdir(path)} - {"folder", "old"}
    assert len(leftovers) == 1  # it did die while writing
    assert all(name.startswith(".") for name in leftovers)  # a name no reader lists


# ---- versioned JSON ---------------------------------------------------------------------------


def test_json_starts_with_format_version_and_provenance(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, "zoo", {"extractor": "é"})
    content = read_json(path, "zoo")
    assert list(content) == ["format", "version", "created_with", "extractor"]
    assert (content["format"], content["version"]) == ("spider_jax/zoo", 1)
    assert content["created_with"]["numpy"] == np.__version__
    assert content["extractor"] == "é"


def test_json_of_an_older_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"format": "spider_jax/zoo", "version": 0, "x": 1}')
    assert read_json(path, "zoo")["x"] == 1


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (b'{"format": "spider_jax/zoo", "version": 2}', "version 2 is newer than the 1"),
        (b'{"format": "spider_jax/zoo", "version": "1"}', "got '1'"),
        (b'{"format": "spider_jax/zoo"}', "got None"),
        (b'{"format": "spider_jax/ranking", "version": 1}', "got 'spider_jax/ranking'"),
        (b'{"version": 1}', "'spider_jax/zoo', got None"),
        (b'["spider_jax/zoo"]', "object, got list"),
        (b'{"format": ', "not valid JSON"),
        (b"", "not valid JSON"),
        (b'{"format": "\xff"}', "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b"9" * 10_000, "not valid JSON"),
        (b'{"a": 18446744073709551616}', "18446744073709551616 is too large"),
        (b'{"a": [-1e999]}', "-1e999 is too large"),
    ],
    ids=lambda value: value[:40],
)
def test_json_that_is_refused(tmp_path: Path, text: bytes, rule: str, refused: Any) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(text)
    with refused(path, rule):
        read_json(path, "zoo")


def test_json_that_is_no_file(tmp_path: Path, refused: Any) -> None:
    with refused(tmp_path / "a.json", "missing"):
        read_json(tmp_path / "a.json", "zoo")
    with refused(tmp_path):
        read_json(tmp_path, "zoo")


def test_json_never_holds_nan(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(ValueError, match="Out of range"):
        write_json(path, "zoo", {"tau": float("nan")})
    assert os.listdir(tmp_path) == []
