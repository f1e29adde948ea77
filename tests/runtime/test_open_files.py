"""The number of files at once follows the limit of the process and what it has open."""

import os
import subprocess
import sys

import pytest

from spider_jax.runtime.open_files import files_at_once

pytest.importorskip("resource", reason="the limit is POSIX")

PROGRAM = """
import os, resource, sys
limit, held = map(int, sys.argv[1:])
from spider_jax.runtime.open_files import files_at_once
files = [open(os.devnull) for _ in range(held)]
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
print(files_at_once())
"""


@pytest.mark.parametrize(("limit", "held"), [(64, 0), (64, 40), (64, 60)])
def test_half_of_what_is_left(limit: int, held: int) -> None:
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(limit), str(held)],
        capture_output=True,
        text=True,
        check=True,
    )
    standard = 3  # streams, beside the folder that is listed
    assert int(found.stdout) == pytest.approx(max(1, (limit - held - standard) / 2), abs=2)


def test_here() -> None:
    before = files_at_once()
    files = [open(os.devnull) for _ in range(10)]  # noqa: SIM115
    assert files_at_once() == before - 5
    for file in files:
        file.close()
