"""Data frames of pandas and polars as records; neither is imported here."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from spider_jax.errors import InputError
from spider_jax.records.content import Content
from spider_jax.records.rows import Row, content_of_rows


def content_of_frame(frame: Any) -> Content:
    """Records of a data frame, see `Records.from_frame`.

    Args:
        frame: long or wide, of pandas or polars.

    Returns:
        The records.

    Raises:
        InputError: no such frame, or a value that is no number.
    """
    if not hasattr(frame, "columns") or not hasattr(frame, "__getitem__"):
        raise InputError(
            f"a frame must be one of pandas or polars, got {type(frame).__name__}: "
            "use Records.from_rows for rows"
        )
    columns = [str(name) for name in frame.columns]
    if {"model", "task", "value"} <= set(columns):
        return content_of_rows(_long(frame, "stderr" in columns))
    return content_of_rows(_wide(frame, columns))


def _long(frame: Any, with_errors: bool) -> Iterator[Row]:
    names = ("model", "task", "value", *(("stderr",) if with_errors else ()))
    for cells in zip(*(_cells(frame, name) for name in names), strict=True):
        yield (_name(cells[0]), _name(cells[1]), *map(_number, cells[2:]))


def _wide(frame: Any, columns: Sequence[str]) -> Iterator[Row]:
    originals = list(frame.columns)
    index = getattr(frame, "index", None)
    if "model" in columns:
        models = _cells(frame, originals.pop(columns.index("model")))
    elif index is not None and type(index).__name__ != "RangeIndex":
        models = index.tolist()
    elif originals:
        models = _cells(frame, originals.pop(0))
    else:
        raise InputError("a wide frame must have a column of models and one per task, got none")
    for task in originals:
        for model, cell in zip(models, _cells(frame, task), strict=True):
            yield (_name(model), str(task), _number(cell))


def _cells(frame: Any, column: Any) -> list[Any]:
    cells: list[Any] = np.asarray(frame[column], object).tolist()
    return cells


def _name(cell: Any) -> str:
    """A name; a missing cell is none."""
    return "" if _is_missing(cell) else str(cell)


def _number(cell: Any) -> Any:
    """A number, or what the check of rows refuses; a missing cell is a hole."""
    return float("nan") if _is_missing(cell) else cell


def _is_missing(cell: Any) -> bool:
    return cell is None or type(cell).__name__ in ("NAType", "NaTType") or cell != cell
