"""The same B-Tuning loop in plain torch, eager: what steps a second are measured against.

Same student, teachers' predictions, order of rows, loss and SGD with Nesterov momentum, float32.
Both must end an epoch at the same weights (to 1e-3 of their size) before anything is timed.
"""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from spider_jax.tuning.config import Hyperparameters, TuneConfig
from spider_jax.tuning.problem import TuningProblem
from spider_jax.tuning.trainer import Trainer
from spider_jax.tuning.zoo import zoo_problem
from spider_jax.zoo.splits import task_split
from spider_jax.zoo.store import FeatureStore

REPEATS = 5
STUDENT, TEACHERS = (
    "efficientnet_lite0",
    ("efficientnet_lite1", "open_nsfw_resnet50", "ppocrv4_rec"),
)
CHOICE = Hyperparameters(0.003, 10.0, 1.0)
Forward = Callable[[dict[str, Tensor], Tensor], Tensor]


class TorchLoop:
    """One run in torch, from the state that a Trainer begins with."""

    def __init__(self, trainer: Trainer, forward: Forward, params: dict[str, Any]) -> None:
        self.trainer, self.forward = trainer, forward
        self.student = {
            n: torch.tensor(np.asarray(v), requires_grad=True) for n, v in params.items()
        }
        head = trainer.state.params["head"]
        self.W, self.b = (torch.tensor(np.asarray(head[n][0]), requires_grad=True) for n in "Wb")
        config, hyper = trainer.config, trainer.hyper()
        groups = [
            {"params": list(self.student.values()), "lr": CHOICE.learning_rate},
            {"params": [self.W, self.b], "lr": CHOICE.learning_rate * config.head_rate},
        ]
        rule = {"momentum": config.momentum, "weight_decay": config.weight_decay, "nesterov": True}
        self.optimizer = torch.optim.SGD(groups, **rule)
        self.mean, self.pi = (
            torch.tensor(np.asarray(a)) for a in (trainer.problem.mean, hyper.pi[0])
        )
        block = trainer._block(np.arange(len(trainer.problem.split.train)))
        self.x, self.Y, self.guide = (torch.tensor(np.asarray(a)) for a in block)

    def epoch(self, number: int) -> None:
        """The steps of an epoch; the rows come from the Trainer's own order."""
        self.trainer.epoch = number
        order = self.trainer._orders(0, len(self.Y))[0]
        for at in torch.tensor(order, dtype=torch.long):
            at = at[at >= 0]
            features = self.forward(self.student, self.x[at])
            target = torch.einsum("k,bkc->bc", self.pi, self.guide[at])
            gap = functional.mse_loss(features @ self.mean.T, target)
            outputs = features @ self.W + self.b
            task = functional.cross_entropy(outputs, self.Y[at % len(self.Y)])
            self.optimizer.zero_grad()
            (task + CHOICE.weight * gap).backward()
            self.optimizer.step()


def adapted(frozen: dict[str, Any]) -> Forward:
    """The student on features."""
    mean, scale = (torch.tensor(np.asarray(frozen[name])) for name in ("mean", "scale"))

    def forward(w: dict[str, Tensor], x: Tensor) -> Tensor:
        u = (x.float() - mean) / scale
        changed = u + functional.relu(u @ w["V"] + w["c"]) @ w["W"]
        return torch.cat([changed, torch.ones_like(u[:, :1])], 1)

    return forward


def convolved(w: dict[str, Tensor], x: Tensor) -> Tensor:
    """The convolutional student; with stride 2 Flax pads below and to the right only."""
    x = x[:, None]
    for layer, stride in ((0, 1), (1, 2), (2, 2)):
        pad = (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1)
        kernel, bias = w[f"{layer}.kernel"], w[f"{layer}.bias"]
        x = functional.relu(functional.conv2d(functional.pad(x, pad), kernel, bias, stride))
    x = x.mean((2, 3))
    return torch.cat([x, torch.ones_like(x[:, :1])], 1)


def feature_pair(runs: int) -> tuple[Trainer, TorchLoop]:
    """A network on features: `runs` of ours side by side, one of torch."""
    zoo = FeatureStore(Path(os.environ["SPIDER_JAX_DATA"]) / "real_zoo")
    split = task_split(zoo, "furniture_room")
    problem = zoo_problem(zoo, "furniture_room", STUDENT, TEACHERS, split)
    trainer = trainer_of(problem, runs, TuneConfig())
    return trainer, TorchLoop(trainer, adapted(problem.student.frozen), problem.student.params)


def pixel_pair(runs: int) -> tuple[Trainer, TorchLoop]:
    """The convolutional student."""
    from bench.quality import tuning_digits

    problem = tuning_digits.problem(0)
    trainer = trainer_of(problem, runs, tuning_digits.CONFIG)
    params = {
        f"{i}.{name}": np.transpose(value, (3, 2, 0, 1)) if name == "kernel" else value
        for i in range(3)
        for name, value in problem.student.params[f"Conv_{i}"].items()
    }
    return trainer, TorchLoop(trainer, convolved, params)


def trainer_of(problem: TuningProblem, runs: int, config: TuneConfig) -> Trainer:
    """So many runs that differ by their seed."""
    return Trainer(problem, "b-tuning", [(CHOICE, s) for s in range(runs)], replace(config))


def speeds() -> list[dict[str, Any]]:
    """A row a student and number of runs: medians of alternating measurements."""
    cases = (
        ("on features", feature_pair, 1),
        ("on features", feature_pair, 16),
        ("convolutions", pixel_pair, 1),
    )
    return [speed(name, runs, *pair(runs)) for name, pair, runs in cases]


def speed(name: str, runs: int, trainer: Trainer, peer: TorchLoop) -> dict[str, Any]:
    """Compile, check that both learn the same, then time an epoch of ours and of torch in turn."""
    begun = time.perf_counter()
    trainer.advance()
    jax.block_until_ready(trainer.state)
    compiled = time.perf_counter() - begun
    peer.epoch(0)
    check(trainer, peer)
    threads = best_threads(peer)
    steps = len(trainer._orders(0, len(peer.Y))[0])
    epochs = max(1, 200 // steps)
    ours, theirs = [], []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        for _ in range(epochs):
            trainer.advance()
        jax.block_until_ready(trainer.state)
        ours.append(runs * epochs * steps / (time.perf_counter() - begun))
        at, begun = trainer.epoch, time.perf_counter()
        for number in range(epochs):
            peer.epoch(number)
        theirs.append(epochs * steps / (time.perf_counter() - begun))
        trainer.epoch = at
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    return {
        "student": name,
        "runs at once": runs,
        "compile, s": f"{compiled:.2f}",
        "ours, steps x runs a second": f"{statistics.median(ours):.0f}",
        "torch, steps a second": f"{statistics.median(theirs):.0f}",
        "torch's threads": threads,
        "ours / torch, median": f"{statistics.median(ratios):.2f}",
        "lowest to highest": f"{ratios[0]:.2f} to {ratios[-1]:.2f}",
    }


def best_threads(peer: TorchLoop) -> int:
    """As many threads as serve torch best: on small products one may beat several."""
    at, times = peer.trainer.epoch, {}
    for threads in range(1, len(os.sched_getaffinity(0)) + 1):
        torch.set_num_threads(threads)
        peer.epoch(0)
        times[threads] = min(_seconds(peer) for _ in range(REPEATS))
    peer.trainer.epoch = at
    best = min(times, key=lambda threads: times[threads])
    torch.set_num_threads(best)
    return best


def _seconds(peer: TorchLoop) -> float:
    begun = time.perf_counter()
    for _ in range(3):
        peer.epoch(0)
    return time.perf_counter() - begun


def check(trainer: Trainer, peer: TorchLoop) -> None:
    """The heads after an epoch must agree: nothing reaches them but through all the rest."""
    ours = np.asarray(trainer.state.params["head"]["W"][0])
    gap = float(np.abs(ours - peer.W.detach().numpy()).max() / np.abs(ours).max())
    if not gap < 1e-3:
        raise SystemExit(f"torch and ours differ by {gap:.1e} after an epoch: not timed")
