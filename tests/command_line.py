"""Running the command line in tests: here or in a process of its own, and reading the answer."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from spider_jax.store import FeatureStore

DONE, BAD_INPUT, SKIPPED = 0, 2, 3
# A training is made of compilation; what these tests look at does not need it to be good.
ENVIRONMENT = os.environ | {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}


class Result(NamedTuple):
    code: object
    out: str
    err: str


Command = Callable[..., Result]


def real_run(*arguments: object) -> Result:
    """A command in a process of its own."""
    line = [sys.executable, "-c", "from spider_jax.cli import main; main()", *map(str, arguments)]
    done = subprocess.run(line, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    return Result(done.returncode, done.stdout, done.stderr)


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
