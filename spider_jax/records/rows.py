"""Single results as records: what someone adds by hand, by program, or from another format."""

import math
from collections.abc import Iterable

import numpy as np

from spider_jax.errors import InputError
from spider_jax.records.content import Content
from spider_jax.records.files.names import NameTable

Row = tuple[str, str, float] | tuple[str, str, float, float]


def content_of_rows(rows: Iterable[Row]) -> Content:
    """Records of single results, see `Records.from_rows`.

    Args:
        rows: (model, task, value) or (model, task, value, stderr).

    Returns:
        The records; of equal rows the first counts.

    Raises:
        InputError: what a row must not be.
    """
    models, tasks = NameTable(), NameTable()
    known: dict[tuple[int, int], tuple[float, float]] = {}
    for row in rows:
        model, task = _place(models, row[0], "model"), _place(tasks, row[1], "task")
        value = _number(row[2], f"value of {row[0]!r} on {row[1]!r}")
        error = _number(row[3], f"stderr of {row[0]!r} on {row[1]!r}") if len(row) > 3 else math.nan
        if error < 0:
            raise InputError(f"stderr of {row[0]!r} on {row[1]!r} must be at least 0, got {error}")
        if math.isnan(value):
            continue
        before = known.setdefault((model, task), (value, error))
        if before[0] != value:
            raise InputError(
                f"{row[0]!r} on {row[1]!r} is given twice, {before[0]:g} and {value:g}: "
                "leave one out"
            )
    pairs = np.array(list(known), np.int32).reshape(-1, 2)
    numbers = np.array(list(known.values()), np.float64).reshape(-1, 2)
    columns = (pairs[:, 0].copy(), pairs[:, 1].copy(), numbers[:, 0].copy(), numbers[:, 1].copy())
    return Content(tuple(models.names), tuple(tasks.names), *columns)


def _place(table: NameTable, name: str, what: str) -> int:
    place = table[name]
    if place < 0:
        raise InputError(f"the name of a {what} is empty or has a control character: {name!r}")
    return place


def _number(value: object, what: str) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise InputError(f"{what} must be a number, got {value!r}") from None
    if math.isinf(number):
        raise InputError(f"{what} must be finite, got {number}")
    return number
