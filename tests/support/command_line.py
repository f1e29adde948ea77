"""Running the command line in tests: here or in a process of its own, and reading the answer."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spider_jax.zoo.store import FeatureStore
from support.quick_compilation import quick_environment

DONE, BAD_INPUT, SKIPPED = 0, 2, 3
TIMEOUT = 1800  # seconds that only a process that hangs takes, whatever else runs
Running = "subprocess.Popen[str]"


class Result(NamedTuple):
    code: object
    out: str
    err: str


Command = Callable[..., Result]


def real_run(*arguments: object) -> Result:
    """A command in a process of its own."""
    (found,) = ended(started(*arguments))
    return found


def started(*arguments: object, **environment: str) -> Running:
    """A command in a process of its own, which goes on beside the test.

    It is made of compilation; what these tests look at does not need that to be good.
    """
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from spider_jax.cli.app import main; main()",
            *map(str, arguments),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | quick_environment() | environment,
    )


def ended(*processes: Running) -> list[Result]:
    """What the processes say; none outlives the test."""
    try:
        said = [process.communicate(timeout=TIMEOUT) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return [Result(p.returncode, *words) for p, words in zip(processes, said, strict=True)]


def training(cache: Path, *arguments: object, compiled: Path | None = None) -> Running:
    """`train` as `started`, with a cache that is not the user's.

    What is compiled is kept there, or in the folder `compiled`.
    """
    kept = {
        "JAX_COMPILATION_CACHE_DIR": str(compiled or cache / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    return started("train", *arguments, XDG_CACHE_HOME=str(cache), **kept)


def trained_in(folder: Path, zoo: Path, config: str) -> tuple[Result, Path]:
    """`train` by this page to its end, all in one folder; and the folder of the spider."""
    page, out = folder / "page.toml", folder / "spider"
    page.write_text(config)
    (found,) = ended(training(folder / "cache", zoo, "--config", page, "--out", out))
    return found, out


def table(text: str) -> list[list[str]]:
    """Cells of the lines of a terminal table up to the first empty line."""
    return [line.split() for line in text.split("\n\n")[0].splitlines()]


def rows_of(result: Result, kind: str) -> list[dict[str, Any]]:
    """Rows of a command's JSON, which is all there is on stdout."""
    content = json.loads(result.out)
    assert list(content)[:3] == ["format", "version", "created_with"]
    assert content["format"] == f"spider_jax/{kind}"
    rows: list[dict[str, Any]] = content["rows"]
    return rows


def one_line(result: Result, *mentions: object) -> None:
    """Bad input: exit 2, nothing on stdout, one line on stderr that says what is wrong."""
    assert result.code == BAD_INPUT
    assert result.out == ""
    (line,) = result.err.splitlines()
    assert line.startswith("spider-jax: ")
    assert [m for m in mentions if str(m) not in line] == [], line


def break_features(zoo: Path, model: str = "wide", task: str = "apples") -> None:
    features = np.load(zoo / "features" / model / f"{task}.npy")
    features[7, 1] = np.nan
    FeatureStore.write_features(zoo, model, task, features)


def new_task(zoo: Path, task: str, like: str) -> None:
    """A task that no training has seen: another one's labels and features under a new name."""
    store = FeatureStore(zoo)
    FeatureStore.write_labels(zoo, task, store.labels(like))
    for model in store.models_of(like):
        FeatureStore.write_features(zoo, model, task, np.array(store.features(model, like)))
