"""A disk that takes no more: one line that names the file, and what was there stays."""

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spider_jax.storage.files import write_text
from spider_jax.storage.run_folder import RunFolder


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: it fails as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_checkpoint_that_does_not_fit_is_one_line(
    tmp_path: Path, refused: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    run = RunFolder(tmp_path / "run", {"seed": 0})
    with files_of_at_most(6000), refused(tmp_path / "run" / "checkpoints", "is the disk full?"):
        run.save(1, {"weights": np.random.default_rng(0).normal(size=20_000)}, {"epoch": 1})
        run.wait()
    assert capfd.readouterr().err == ""


def test_a_file_that_does_not_fit_is_named(tmp_path: Path) -> None:
    write_text(tmp_path / "page.md", "before")
    with files_of_at_most(6000), pytest.raises(OSError, match=r"page\.md"):
        write_text(tmp_path / "page.md", "x" * 7000)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("page.md", "before")]
