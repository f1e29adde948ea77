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
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint  # noqa: F401  # once for all lives, it is slow to import

from programs.train_devices import CONFIG, flat, toy_arrays, trained
from spider_jax.storage.run_folder import RunFolder
from spider_jax.training import loop as optimize
from support.killed_process import reported, spawn

DEATHS, EVERY = 10, 4
# Adam and every draw: dropout, dropped classes, noise, the order of the tasks; 60 steps
TRAINING = replace(
    CONFIG, epochs=12, optimizer="adamw", dropout=0.1, clip=1.0, checkpoint_every=EVERY
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
    run = RunFolder(folder / out.stem, {"training": "killed"})
    learned = trained("1 device", TRAINING, toy_arrays(held=4), run=run)
    np.save(out, flat(learned), allow_pickle=False)


def main(folder: Path) -> None:
    rng, deaths = random.Random(0), []
    child, pipe = spawn(live, folder, folder / "whole.npy")
    reported(pipe, None)
    assert os.waitpid(child, 0)[1] == 0
    for _ in range(DEATHS):
        child, pipe = spawn(live, folder, folder / "died.npy")
        steps = reported(os.dup(pipe), rng.randrange(2, 9))
        time.sleep(rng.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        steps += reported(pipe, None)
        os.waitpid(child, 0)
        deaths.append({"began": steps[0], "reached": steps[-1]})
    child, pipe = spawn(live, folder, folder / "died.npy")
    deaths.append({"began": reported(pipe, None)[0], "reached": -1})
    assert os.waitpid(child, 0)[1] == 0
    (folder / "deaths.json").write_text(json.dumps(deaths))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
