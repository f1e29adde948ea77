"""Run as a program, FOLDER ACTION: writers of an index that die by kill -9 at every step.

The first child dies before its first rename or removal, the next one a step later, until one lives:
"step 000", "step 001", ..., "whole". Further ones die at any moment: "moment 0", ... JAX starts no
thread before an array is made, which is after the fork.
"""

import os
import random
import re
import shutil
import signal
import sys
import time
from pathlib import Path

from spider_jax.index import files as index_files
from spider_jax.index.zoo_index import ZooIndex
from spider_jax.spider.spider import Spider
from support.toy_index import toy_spider

BUILT, OLD, NEW = 1100, 5, 8  # a build of two blocks; an append to OLD of one block up to NEW
MOMENTS = 2
SHARED_ARRAY = re.compile(r"/\.shared\..*\.npy\.")  # a dozen of a kind are left out


def killed_spider(action: str) -> Spider:
    """Whose models the writer writes: all, or all but the old ones."""
    return toy_spider(BUILT if action == "build" else NEW)


def write(folder: Path, action: str) -> ZooIndex:
    spider = killed_spider(action)
    if action == "build":
        return ZooIndex.build(spider, folder)
    return ZooIndex.open(folder).append(spider)


def main(folder: Path, action: str) -> None:
    index_files.BLOCK_BYTES = 1
    step = 0
    while _dies(_start(folder, action, f"step {step:03d}"), action, step):
        step += 1
    (folder / f"step {step:03d}").rename(folder / "whole")
    for moment in range(MOMENTS):
        _dies(_start(folder, action, f"moment {moment}"), action, None)


def _start(folder: Path, action: str, name: str) -> Path:
    if action == "append":
        shutil.copytree(folder / "old", folder / name)
    return folder / name


def _dies(folder: Path, action: str, step: int | None) -> bool:
    read, ready = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            _work(folder, action, step, ready)
            os._exit(0)
        finally:
            os._exit(1)
    if step is None:
        os.read(read, 1)
        time.sleep(random.uniform(0, 0.6))
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), code
    return code != 0


def _work(folder: Path, action: str, step: int | None, ready: int) -> None:
    killed_spider(action)  # starts JAX
    seen = 0

    def die(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event in ("os.rename", "os.remove") and not SHARED_ARRAY.search(str(arguments[0])):
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1

    sys.addaudithook(die)
    os.write(ready, b".")
    write(folder, action)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
