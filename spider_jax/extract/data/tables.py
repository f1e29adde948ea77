"""`csv:FILE` and `parquet:FILE`: texts and labels in columns.

Options:
    text, label: names of columns, "text" and "label" by default.
    kind: classification, regression or multi-label.

A file without a text column gives its labels, for features that lie beside them
(`--model NAME=features:FILE`).
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

from spider_jax.errors import InputError, one_line
from spider_jax.extract.data.dataset import (
    NO_LABELS,
    Dataset,
    Labelling,
    classes_of_names,
    data_fingerprint,
    kind_of_labels,
    no_items,
)
from spider_jax.extract.spec import Spec
from spider_jax.runtime.optional import need

OPTIONS = ("text", "label", "kind")
Columns = Mapping[str, Sequence[object]]


def read_csv(spec: Spec) -> Dataset:
    """A CSV file with a header line, UTF-8.

    Args:
        spec: csv:FILE with the options above.

    Returns:
        The data.

    Raises:
        InputError: unreadable, without these columns, or with a row that is short.
    """
    path = _file(spec)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.reader(file, strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not a readable CSV file: {one_line(error)}") from None
    if len(rows) < 2:
        raise InputError(f"{path} must have a header line and rows")
    for number, row in enumerate(rows[1:]):
        if len(row) != len(rows[0]):
            raise InputError(f"{path}: row {number} has {len(row)} cells, not {len(rows[0])}")
    columns = dict(zip(rows[0], zip(*rows[1:], strict=True), strict=True))
    return _dataset(spec, path, columns, len(rows) - 1)


def read_parquet(spec: Spec) -> Dataset:
    """The text and label columns of a Parquet file.

    Args:
        spec: parquet:FILE with the options above.

    Returns:
        The data.

    Raises:
        InputError: unreadable, without these columns, or with values missing.
    """
    path = _file(spec)
    parquet = need("pyarrow.parquet", "pyarrow", f"data {spec}")
    try:
        names = parquet.ParquetFile(path).schema_arrow.names
        wanted = [n for n in (_column(spec, key) for key in ("text", "label")) if n in names]
        table = parquet.read_table(path, columns=wanted)
    except Exception as error:  # pyarrow's own kinds
        raise InputError(f"{path} is not a readable .parquet file: {one_line(error)}") from None
    columns = {name: table.column(name).to_pylist() for name in wanted}
    for name, values in columns.items():
        if None in values:
            raise InputError(f"{path}: {name} has no value in row {values.index(None)}")
    return _dataset(spec, path, columns, table.num_rows, names)


def _file(spec: Spec) -> Path:
    spec.known(OPTIONS)
    path = Path(spec.what)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    return path


def _column(spec: Spec, key: str) -> str:
    return spec.options.get(key, key)


def _dataset(
    spec: Spec, path: Path, columns: Columns, rows: int, names: Sequence[str] | None = None
) -> Dataset:
    for key in ("text", "label"):
        if key in spec.options and spec.options[key] not in columns:
            shown = ", ".join(map(repr, names or columns))
            raise InputError(f"{path} has no column {spec.options[key]!r}: it has {shown}")
    texts, values = columns.get(_column(spec, "text")), columns.get(_column(spec, "label"))
    if texts is None and values is None:
        raise InputError(f"{path} has neither a text nor a label column: name one with ?text=")
    labels, classes, kind = NO_LABELS
    if values is not None:
        labels, classes, kind = labels_of(values, spec.options.get("kind"), str(path))
    parts = [list(texts) if texts is not None else None, labels]
    return Dataset(
        name=spec.name or path.stem,
        source=f"{spec.reader}:{path.name}",
        modality="none" if texts is None else "text",
        rows=rows,
        item=no_items(path) if texts is None else lambda row: str(texts[row]),
        where=lambda row: f"{path} (row {row})",
        labels=labels,
        kind=kind,
        classes=classes,
        fingerprint=data_fingerprint(parts),
    )


def labels_of(values: Sequence[object], kind: str | None, where: str) -> Labelling:
    """Labels from the values of a column: words and whole numbers are classes, floats are targets.

    Args:
        values: one a row: a word, a number, or a list of numbers.
        kind: "classification", "regression", "multi-label", or None to see it from the values.
        where: the file that the values are from, for errors.

    Returns:
        The labels. Their classes have names where the values are words.

    Raises:
        InputError: a label that is empty, or not of the kind.
    """
    empty = [row for row, value in enumerate(values) if value == ""]
    if empty:
        raise InputError(f"{where}: row {empty[0]} has no label")
    numbers = _numbers(values)
    if numbers is None or (kind == "classification" and numbers.dtype.kind == "f"):
        if kind not in (None, "classification"):
            raise InputError(f"{where}: {kind} needs numbers as labels, got {values[0]!r}")
        labels, classes = classes_of_names([str(value) for value in values])
        return Labelling(labels, classes, "classification")
    if kind == "regression":
        numbers = numbers.astype(np.float64)
    return Labelling(numbers, None, kind_of_labels(numbers, kind, where))


def _numbers(values: Sequence[object]) -> NDArray[np.generic] | None:
    """int64 [N] or float64 [N] or [N, K] of numbers or of what reads as numbers; None of words."""
    for dtype in (np.int64, np.float64):
        if dtype is np.int64 and any(isinstance(v, float) for v in values):
            continue
        try:
            return np.array([_number(v, dtype) for v in values], dtype)
        except (ValueError, TypeError, OverflowError):
            continue
    return None


def _number(value: object, dtype: DTypeLike) -> int | float | NDArray[np.generic]:
    if isinstance(value, str):
        return int(value) if dtype is np.int64 else float(value)
    return np.asarray(value, dtype)
