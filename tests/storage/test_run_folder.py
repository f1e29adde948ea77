"""A training on disk: killed, damaged, taken to other devices, or not ours at all."""

import errno
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from programs import killed_training
from programs.killed_training import DEATHS, EVERY
from programs.train_devices import CONFIG, flat, toy_arrays, trained
from spider_jax.storage import run_folder as training_run
from spider_jax.storage.files import digests
from spider_jax.storage.run_folder import (
    CHECKPOINTS,
    CHECKSUMS,
    METRICS,
    SET_ASIDE,
    RunFolder,
    Saved,
    remove_checkpoints,
)
from spider_jax.training.config import TrainConfig
from spider_jax.training.loop import TrainingResult
from support.quick_compilation import quick_environment

pytestmark = pytest.mark.slow

Refused = Callable[..., AbstractContextManager[None]]
ADAM = replace(
    CONFIG, optimizer="adamw", dropout=0.2, clip=1.0, checkpoint_every=2, epochs=3, batch=10
)


def go_on(
    folder: Path, config: TrainConfig = ADAM, form: str = "1 device", held: int = 4
) -> TrainingResult:
    run = RunFolder(folder, {"training": "test"})
    return trained(form, config, toy_arrays(held), run=run)


def steps_kept(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in (folder / CHECKPOINTS).iterdir())


class StoppedError(Exception):
    """What the test interrupts a training with."""


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A training that was interrupted once `steps` were saved."""

    def stop(steps: int, config: TrainConfig = ADAM, **options: Any) -> Path:
        save = RunFolder.save

        def save_and_stop(self: RunFolder, step: int, *rest: Any) -> None:
            save(self, step, *rest)
            if step >= steps:
                raise StoppedError

        with monkeypatch.context() as patch:
            patch.setattr(RunFolder, "save", save_and_stop)
            with pytest.raises(StoppedError):
                go_on(tmp_path / "run", config, **options)
        return tmp_path / "run"

    return stop


@pytest.fixture(scope="module")
def whole() -> NDArray[np.float64]:
    """What comes of a training that nobody stopped."""
    return flat(trained("1 device", ADAM, toy_arrays(4)))


# ---- going on --------------------------------------------------------------------------------


def test_ten_deaths_leave_no_trace(tmp_path: Path) -> None:
    program = [sys.executable, killed_training.__file__, str(tmp_path)]
    done = subprocess.run(
        program,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
        env=os.environ | quick_environment(),
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "died.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
    lives = json.loads((tmp_path / "deaths.json").read_text())
    assert len(lives) == DEATHS + 1
    lost = [a["reached"] - b["began"] for a, b in pairwise(lives)]
    assert all(0 <= steps <= EVERY for steps in lost), lives
    assert lives[-1]["began"] > EVERY  # they did go on


@pytest.mark.parametrize("steps", [1, 3, 5, 9])
def test_an_interrupted_training_goes_on_bit_for_bit(
    stopped: Callable[..., Path], whole: NDArray[np.float64], steps: int
) -> None:
    folder = stopped(steps)
    assert steps_kept(folder)[-1] >= steps
    assert flat(go_on(folder)).tobytes() == whole.tobytes()
    lines = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 6, 9]
    assert all(line["tasks_per_second"] > 0 for line in lines)


def test_a_finished_training_is_there_at_once(
    stopped: Callable[..., Path], whole: NDArray[np.float64]
) -> None:
    folder = stopped(9)
    before = steps_kept(folder)
    assert flat(go_on(folder)).tobytes() == whole.tobytes()
    assert steps_kept(folder) == before
    remove_checkpoints(folder)
    assert not (folder / CHECKPOINTS).exists()
    assert (folder / METRICS).exists()


def test_the_last_two_are_kept(stopped: Callable[..., Path]) -> None:
    assert steps_kept(stopped(6)) == [5, 6]


# ---- damage ----------------------------------------------------------------------------------


def files_of(folder: Path, step: int) -> list[Path]:
    inside = (folder / CHECKPOINTS / str(step)).rglob("*")
    return sorted(path for path in inside if path.is_file() and path.stat().st_size)


def damage(path: Path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 0x10
        path.write_bytes(content)


def saved(folder: Path) -> Saved:
    run = RunFolder(folder, {"training": "test"})
    found = run.restore()
    run.close()
    assert found is not None
    return found


def content(found: Saved) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in found.arrays.items()}


@pytest.mark.parametrize("how", ["gone", "cut", "flipped"])
def test_a_damaged_newest_falls_back(
    stopped: Callable[..., Path],
    whole: NDArray[np.float64],
    caplog: pytest.LogCaptureFixture,
    how: str,
) -> None:
    folder = stopped(5)
    for path in files_of(folder, 5):
        damage(path, how)
    with caplog.at_level(logging.WARNING, "spider_jax"):
        learned = go_on(folder)
    assert "step 5 cannot be read" in caplog.text
    assert str(folder / SET_ASIDE / "5") in caplog.text
    assert flat(learned).tobytes() == whole.tobytes()


@pytest.mark.parametrize("how", ["gone", "cut", "flipped"])
def test_no_damage_goes_unseen(stopped: Callable[..., Path], how: str, tmp_path: Path) -> None:
    """Whatever file it is: the newest as it was written, or the one before it."""
    folder = stopped(5)
    newest, copy, fallen_back = saved(folder), tmp_path / "copy", 0
    for path in files_of(folder, 5):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        damage(copy / path.relative_to(folder), how)
        found = saved(copy)
        if found.progress == newest.progress:
            assert content(found) == content(newest), path
        else:
            assert steps_kept(copy) == [4], path
            fallen_back += 1
    assert fallen_back > 0


def test_a_checkpoint_that_cannot_be_read_once_is_kept(
    stopped: Callable[..., Path], whole: NDArray[np.float64], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole it may be, on a disk that fails for a moment: put back, it is the newest again."""
    folder = stopped(5)
    newest, files = saved(folder), digests(folder / CHECKPOINTS / "5")
    read, aside = training_run._read, folder / SET_ASIDE / "5"

    def fails(manager: Any, step: int) -> Saved:
        if step == 5:
            raise OSError(errno.EIO, "Input/output error")
        return read(manager, step)

    with monkeypatch.context() as patch:
        patch.setattr(training_run, "_read", fails)
        assert saved(folder).progress != newest.progress
    assert steps_kept(folder) == [4]
    assert digests(aside / "checkpoint") == files
    shutil.copytree(aside / "checkpoint", folder / CHECKPOINTS / "5")
    shutil.copy(aside / "checksums.json", folder / CHECKSUMS / "5.json")
    assert content(saved(folder)) == content(newest)
    assert flat(go_on(folder)).tobytes() == whole.tobytes()
    assert digests(aside / "checkpoint") == files
    remove_checkpoints(folder)
    assert not aside.exists()


# ---- other devices ---------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["pmap on 1", "2 parts"])
def test_another_form_goes_on(stopped: Callable[..., Path], form: str) -> None:
    """On more devices: test_train_devices."""
    config = replace(CONFIG, epochs=5, checkpoint_every=2)
    folder = stopped(5, config, held=0)
    expected = flat(trained("1 device", config))
    np.testing.assert_allclose(flat(go_on(folder, config, form, 0)), expected, rtol=0, atol=1e-6)


# ---- folders ---------------------------------------------------------------------------------


def test_another_training_is_refused(tmp_path: Path, refused: Refused) -> None:
    RunFolder(tmp_path / "run", {"config": {"seed": 1, "rates": (0.1,)}})
    RunFolder(tmp_path / "run", {"config": {"seed": 1, "rates": (0.1,)}})
    with refused("another training", "config.seed is 1 there", "2 here"):
        RunFolder(tmp_path / "run", {"config": {"seed": 2, "rates": (0.1,)}})


def test_other_targets_are_refused(stopped: Callable[..., Path], refused: Refused) -> None:
    folder, given = stopped(3), toy_arrays(4)
    run = RunFolder(folder, {"training": "test"})
    with refused("other targets", "remove its folder"):
        trained("1 device", ADAM, given._replace(targets=given.targets + 1), run=run)


def test_a_foreign_folder_is_refused(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "file").write_text("mine")
    with refused("file is a file"):
        RunFolder(tmp_path / "file", {})
    with refused("no training run"):
        RunFolder(tmp_path, {})
    assert (tmp_path / "file").read_text() == "mine"
