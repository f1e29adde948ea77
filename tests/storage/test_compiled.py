"""Compiled programs are kept for the next process: in a private folder, and only there."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

from spider_jax.storage.compiled import keep_compiled_programs

PROGRAM = """
import jax
from spider_jax.storage.compiled import keep_compiled_programs
print(keep_compiled_programs())
print(jax.jit(lambda x: x @ x + 1)(jax.numpy.ones((3, 3)))[0, 0])
"""


def run(cache: Path, **variables: str) -> tuple[str, str, str]:
    """The folder that is used, what the program computes, and what it says on stderr."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    environment |= {"XDG_CACHE_HOME": str(cache), "JAX_PLATFORMS": "cpu"} | variables
    environment["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True
    )
    folder, value = done.stdout.split()
    return folder, value, done.stderr


def entries(cache: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in (cache / "spider_jax").rglob("*-cache")}


@pytest.mark.slow
def test_the_next_process_finds_what_was_compiled_and_mends_nothing_silently(tmp_path: Path):
    folder, value, said = run(tmp_path)
    first = entries(tmp_path)
    assert first
    assert all(path.parent == Path(folder) for path in first)
    assert (value, said) == ("4.0", "")
    assert os.stat(folder).st_mode & 0o777 == 0o700
    assert run(tmp_path)[1:] == ("4.0", "")
    assert entries(tmp_path) == first
    for path, content in first.items():
        path.write_bytes(content[: len(content) // 2])
    assert run(tmp_path)[1:] == ("4.0", "")  # compiled anew, without a word


@pytest.mark.slow
def test_a_folder_of_the_users_own_is_left_to_him(tmp_path: Path):
    folder, _, _ = run(tmp_path, JAX_COMPILATION_CACHE_DIR=str(tmp_path / "own"))
    assert folder == "None"
    assert entries(tmp_path) == {}


@pytest.fixture
def unset() -> Iterator[None]:
    """As in a process that has no such folder yet; what is set in it goes with the test."""

    before = jax.config.jax_compilation_cache_dir
    seconds = jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    jax.config.update("jax_compilation_cache_dir", before)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", seconds)


@pytest.mark.usefixtures("unset")
def test_a_folder_that_others_may_write_is_not_used(tmp_path: Path, caplog):
    shared = tmp_path / "compiled"
    shared.mkdir()
    shared.chmod(0o777)
    assert keep_compiled_programs(shared) is None
    assert "chmod go-w" in caplog.text
    assert list(shared.iterdir()) == []


@pytest.mark.usefixtures("unset")
def test_the_oldest_programs_go_where_there_are_too_many(tmp_path: Path, monkeypatch):
    folder = keep_compiled_programs(tmp_path / "compiled")
    assert folder is not None
    for age, name in enumerate(["new", "old", "older", "broken"]):
        path = folder / f"{name}-cache"
        path.write_bytes(b"" if name == "broken" else bytes(100))
        os.utime(path, (1e9 - age, 1e9 - age))
    monkeypatch.setattr("spider_jax.storage.compiled.LARGEST", 200)

    jax.config.update("jax_compilation_cache_dir", None)
    keep_compiled_programs(tmp_path / "compiled")
    assert sorted(path.name for path in folder.iterdir()) == ["new-cache", "old-cache"]
