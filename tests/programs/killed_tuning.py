"""Run as a program, FOLDER: a tuning that dies by kill -9 at four moments and goes on each time.

Writes whole.npy, the params of a tuning that nobody stopped, died.npy, those of the one that died,
and deaths.json: for every life the epochs that were done when it began and when it ended.
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

from spider_jax.tuning import trainer as tuning_trainer
from spider_jax.tuning.tune_student import tune
from support.killed_process import reported, spawn
from support.toy_tuning import CONFIG, toy

DEATHS = 4
TUNING = replace(CONFIG, learning_rates=(0.01, 0.05), seeds=2, epochs=30, checkpoint_every=2)


class Reported(tuning_trainer.Trainer):
    """Tells a pipe where it begins and every epoch that is done."""

    pipe, said = -1, False

    def advance(self) -> None:
        if not self.said:
            os.write(self.pipe, f"{self.epoch}\n".encode())
            self.said = True
        super().advance()
        os.write(self.pipe, f"{self.epoch}\n".encode())


def live(folder: Path, out: Path, pipe: int) -> None:
    """A life: it tunes to the end, if it is let."""
    jax.config.update("jax_compilation_cache_dir", str(folder / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    Reported.pipe, tuning_trainer.Trainer = pipe, Reported
    found = tune(toy(views=2).problem, ("b-tuning",), TUNING, run=folder / out.stem)
    leaves = jax.tree.leaves(found.results[0].params)
    np.save(out, np.concatenate([np.ravel(leaf) for leaf in leaves]), allow_pickle=False)


def main(folder: Path) -> None:
    rng, deaths = random.Random(0), []
    child, pipe = spawn(live, folder, folder / "whole.npy")
    reported(pipe, None)
    assert os.waitpid(child, 0)[1] == 0
    for _ in range(DEATHS):
        child, pipe = spawn(live, folder, folder / "died.npy")
        seen = reported(os.dup(pipe), rng.randrange(4, 8))
        time.sleep(rng.uniform(0, 0.03))
        os.kill(child, signal.SIGKILL)
        seen += reported(pipe, None)
        os.waitpid(child, 0)
        deaths.append({"began": seen[0], "reached": seen[-1]})
    child, pipe = spawn(live, folder, folder / "died.npy")
    seen = reported(pipe, None)
    assert os.waitpid(child, 0)[1] == 0
    deaths.append({"began": seen[0], "reached": seen[-1]})
    (folder / "deaths.json").write_text(json.dumps(deaths))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
