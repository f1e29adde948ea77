"""The torch forms that accelerator.py times ours against, on the same device, and its references.

Letters: M models, C classes, d token width, B tasks of a step, N samples, D feature width. What is
computed in float64 is the published form, on the host: it knows nothing of ours.
"""

import gc
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from bench.peers import torch_training
from bench.peers.torch_scoring import FactorisedForm, PublishedForm, PublishedState, random_state
from bench.peers.torch_training import FactorisedTraining, PublishedTraining, plackett_luce

ON_DEVICE = 1 << 27  # B m d of a chunk of m models, where memory is not a core's cache
CHUNK = 1 << 16  # models of a chunk of scores
STEPS = 11  # of LogME's fixed point, as published
Call = Callable[[], Any]


def device() -> torch.device:
    """The GPU, where torch has one; else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def start() -> None:
    """No TF32, and chunks that suit the device; new tensors lie on it."""
    torch.set_float32_matmul_precision("highest")
    if device().type == "cuda":
        torch_training.PAIR_ELEMENTS = ON_DEVICE
        torch.set_default_device(device())


def version() -> str:
    """Of torch."""
    return str(torch.__version__)


def forget() -> None:
    """Give memory back that nothing holds: another library needs it."""
    gc.collect()
    if device().type == "cuda":
        torch.cuda.empty_cache()


@lru_cache(maxsize=1)
def published(M: int, d: int, width: int) -> PublishedState:
    """Random weights under the published names, on the host: small enough to check, or to train.

    Args:
        M: models.
        d: width.
        width: of the extractor.
    """
    with torch.device("cpu"):
        return random_state(M, d, width, seed=0)


def wait() -> None:
    """Until the device is done."""
    if device().type == "cuda":
        torch.cuda.synchronize()


# ---- what is timed ---------------------------------------------------------------------------


def scoring(
    state: PublishedState, tokens: np.ndarray, found: int = 0, *, compiled: bool
) -> dict[str, Call]:
    """The factorised form: eager, compiled, and as a CUDA graph.

    Args:
        state: the weights.
        tokens: [T, C, D] raw.
        found: how many best models are wanted; 0 for the scores of all.
        compiled: whether it is compiled as well.
    """
    where = device()
    on_it = {name: value.to(where) for name, value in state.items()}
    large = CHUNK if where.type == "cuda" else None
    form = FactorisedForm(on_it, chunk=large).to(where)
    given = torch.from_numpy(tokens).to(where)
    mask = torch.ones(given.shape[:2], dtype=torch.bool, device=where)

    def eager() -> Tensor:
        scores = form(given, mask)
        return scores.topk(found).indices if found else scores

    calls = {"torch": waited(eager)}
    if compiled:
        calls["torch compiled"] = waited(torch.compile(eager))
    if where.type == "cuda":
        calls["torch CUDA graph"] = graph_of(eager)
    return calls


def waited(call: Callable[[], Tensor]) -> Call:
    """The call, done when it returns.

    Args:
        call: gives a tensor.
    """

    def done() -> Tensor:
        found = call()
        wait()
        return found

    return done


def graph_of(call: Callable[[], Tensor]) -> Call:
    """A call captured as a CUDA graph at its first use.

    Args:
        call: gives a tensor.
    """
    made: list[Any] = []

    def replay() -> Tensor:
        if not made:
            side = torch.cuda.Stream()
            with torch.cuda.stream(side):
                call()
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                out = call()
            made.extend((graph, out))
        made[0].replay()
        wait()
        return made[1]

    return replay


def training(state: PublishedState, *task: np.ndarray, compiled: bool) -> dict[str, Call]:
    """A step of the factorised form with fused Adam, on one batch: eager and compiled.

    Args:
        state: where it begins.
        task: tokens, mask and targets.
        compiled: whether it is compiled as well.
    """
    where = device()
    given = [torch.from_numpy(array).to(where) for array in task]

    def stepping(change: Callable[[Any], Any]) -> Call:
        form = FactorisedTraining.from_state(state).to(where)
        adam = torch.optim.Adam(form.parameters(), lr=2.5e-4, fused=True)

        def loss(tokens: Tensor, mask: Tensor, targets: Tensor) -> Tensor:
            return plackett_luce(form(tokens, mask), targets)

        of = change(loss)

        def step() -> Tensor:
            adam.zero_grad(set_to_none=True)
            found = of(*given)
            found.backward()
            adam.step()
            return found.detach()

        return waited(step)

    forms = {"torch": stepping(lambda loss: loss)}
    return forms | ({"torch compiled": stepping(torch.compile)} if compiled else {})


def logme(features: np.ndarray, labels: np.ndarray) -> Tensor:
    """LogME of models by the published fixed point, all at once in float64 on the device.

    Args:
        features: [models, N, D], N > D.
        labels: [N].
    """
    F = torch.from_numpy(features).to(device(), torch.float64)
    Y = torch.nn.functional.one_hot(torch.from_numpy(labels).to(device())).to(torch.float64)
    _, N, D = F.shape
    s, V = torch.linalg.eigh(F.mT @ F)
    s = s.clamp_min(1e-10)[:, :, None]
    x2 = ((V.mT @ (F.mT @ Y)) ** 2) / s
    outside = (Y.sum(0) - x2.sum(1)).clamp_min(0)
    alpha = torch.ones_like(outside)
    beta = torch.ones_like(outside)
    for _ in range(STEPS):
        t = (alpha / beta)[:, None]
        gamma = (s / (s + t)).sum(1)
        weight = (s * x2 / (t + s) ** 2).sum(1)
        residual = (x2 / (1 + s / t) ** 2).sum(1) + outside
        alpha, beta = gamma / (weight + 1e-5), (N - gamma) / (residual + 1e-5)
    evidence = D * alpha.log() + N * beta.log() - N * np.log(2 * np.pi) - beta * residual
    evidence = evidence - alpha * weight - (alpha[:, None] + beta[:, None] * s).log().sum(1)
    return (evidence / (2 * N)).mean(1)


# ---- references in float64 -------------------------------------------------------------------


def scores64(state: Mapping[str, Tensor], tokens: np.ndarray) -> np.ndarray:
    """Scores [T, M] of the published form in float64.

    Args:
        state: the weights.
        tokens: [T, C, D] raw.
    """
    with torch.device("cpu"):
        form = PublishedForm.from_state({name: value.double() for name, value in state.items()})
        given = torch.from_numpy(tokens).double()
        return form(given, torch.ones(given.shape[:2], dtype=torch.bool)).numpy()


def gradient64(state: Mapping[str, Tensor], *task: np.ndarray) -> tuple[float, np.ndarray]:
    """Loss, and its gradient by the models' tokens, of the published form in float64.

    Args:
        state: the weights.
        task: tokens, mask and targets.
    """
    with torch.device("cpu"):
        wide = {name: value.double() for name, value in state.items()}
        form = PublishedTraining.from_state(wide)
        tokens, mask, targets = (torch.from_numpy(array) for array in task)
        loss = plackett_luce(form(tokens.double(), mask), targets.double())
        loss.backward()
        slope = form.model_prompt.grad
        assert slope is not None
        return float(loss.detach()), slope[0].numpy()


def logme64(features: np.ndarray, labels: np.ndarray) -> float:
    """LogME by its definition: the largest ln N(y; 0, (I + F F^T / t) / beta) of every column.

    Args:
        features: [N, D].
        labels: [N].
    """
    F = features.astype(np.float64)
    s, U = np.linalg.eigh(F @ F.T)
    s = np.maximum(s, 0)
    found = []
    for c in np.unique(labels):
        x2 = (U.T @ (labels == c).astype(np.float64)) ** 2

        def loss(u: float, x2: np.ndarray = x2) -> float:
            spread = 1 + s / np.exp(u)
            variance = (x2 / spread).mean()
            return float(np.log(2 * np.pi) + np.log(variance) + 1 + np.log(spread).mean()) / 2

        grid = np.linspace(-20, 20, 81) + np.log(s.max())
        best = grid[np.argmin([loss(u) for u in grid])]
        near = (best - 0.5, best + 0.5)
        found.append(
            -minimize_scalar(loss, bounds=near, method="bounded", options={"xatol": 1e-9}).fun
        )
    return float(np.mean(found))
