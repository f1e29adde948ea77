"""Rows as a data frame of pandas or polars, whichever is installed."""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from spider_jax.errors import InputError
from spider_jax.runtime.optional import need

LIBRARIES = ("pandas", "polars")


def to_frame(
    columns: Sequence[str], rows: Sequence[Sequence[object]], library: str | None = None
) -> Any:
    """A data frame of the rows: exact names and numbers, a missing value for None.

    Args:
        columns: one heading per column.
        rows: one cell per column in every row.
        library: "pandas" or "polars"; default: the first of them that is installed.

    Returns:
        A pandas.DataFrame or a polars.DataFrame.

    Raises:
        InputError: an unknown library, or none is installed.
    """
    if library not in (None, *LIBRARIES):
        raise InputError(f"library must be one of {', '.join(LIBRARIES)}, got {library!r}")
    there = [name for name in LIBRARIES if find_spec(name) is not None]
    module = need(library or (there or LIBRARIES)[0], library or "pandas", "a data frame")
    plain = [[_plain(value) for value in row] for row in rows]
    if module.__name__ == "pandas":
        return module.DataFrame.from_records(plain, columns=list(columns))
    return module.DataFrame(
        plain, schema=list(columns), orient="row", strict=False, infer_schema_length=None
    )


def _plain(value: object) -> object:
    """NumPy's scalars as Python's, words of this package as any text."""
    if isinstance(value, str):
        return str(value)
    item = getattr(value, "item", None)
    return value if item is None else item()
