"""Run as a program, FOLDER DATA: exports that die by kill -9 at every step, each then resumed.

The first child dies before its first change of a folder, the next one a change later, until one
lives. Further ones die at any moment. Every zoo is then finished by a child that lives.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

from spider_jax.extract import extract
from spider_jax.extract.export import batches
from support.toy_extract import SPEC, torch

EVENTS = ("os.rename", "os.remove", "os.rmdir", "os.mkdir")
MOMENTS = 6
BATCH = 2


def main(folder: Path, data: str) -> None:
    batches.BLOCK_ROWS = 4  # the data of the test are several blocks
    torch.set_num_threads(1)
    step = 0
    while _dies(folder / f"step {step:03d}", data, step):
        step += 1
    for moment in range(MOMENTS):
        _dies(folder / f"moment {moment}", data, None)
    for zoo in sorted(folder.iterdir()):
        assert not _dies(zoo, data, -1)


def _dies(zoo: Path, data: str, step: int | None) -> bool:
    """Whether a child that exports did; step: of its death, None for any moment, -1 for never."""
    read, ready = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _work(zoo, data, step, ready)
            os._exit(0)
        finally:
            os._exit(1)
    os.close(ready)
    os.read(read, 1)
    os.close(read)
    if step is None:
        time.sleep(random.uniform(0, 0.1))
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), code
    return code != 0


def _work(zoo: Path, data: str, step: int | None, ready: int) -> None:
    seen = 0

    def die(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event in EVENTS and str(zoo) in str(arguments[0]):
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1

    sys.addaudithook(die)
    os.write(ready, b".")
    assert extract([f"tiny={SPEC}"], [data], zoo, batch=BATCH).problems == []


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
