"""A copy of what was written, and commands that work in it."""

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from spider_jax.cli import main
from support.written_before import WRITTEN, Command


@pytest.fixture(autouse=True)
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the artifacts, in which the test works; its cache is the user's."""
    folder = tmp_path / "written"
    shutil.copytree(WRITTEN, folder)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    return folder


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Iterator[Command]:
    """command("score", zoo, ...): to its end; what it printed."""

    def command(*arguments: object) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([*map(str, arguments), "-q"])
        said = capsys.readouterr()
        assert left.value.code == 0, said.err
        return said.out

    log = logging.getLogger("spider_jax")
    level = log.level
    yield command
    log.setLevel(level)
