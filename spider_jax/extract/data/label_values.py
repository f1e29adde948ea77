"""Labels from the values of a column: words stay words, numbers that are written as such count."""

import datetime
import logging
import re
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.extract.data.csv_rows import NUMBER
from spider_jax.extract.data.dataset import Labelling, classes_of_names, kind_of_labels

log = logging.getLogger("spider_jax")

WHOLE = re.compile(r"0|-?[1-9]\d*")  # as int writes it: "007" and "+1" are words
MISSING = ("", "nan", "NaN")
DOUBTFUL = ("None", "none", "null", "NULL", "NA", "N/A", "<NA>")


def labels_of(
    values: Sequence[object],
    kind: str | None,
    where: str,
    row_name: Callable[[int], str] = lambda row: f"row {row}",
) -> Labelling:
    """Labels from the values of a column.

    Whole numbers are classes, numbers of which one has a decimal point are targets, all else are
    words, which name classes: "007", "1e3", "inf", and numbers beyond 64 bits.

    Args:
        values: one a row: a word, a number, or a list of numbers.
        kind: "classification", "regression", "multi-label", or None to see it from the values.
        where: the file that the values are from, for errors.
        row_name: row -> how errors call it.

    Returns:
        The labels. Their classes have names where the values are words.

    Raises:
        InputError: labels that are missing, or not of the kind.
    """
    values = [v.decode(errors="replace") if isinstance(v, bytes) else v for v in values]
    words = any(isinstance(v, str) for v in values)
    if words:
        values = [v.strip() if isinstance(v, str) else v for v in values]
    _refuse_missing(values, words, where, row_name)
    numbers = _of_words([str(v) for v in values], kind) if words else _of_numbers(values)
    if numbers is None or (kind == "classification" and numbers.dtype.kind == "f"):
        if kind not in (None, "classification"):
            row = next((i for i, v in enumerate(values) if not NUMBER.fullmatch(str(v))), 0)
            raise InputError(
                f"{where}: {kind} needs numbers as labels, got {values[row]!r} in {row_name(row)}"
            )
        return _named(list(map(str, values)), where)
    if kind == "regression":
        numbers = numbers.astype(np.float64)
    return Labelling(numbers, None, kind_of_labels(numbers, kind, where))


def _refuse_missing(
    values: Sequence[object], words: bool, where: str, row_name: Callable[[int], str]
) -> None:
    missing = [
        row
        for row, v in enumerate(values)
        if v is None or v in MISSING or (words and isinstance(v, float) and v != v)
    ]
    if missing:
        raise InputError(
            f"{where}: {row_name(missing[0])} has no label, {len(missing)} of {len(values)} rows "
            "have none: fill them in, or leave the rows out"
        )


def _named(words: Sequence[str], where: str) -> Labelling:
    labels, classes = classes_of_names(words)
    doubtful = {word: n for word, n in Counter(words).items() if word in DOUBTFUL}
    if doubtful:
        counts = ", ".join(f"{word!r} ({n} rows)" for word, n in doubtful.items())
        log.warning(
            "%s: taken as classes: %s; leave the rows out if they have no label", where, counts
        )
    return Labelling(labels, classes, "classification")


def _of_words(words: Sequence[str], kind: str | None) -> NDArray[np.generic] | None:
    """int64 or float64 [N] of words that are numbers, as a table writes them; None of others."""
    if all(map(WHOLE.fullmatch, words)):
        return _whole(list(map(int, words)))
    if not all(map(NUMBER.fullmatch, words)):
        return None
    if kind == "regression" or any("." in word for word in words):
        return np.array(words, np.float64)
    return None


def _whole(values: Sequence[int]) -> NDArray[np.int64] | None:
    try:
        return np.array(values, np.int64)
    except OverflowError:  # identifiers
        return None


def _of_numbers(values: Sequence[object]) -> NDArray[np.generic] | None:
    """int64 or float64 [N] or [N, K] of numbers or lists of them; None of anything else."""
    first = values[0] if values else 0.0
    if isinstance(first, datetime.date | datetime.time):
        return None
    if all(isinstance(v, bool | int | np.integer | np.bool_) for v in values):
        return _whole([int(v) for v in values])  # type: ignore[call-overload]
    if any(isinstance(v, Decimal) for v in values):
        values = [float(v) if isinstance(v, Decimal) else v for v in values]
    try:
        found = np.array(values)
        return found if found.dtype.kind in "biuf" else None
    except (ValueError, TypeError, OverflowError):
        return None
