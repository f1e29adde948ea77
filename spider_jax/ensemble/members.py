"""Which members, and how many: the next one is who helps most given those chosen."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from spider_jax.ensemble.calibration import Columns, row_losses


class Step(NamedTuple):
    """One more member.

    Attributes:
        model: its name.
        alone: mean loss of its own predictions.
        loss: mean loss of the ensemble with it.
        gain: by which the mean loss fell.
        gain_error: standard error of the gain, over rows.
        correlation: of its errors with those of the ensemble before it; NaN for the first.
        losses: of the ensemble with it, by row.
    """

    model: str
    alone: float
    loss: float
    gain: float
    gain_error: float
    correlation: float
    losses: Float64[np.ndarray, " N"]


def forward_choice(
    left_out: Mapping[str, Columns],
    Y: Columns,
    kind: str,
    *,
    most: int,
    costs: Mapping[str, float] | None = None,
    budget: int | None = None,
) -> tuple[Step, ...]:
    """Members by cross-validated gain per cost: the best alone, then who lowers the loss most.

    Members are averaged with equal weights. It ends where nobody helps, at `most`, or where the
    budget is spent. The gain of a member who complements the others is large even where many are
    better alone.

    Args:
        left_out: predictions of every row by a head that has not seen it, by model, best ranked
            first; equal gains keep that order.
        Y: the truth, as `columns_of` gives it.
        kind: of the task.
        most: members at most.
        costs: of each model, in forward passes of a row; default: 1.
        budget: their sum at most, in whole passes.

    Returns:
        The members in the order of choice; empty only where the budget allows none.
    """
    names = list(left_out)
    cost = np.array([1.0 if costs is None else costs[name] for name in names])
    each = np.stack([row_losses(kind, left_out[name], Y) for name in names])
    chosen: list[int] = []
    steps: list[Step] = []
    total, current = np.zeros_like(Y), np.zeros(len(Y))
    while len(chosen) < most:
        left = cost[chosen].sum()
        open_ = [i for i in range(len(names)) if i not in chosen]
        open_ = [i for i in open_ if budget is None or left + cost[i] <= budget]
        if not open_:
            break
        count = len(chosen) + 1
        tried = [row_losses(kind, (total + left_out[names[i]]) / count, Y) for i in open_]
        fell = np.array([(current - t).mean() for t in tried])
        best = int(np.argmax(fell / cost[open_] if chosen else fell))
        if chosen and fell[best] <= 0:
            break
        one, difference = open_[best], current - tried[best]
        error = difference.std(ddof=1) / np.sqrt(len(Y)) if len(Y) > 1 else np.inf
        own = left_out[names[one]] - Y
        before = total / max(len(chosen), 1) - Y
        alike = _correlation(own, before) if chosen else np.nan
        loss = float(tried[best].mean())
        gain, error = (float(fell[best]), float(error)) if chosen else (0.0, 0.0)
        steps.append(
            Step(names[one], float(each[one].mean()), loss, gain, error, alike, tried[best])
        )
        chosen.append(one)
        total, current = total + left_out[names[one]], tried[best]
    return tuple(steps)


def _correlation(a: Columns, b: Columns) -> float:
    a, b = a - a.mean(0), b - b.mean(0)
    scale = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / scale) if scale > 0 else np.nan


def fewest_as_good(steps: Sequence[Step]) -> int:
    """The smallest number of members whose loss is within one standard error of the best number's.

    The error is that of the paired difference over rows; 1 says that one model is as good.

    Args:
        steps: of `forward_choice`, at least one.

    Returns:
        How many members.
    """
    best = min(steps, key=lambda step: step.loss)
    for count, step in enumerate(steps, 1):
        more = step.losses - best.losses
        error = more.std(ddof=1) / np.sqrt(len(more)) if len(more) > 1 else 0.0
        if more.mean() <= error:
            return count
    return len(steps)
