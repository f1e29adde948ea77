"""Results of runs as a CSV: model, value, maybe stderr; a word instead of a value is a failure."""

import csv
import math
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from spider_jax.errors import InputError


class ToldRuns(NamedTuple):
    """What a file says of runs.

    Attributes:
        results: (value, standard error or NaN) by model.
        failed: what stands in place of a value, by model.
    """

    results: dict[str, tuple[float, float]]
    failed: dict[str, str]


def read_runs(path: Path, models: Collection[str]) -> ToldRuns:
    """Read results of runs.

    Args:
        path: CSV with columns model and value, and maybe stderr. A blank value is a run that has
            not ended and is left out; a word such as "failed" is a run that failed.
        models: that are known.

    Raises:
        InputError: a missing column, an unknown model or one with two results, a value that is
            infinite, a standard error that is not positive; the line is named.
    """
    results: dict[str, tuple[float, float]] = {}
    failed: dict[str, str] = {}
    for row, line in _rows(path, ("model", "value")):
        model, text = line["model"].strip(), line["value"].strip()
        if model not in models:
            raise InputError(
                f"{path}, line {row}: the prior knows no model {model!r}, it knows {len(models)}: "
                "add it to the records with its facts and fit again"
            )
        if not text:
            continue
        value = _number(text)
        if value is None:
            failed[model] = text
            continue
        if not math.isfinite(value):
            raise InputError(f"{path}, line {row}: value of {model!r} must be finite, got {text!r}")
        error = _number(line.get("stderr", "").strip() or "nan")
        if error is None or error <= 0:
            raise InputError(
                f"{path}, line {row}: stderr of {model!r} must be positive or blank, got "
                f"{line['stderr']!r}"
            )
        if model in results and results[model][0] != value:
            raise InputError(
                f"{path}, line {row}: {model!r} has the result {results[model][0]:g} already, got "
                f"{value:g}: keep one, or their mean"
            )
        results[model] = value, error
    return ToldRuns(results, {m: why for m, why in failed.items() if m not in results})


def read_costs(path: Path) -> dict[str, float]:
    """Read what a run of each model costs.

    Args:
        path: CSV with columns model and cost, in seconds, money or any one unit.

    Raises:
        InputError: a missing column or a cost that is not positive; the row is named.
    """
    found: dict[str, float] = {}
    for row, line in _rows(path, ("model", "cost")):
        cost = _number(line["cost"].strip())
        if cost is None or not math.isfinite(cost) or cost <= 0:
            raise InputError(
                f"{path}, line {row}: cost of {line['model']!r} must be positive, got "
                f"{line['cost']!r}"
            )
        found[line["model"].strip()] = cost
    return found


def _rows(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Lines of a CSV with their numbers."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            there = reader.fieldnames or []
            lacking = [name for name in columns if name not in there]
            if lacking:
                raise InputError(
                    f"{path} must have the columns {', '.join(columns)}, got "
                    f"{', '.join(map(repr, there)) or 'an empty file'}"
                )
            return [
                (reader.line_num, {k: v or "" for k, v in line.items() if isinstance(k, str)})
                for line in reader
            ]
    except FileNotFoundError:
        raise InputError(f"{path} is missing") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV: {error}") from None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
