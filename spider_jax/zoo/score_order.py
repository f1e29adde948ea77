"""One order by several metrics: those that all compared models have, and the number it shows."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from spider_jax.ranking.aggregate import borda, mean_z

# Of fewer models a z-score says more of the company than of the model: two always stand at -1, 1.
LEAST_FOR_Z = 5
COMBINED = "combined"  # heading of the numbers
SHOWN = 5  # names in a sentence


class Order(NamedTuple):
    """What a table of scores is sorted by.

    Attributes:
        values: one number a model, larger is better; NaN for a model that cannot be compared.
        by: heading of these numbers; None where they are those of one metric.
        rule: what they are, in words.
        notes: what the reader must know: who was not compared, by what, and who is tied.
    """

    values: Float64[np.ndarray, " M"]
    by: str | None
    rule: str
    notes: tuple[str, ...]


def order_models(
    models: Sequence[str], metrics: Sequence[str], values: Float64[np.ndarray, "M K"]
) -> Order:
    """What to sort models by.

    Compared are the models that have any value, by the metrics that all of them have: the mean
    z-score of 5 models or more, else the mean share of the others that a model beats. Where they
    have none in common, the metric that most of them have orders them.

    Args:
        models: M names.
        metrics: K names.
        values: scores, NaN or infinite where there is none.

    Returns:
        The numbers to sort by, and what to say of them.
    """
    known = np.isfinite(values)
    compared = known.any(1)
    shared = known[compared].all(0) & known.any(0)
    notes = []
    if not shared.any() and known.any():
        most = int(known.sum(0).argmax())
        shared = np.arange(len(metrics)) == most
        compared = known[:, most]
        notes.append("no metric has a value for every model")
    some = known.any(0) & ~shared
    partial = [metric for metric, out in zip(metrics, some, strict=True) if out]
    if partial:
        notes.append(f"not in the order, some models have no value: {', '.join(partial)}")
    without = [model for model, there in zip(models, compared, strict=True) if not there]
    if without:
        notes.append(f"not compared, they stand last: {_named(without)}")
    used = [metric for metric, in_ in zip(metrics, shared, strict=True) if in_]
    table = values[np.ix_(compared, shared)]
    numbers, by, rule = _combined(table, used)
    placed = np.full(len(models), np.nan)
    placed[compared] = numbers
    names = [model for model, there in zip(models, compared, strict=True) if there]
    return Order(placed, by, rule, (*notes, *_ties(names, table, numbers)))


def _combined(
    table: Float64[np.ndarray, "m k"], metrics: Sequence[str]
) -> tuple[Float64[np.ndarray, " m"], str | None, str]:
    if len(metrics) == 1:
        return table[:, 0], None, metrics[0]
    if not table.size:
        return np.full(len(table), np.nan), None, "nothing: no metric has a value"
    if len(table) < LEAST_FOR_Z:
        return (
            np.asarray(borda(table.T)),
            COMBINED,
            "the mean share of the other models that it beats, "
            f"over {', '.join(metrics)} (too few models for z-scores)",
        )
    return np.asarray(mean_z(table.T)), COMBINED, f"the mean z-score of {', '.join(metrics)}"


def _ties(
    models: Sequence[str],
    table: Float64[np.ndarray, "m k"],
    numbers: Float64[np.ndarray, " m"],
) -> list[str]:
    """Models that are equal in every metric, and others that are equal in what they are sorted by.

    They are equal where the numbers agree in all digits that are shown of a double.
    """
    said = []
    twins = _groups(models, table)
    for group in twins:
        said.append(f"cannot tell apart, equal in every metric: {_named(group)}")
    for group in _groups(models, numbers[:, None]):
        if not any(set(group) <= set(twin) for twin in twins):
            said.append(f"tied in what they are sorted by: {_named(group)}")
    return said


def _groups(models: Sequence[str], rows: Float64[np.ndarray, "m k"]) -> list[list[str]]:
    """Names of rows that are equal, where there are several."""
    if not rows.size or not np.isfinite(rows).all():
        return []
    _, group = np.unique(np.round(rows, 12), axis=0, return_inverse=True)
    which: Int64[np.ndarray, " m"] = group.reshape(-1)
    sizes = np.bincount(which)
    return [
        [models[i] for i in np.flatnonzero(which == one).tolist()]
        for one in np.flatnonzero(sizes > 1)
    ]


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
