"""Whether what accelerator.py times is right: every program beside float64, on the host."""

import numpy as np

from bench.speed import accelerator_ours as ours
from bench.speed import accelerator_torch as peer


def checks(tiny: bool) -> dict[str, tuple[float, float]]:
    """By program: how far it is from float64, and how far it may be.

    Scores are compared in units of their deviation, a gradient by its norm.

    Args:
        tiny: whether sizes are the smallest.
    """
    M, d, C = (60, 32, 20) if tiny else (300, 256, 50)
    state, given = peer.published(M, d, ours.EXTRACTOR), ours.tokens_of(C, 2)
    host = {name: value.numpy() for name, value in state.items()}
    true = peer.scores64(state, given.centres)
    found: dict[str, tuple[float, float]] = {}
    for precision, most in (("float32", 1e-5), ("bfloat16", 5e-2)):
        for form in ("many", "few"):
            scores = ours.scores_of(host, given, form, precision)
            found[f"scores, {form}, {precision}"] = apart(scores, true), most
    task = task_of(4, M, C)
    (loss, slope), (true_loss, true_slope) = (
        ours.gradient_of(host, *task),
        peer.gradient64(state, *task),
    )
    found["loss"] = abs(loss - true_loss) / abs(true_loss), 1e-5
    gap = np.linalg.norm(slope - true_slope) / np.linalg.norm(true_slope)
    found["gradient"] = float(gap), 1e-4
    features, labels = zoo_of(2, 120, 30)
    gaps = [
        abs(value - peer.logme64(one, labels))
        for one, value in zip(features, ours.logme_of(features, labels), strict=True)
    ]
    found["LogME"] = max(gaps), 1e-6
    scores, best = ours.scores_and_best(60_000, 32, 20)
    order = np.argsort(-scores, kind="stable")[: ours.FOUND]
    found["search"] = float((order != best).sum()), 0.0
    return found


def apart(found: np.ndarray, true: np.ndarray) -> float:
    """The largest difference, in deviations of what is true; infinite where a number is not.

    Args:
        found: in any precision.
        true: in float64.

    >>> apart(np.array([1.0, np.nan]), np.array([1.0, 2.0]))
    inf
    """
    gap = np.abs(found - true).max() / true.std()
    return float(gap) if np.isfinite(gap) else float("inf")


def task_of(B: int, M: int, C: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A batch of tasks: tokens, mask, targets.

    Args:
        B: tasks.
        M: models.
        C: classes.
    """
    given = ours.tokens_of(C, B)
    targets = np.random.default_rng(M).standard_normal((B, M), dtype=np.float32)
    return given.centres, given.mask, targets


def zoo_of(models: int, N: int, D: int) -> tuple[np.ndarray, np.ndarray]:
    """Features of models on a task, and its labels.

    Args:
        models: how many.
        N: samples.
        D: width.
    """
    rng = np.random.default_rng(0)
    labels = np.arange(N) % 10
    means = rng.standard_normal((models, 10, D))
    return (means[:, labels] + rng.standard_normal((models, N, D))).astype(np.float32), labels
