"""`rank --data`: the extractor runs on a folder of pictures, and the models are ranked."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the toy extractor is torch's")
pytest.importorskip("PIL", reason="pictures need pillow")

from spider_jax.extract.target_task import EXTRACTOR
from support.command_line import DONE, Command, one_line
from support.toy_extract import SPEC, write_folder


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: Any) -> str:
    monkeypatch.delenv(EXTRACTOR, raising=False)
    return f"folder:{write_folder(tmp_path / 'photos')}"


def test_one_command_from_pictures_to_a_ranking(
    saved: Path, photos: str, command: Command, monkeypatch: Any
) -> None:
    """The toy model stands for psi, whose features are as wide."""
    found = command("rank", saved, "--data", photos, "--extractor", f"psi={SPEC}")
    assert found.code == DONE
    assert {"middle", "narrow", "psi", "wide"} <= set(found.out.split())
    monkeypatch.setenv(EXTRACTOR, f"psi={SPEC}")
    assert command("rank", saved, "--data", photos).out == found.out


def test_the_extractor_must_be_named(saved: Path, photos: str, command: Command) -> None:
    one_line(command("rank", saved, "--data", photos), "--extractor psi=READER:WHAT", EXTRACTOR)
    found = command("rank", saved, "--data", photos, "--extractor", SPEC)
    one_line(found, "must be 'psi', got 'tiny'")


def test_data_without_labels_say_so(saved: Path, photos: str, command: Command) -> None:
    folder = next(path for path in Path(photos.removeprefix("folder:")).iterdir() if path.is_dir())
    pictures = len(list(folder.iterdir()))
    found = command(
        "rank",
        saved,
        "--data",
        f"folder:{folder}",
        "--extractor",
        f"psi={SPEC}",
        "--clusters",
        "99",
    )
    said = f"note: no labels: its tokens are {pictures} k-means centres of {pictures} rows"
    assert (found.code, said in found.out) == (DONE, True)


def test_either_data_or_a_zoo(saved: Path, small_zoo: Path, photos: str, command: Command) -> None:
    one_line(command("rank", saved), "rank needs ZOO and TASK, or --data")
    one_line(command("rank", saved, small_zoo, "cars", "--data", photos), "takes the place of")
    one_line(command("rank", saved, "--data", photos, "--rerank", "2"), "without --rerank")


def test_an_extractor_that_ran_otherwise_is_refused(
    saved: Path, photos: str, command: Command
) -> None:
    """Same name and width, but not the weights that the training recorded."""
    content = json.loads((saved / "spider.json").read_text())
    content["training"]["extractor_facts"] = {"weights_sha256": "0" * 64}
    (saved / "spider.json").write_text(json.dumps(content))
    sums = json.loads((saved / "checksums.json").read_text())
    del sums["description"]  # of the one that was written; older spiders have none
    (saved / "checksums.json").write_text(json.dumps(sums))
    found = command("rank", saved, "--data", photos, "--extractor", f"psi={SPEC}")
    one_line(found, "extractor 'psi'", "weights_sha256", "training")
