"""The B-Tuning loop in plain torch, eager, written from the equations and from nothing else.

Letters: V views, n training rows, B rows of a batch, C outputs, D features, K teachers. The loss of
a batch is

    task(features W + b, Y) + weight |features mean^T - sum_k pi_k prediction_k|^2 / (B C)

where `mean` holds the posterior means of the student's own head and `prediction_k` is what teacher
k predicts. SGD with Nesterov momentum; the head learns `head_rate` times as fast.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor
from torch.nn import functional

Forward = Callable[[dict[str, Tensor], Tensor], Tensor]  # params and rows to features [B, D]


class Start(NamedTuple):
    """Where a run begins.

    Attributes:
        params: of the student, by name.
        W: of the head, [D, C].
        b: of the head, [C].
    """

    params: Mapping[str, Float32[np.ndarray, "..."]]
    W: Float32[np.ndarray, "D C"]
    b: Float32[np.ndarray, " C"]


class Data(NamedTuple):
    """What a run reads.

    Attributes:
        x: inputs of all views, [V n, ...].
        Y: targets, [n, C].
        predictions: of the teachers, [V n, K, C].
        mean: posterior means of the student's own head, [C, D].
        pi: weights of the teachers, [K].
    """

    x: Float[np.ndarray, "..."]
    Y: Float32[np.ndarray, "n C"]
    predictions: Float32[np.ndarray, "_ K C"]
    mean: Float32[np.ndarray, "C D"]
    pi: Float32[np.ndarray, " K"]


class Rule(NamedTuple):
    """How a run learns.

    Attributes:
        learning_rate: of the student.
        head_rate: the head learns so many times as fast.
        momentum: of Nesterov's kind.
        weight_decay: of student and head.
        weight: of the teachers' part of the loss.
    """

    learning_rate: float
    head_rate: float
    momentum: float
    weight_decay: float
    weight: float


class TorchLoop:
    """One run.

    Args:
        forward: the student.
        start: where it begins.
        data: what it reads.
        rule: how it learns.
    """

    def __init__(self, forward: Forward, start: Start, data: Data, rule: Rule) -> None:
        self.forward, self.weight = forward, rule.weight
        self.student = {n: torch.tensor(v, requires_grad=True) for n, v in start.params.items()}
        self.W, self.b = (torch.tensor(a, requires_grad=True) for a in (start.W, start.b))
        groups = [
            {"params": list(self.student.values()), "lr": rule.learning_rate},
            {"params": [self.W, self.b], "lr": rule.learning_rate * rule.head_rate},
        ]
        decay = {"momentum": rule.momentum, "weight_decay": rule.weight_decay}
        self.optimizer = torch.optim.SGD(groups, **decay, nesterov=True)
        self.x, self.Y, self.predictions, self.mean, self.pi = map(torch.tensor, data)

    def epoch(self, order: Int[np.ndarray, "steps B"]) -> None:
        """The steps of an epoch.

        Args:
            order: rows of every step among the V n of all views; -1 is padding.
        """
        for at in torch.tensor(order, dtype=torch.long):
            at = at[at >= 0]
            features = self.forward(self.student, self.x[at])
            target = torch.einsum("k,bkc->bc", self.pi, self.predictions[at])
            gap = functional.mse_loss(features @ self.mean.T, target)
            outputs = features @ self.W + self.b
            task = functional.cross_entropy(outputs, self.Y[at % len(self.Y)])
            self.optimizer.zero_grad()
            (task + self.weight * gap).backward()
            self.optimizer.step()


def adapted(mean: Float32[np.ndarray, " d"], scale: Float32[np.ndarray, " d"]) -> Forward:
    """A residual network on standardised features u: u + W relu(V u + c), and a 1 for the bias.

    Args:
        mean: of the features.
        scale: of the features.
    """
    centre, width = torch.tensor(mean), torch.tensor(scale)

    def forward(w: dict[str, Tensor], x: Tensor) -> Tensor:
        u = (x.float() - centre) / width
        changed = u + functional.relu(u @ w["V"] + w["c"]) @ w["W"]
        return torch.cat([changed, torch.ones_like(u[:, :1])], 1)

    return forward


def convolved(w: dict[str, Tensor], x: Tensor) -> Tensor:
    """Three convolutions, a mean and a 1 for the bias.

    With stride 2 the padding goes below and to the right only, as in Flax.

    Args:
        w: kernels and biases, "0.kernel" to "2.bias".
        x: pictures [B, 8, 8].
    """
    x = x[:, None]
    for layer, stride in ((0, 1), (1, 2), (2, 2)):
        pad = (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1)
        kernel, bias = w[f"{layer}.kernel"], w[f"{layer}.bias"]
        x = functional.relu(functional.conv2d(functional.pad(x, pad), kernel, bias, stride))
    x = x.mean((2, 3))
    return torch.cat([x, torch.ones_like(x[:, :1])], 1)
