"""Folders as they are found: leftovers, unknown files, splits, accents, files that change."""

import os
import random
import shutil
import unicodedata
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

image: Any = pytest.importorskip("PIL.Image", reason="pictures need pillow")

from spider_jax.extract.data.content import warn_of_equal_items
from spider_jax.extract.readers import open_data

Refused = Callable[..., AbstractContextManager[None]]


def picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    image.fromarray(pixels).save(path, format="BMP")
    return path


def classes(root: Path, *names: str, each: int = 2) -> Path:
    for number, name in enumerate(names):
        for i in range(each):
            picture(root / name / f"{i}.bmp", each * number + i)
    return root


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("cat/x.heic", "1 .heic"),
        ("cat/x", "1 without a suffix"),
        ("cat/._0.bmp", "1 leftovers"),
        ("__MACOSX/cat/0.bmp", "1 leftovers"),
        ("cat/@eaDir/0.bmp", "1 leftovers"),
        ("Thumbs.db", "1 leftovers"),
        (".git/config", "1 hidden"),
        ("cat/.hidden.bmp", "1 hidden"),
        ("x.bmp", "1 pictures beside the class folders"),
    ],
)
def test_what_is_left_out_is_said(
    tmp_path: Path, file: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    root = classes(tmp_path / "pets", "cat", "dog")
    open_data(f"folder:{root}")
    assert caplog.text == ""
    picture(root / file)
    data = open_data(f"folder:{root}")
    assert (data.rows, data.classes) == (4, ("cat", "dog"))
    assert f"1 entries left out: {said}" in caplog.text


def test_links_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = classes(tmp_path / "pets", "cat", "dog")
    (root / "cat" / "gone.bmp").symlink_to("nowhere")
    (root / "cat" / "round").symlink_to(root)
    os.mkfifo(root / "dog" / "pipe.bmp")
    assert open_data(f"folder:{root}").rows == 4
    for words in ("1 links to nothing", "1 links to folders below", "1 no regular files"):
        assert words in caplog.text


@pytest.mark.parametrize("suffix", [".JPG", ".jfif", ".pgm", ".Tiff"])
def test_suffixes(tmp_path: Path, suffix: str) -> None:
    root = classes(tmp_path / "pets", "cat", "dog")
    picture(root / "cat" / f"x{suffix}")
    assert open_data(f"folder:{root}").rows == 5


@pytest.mark.parametrize(
    "names",
    [
        ("train", "val", "test"),
        ("training", "validation"),
        ("Train", "Test", "annotations"),
        ("train2017", "val2017"),
        ("test_set", "train_set"),
        ("train",),
    ],
)
def test_splits_are_no_classes(tmp_path: Path, names: tuple[str, ...], refused: Refused) -> None:
    for name in names:
        classes(tmp_path / "pets" / name, "cat", "dog", each=1)
    first = next(name for name in names if name.lower().startswith("train"))
    with refused("holds the splits", f"folder:{tmp_path / 'pets' / first}"):
        open_data(f"folder:{tmp_path / 'pets'}")
    assert open_data(f"folder:{tmp_path / 'pets' / first}").classes == ("cat", "dog")


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    root = classes(tmp_path / "vehicles", "bus", "train", "tram")
    assert open_data(f"folder:{root}").classes == ("bus", "train", "tram")


def test_a_folder_above_the_classes(tmp_path: Path, refused: Refused) -> None:
    classes(tmp_path / "pets" / "images", "cat", "dog")
    with refused("one folder only, images", "cat, dog", f"folder:{tmp_path / 'pets' / 'images'}"):
        open_data(f"folder:{tmp_path / 'pets'}")


def test_one_order_on_every_file_system(tmp_path: Path) -> None:
    root = classes(tmp_path / "a", "b", "a/deep", "C", unicodedata.normalize("NFC", "é"), "z")
    files = [path.relative_to(root) for path in root.rglob("*.bmp")]
    found = set()
    for seed, form in ((0, "NFC"), (1, "NFD")):
        random.Random(seed).shuffle(files)
        other = tmp_path / form
        for file in files:
            to = other / unicodedata.normalize(form, str(file))
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / file, to)
        data = open_data(f"folder:{other}")
        assert data.labels is not None
        found.add((data.classes, tuple(data.labels), data.identity()["content_sha256"]))
    assert len(found) == 1


def test_a_folder_is_known_by_its_content(tmp_path: Path) -> None:
    """Of the same size, the same name, and with the time of the old file."""
    root = classes(tmp_path / "pets", "cat", "dog")

    def known() -> str:
        return open_data(f"folder:{root}").identity()["content_sha256"]

    before, file = known(), root / "cat" / "0.bmp"
    assert known() == before
    old, times = file.read_bytes(), file.stat()
    picture(file, seed=99)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert file.stat().st_size == len(old)
    assert known() != before
    file.write_bytes(old)
    assert known() == before
    (root / "cat").rename(root / "cow")
    assert known() != before


@pytest.mark.parametrize("kind", ["texts", "images"])
def test_arrays_and_tables_are_known_by_their_content(tmp_path: Path, kind: str) -> None:
    def known(last: int) -> str:
        items = [0, 1, 2, last]
        if kind == "texts":
            lines = "\n".join(f"t{i},{i % 2}" for i in items)
            (tmp_path / "a.csv").write_text(f"text,label\n{lines}\n")
            return open_data(f"csv:{tmp_path / 'a.csv'}").identity()["content_sha256"]
        pixels = np.array(items, np.uint8)[:, None, None].repeat(4, 1).repeat(4, 2)
        np.savez(tmp_path / "a.npz", images=pixels, labels=[0, 1, 0, 1])
        return open_data(f"arrays:{tmp_path / 'a.npz'}").identity()["content_sha256"]

    assert known(3) == known(3) != known(5)


def test_equal_items_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = classes(tmp_path / "pets", "cat", "dog")
    for times in (0, 2):
        for i in range(times):
            shutil.copy(root / "cat" / "0.bmp", root / "dog" / f"copy{i}.bmp")
        data = open_data(f"folder:{root}")
        assert data.content is not None
        warn_of_equal_items(data.content, data.where, data.source)
        assert ("items are equal" in caplog.text) == (times > 0)
    assert "folder:pets: 2 of 6 items are equal to an earlier one" in caplog.text
    assert "copy0.bmp (row 4) is to" in caplog.text
