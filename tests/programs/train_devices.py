"""Run as a program, OUT [PORT PROCESS]: the same tasks trained in every parallel form.

With a PORT, one of two processes that have two of the devices each.
"""

import contextlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from spider_jax.spider.weights import OwnTokens
from spider_jax.storage.run_folder import RunFolder
from spider_jax.training.arrays import TrainingArrays
from spider_jax.training.config import TrainConfig
from spider_jax.training.loop import TrainingResult, optimize
from support.small_training import for_training

TASKS, MODELS, CLASSES, WIDTH = 30, 7, 5, 6
# 20 steps of plain SGD, of which no optimiser hides a factor; 6 places do not divide by 4 devices
CONFIG = TrainConfig(
    width=8, members=2, epochs=4, batch=6, optimizer="sgd", learning_rate=0.05, clip=0.0
)
# Changes of the configuration, and the number of devices.
FORMS: dict[str, tuple[dict[str, Any], int]] = {
    "1 device": ({}, 1),
    "2 devices": ({}, 2),
    "4 devices": ({}, 4),
    "models over 2": ({"model_shards": 2}, 2),
    "2 x 2": ({"model_shards": 2}, 4),
    "models over 4": ({"model_shards": 4}, 4),
    "2 parts": ({"accumulate": 2}, 1),
    "2 parts on 4 devices": ({"accumulate": 2}, 4),
    "pmap on 1": ({"parallel": "pmap"}, 1),
    "pmap on 4": ({"parallel": "pmap"}, 4),
    "pmap, 2 parts": ({"parallel": "pmap", "accumulate": 2}, 2),
}
# The same where models' own features are read, of two of four models a step at most.
WITH_OWN: dict[str, tuple[dict[str, Any], int]] = {
    f"own features, {form}": (changes | {"k_max": 2}, devices)
    for form, (changes, devices) in FORMS.items()
    if form in ("1 device", "2 x 2", "models over 4", "2 parts on 4 devices", "pmap on 4")
}
FORMS |= WITH_OWN
PROCESSES = ("4 devices", "2 x 2", "models over 4", "own features, 2 x 2")
OWN_MODELS, OWN_WIDTH = 4, 5


def toy_arrays(held: int = 0, tasks: int = TASKS, models: int = MODELS) -> TrainingArrays:
    """Targets that follow the tokens; every member leaves out some tasks.

    With none held to judge it by, the last step counts and not the best.
    """
    rng = np.random.default_rng(0)
    tokens = rng.normal(size=(tasks, CLASSES, WIDTH)).astype(np.float32)
    mask = np.arange(CLASSES)[None] < rng.integers(2, CLASSES + 1, tasks)[:, None]
    tokens *= mask[..., None]
    targets = (tokens.sum(1) @ rng.normal(size=(WIDTH, models))).astype(np.float32)
    inside = np.ones((CONFIG.members, tasks), bool)
    out = np.stack([rng.permutation(tasks)[:4] for _ in inside])
    np.put_along_axis(inside, out, False, axis=1)
    prior = rng.normal(size=(CONFIG.members, tasks, models)).astype(np.float32)
    return TrainingArrays(tokens, mask, targets, prior, inside, out[:, :held])


def trained(
    form: str, config: TrainConfig = CONFIG, given: TrainingArrays | None = None, **options: Any
) -> TrainingResult:
    changes, devices = FORMS[form]
    options["devices"] = jax.devices()[:devices]
    given = given or toy_arrays()
    if "k_max" in changes:
        given = given._replace(own=own_tokens(given))
    with for_training():
        return optimize(replace(config, **changes), given, **options)


def own_tokens(given: TrainingArrays) -> OwnTokens:
    """Class centres of some models of every task."""
    rng = np.random.default_rng(1)
    models = [rng.permutation(MODELS)[:OWN_MODELS] for _ in given.targets]
    shape = len(models), OWN_MODELS, CLASSES, OWN_WIDTH
    tokens = rng.normal(size=shape).astype(np.float32) * given.mask[:, None, :, None]
    return OwnTokens(tokens, np.array(models, np.int32))  # type: ignore[arg-type]


def flat(learned: TrainingResult) -> np.ndarray:
    """All weights and held-out scores as one vector."""
    leaves = [*jax.tree.leaves(learned.weights), learned.held_scores]
    return np.concatenate([np.asarray(leaf, np.float64).ravel() for leaf in leaves])


LONGER = replace(CONFIG, epochs=5, checkpoint_every=2)
RESUMED = ("4 devices", "2 x 2", "pmap on 4")


class StoppedError(Exception):
    """What interrupts a training."""


def resumed(form: str, folder: Path) -> TrainingResult:
    """10 steps on one device, then 15 in this form."""

    class Stopping(RunFolder):
        def save(self, step: int, *rest: Any) -> None:
            super().save(step, *rest)
            if step == 10:
                raise StoppedError

    with contextlib.suppress(StoppedError):
        trained("1 device", LONGER, run=Stopping(folder, {}))
    return trained(form, LONGER, run=RunFolder(folder, {}))


def main(out: str, port: str = "", process: str = "0") -> None:
    forms = tuple(FORMS)
    if port:
        address, forms = f"127.0.0.1:{port}", PROCESSES
        jax.distributed.initialize(address, 2, int(process))
    else:  # what goes on later runs programs that are there already
        jax.config.update("jax_compilation_cache_dir", str(Path(out).with_name("compiled")))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    found = {form: flat(trained(form)) for form in forms}
    if not port:
        for form in RESUMED:
            folder = Path(out).with_name(f"{form}.run")
            found[f"resumed on {form}"] = flat(resumed(form, folder))
    if process == "0":
        np.savez(Path(out), allow_pickle=False, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
