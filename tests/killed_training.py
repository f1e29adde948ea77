"""Run as a program, FOLDER: a training that dies by kill -9 at ten moments and goes on each time.

Writes whole.npy, the weights of a training that nobody stopped, died.npy, those of the one that
died, and deaths.json: for every death the last step done, and the step that the next life began at.
JAX starts no thread before an array is made, which is after the fork.
"""

import json
import os
import random
import signal
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint  # noqa: F401  # once for all lives, it is slow to import
from train_devices import CONFIG, flat, lesson, trained

from spider_jax import optimize
from spider_jax.training_run import TrainingRun

DEATHS, EVERY = 10, 4
# Adam and every draw: dropout, dropped classes, noise, the order of the tasks; 150 steps
TRAINING = replace(
    CONFIG, epochs=30, optimizer="adamw", dropout=0.1, clip=1.0, checkpoint_every=EVERY
)


class Reported(optimize._Training):
    """Tells a pipe where it begins and every step that is done."""

    pipe = -1

    def advance(self) -> None:
        if self.trained == 0:
            os.write(self.pipe, f"{self.step}\n".encode())
        super().advance()
        os.write(self.pipe, f"{self.step}\n".encode())


def live(folder: Path, out: Path, pipe: int) -> None:
    """A life: it trains to the end, if it is let."""
    jax.config.update("jax_compilation_cache_dir", str(folder / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    Reported.pipe, optimize._Training = pipe, Reported
    run = TrainingRun(folder / out.stem, {"training": "killed"})
    learned = trained("1 device", TRAINING, lesson(held=4), run=run)
    np.save(out, flat(learned), allow_pickle=False)


def spawn(folder: Path, out: Path) -> tuple[int, int]:
    """The process of a new life, and the pipe on which it reports."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            live(folder, out, write)
        except BaseException:
            traceback.print_exc()
        os._exit(0 if out.exists() else 1)
    os.close(write)
    return child, read


def steps_until(pipe: int, most: int | None) -> list[int]:
    """Steps reported until `most` of them have come; without it, until the life ends."""
    with os.fdopen(pipe) as lines:
        steps = []
        for line in lines:
            steps.append(int(line))
            if most is not None and len(steps) == most:
                break
        return steps


def main(folder: Path) -> None:
    rng, deaths = random.Random(0), []
    child, pipe = spawn(folder, folder / "whole.npy")
    steps_until(pipe, None)
    assert os.waitpid(child, 0)[1] == 0
    for _ in range(DEATHS):
        child, pipe = spawn(folder, folder / "died.npy")
        steps = steps_until(os.dup(pipe), rng.randrange(2, 9))
        time.sleep(rng.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        steps += steps_until(pipe, None)
        os.waitpid(child, 0)
        deaths.append({"began": steps[0], "reached": steps[-1]})
    child, pipe = spawn(folder, folder / "died.npy")
    deaths.append({"began": steps_until(pipe, None)[0], "reached": -1})
    assert os.waitpid(child, 0)[1] == 0
    (folder / "deaths.json").write_text(json.dumps(deaths))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
