"""Results of runs as a CSV: model, value, maybe stderr or rows; a word for a value is a failure."""

import csv
import difflib
import io
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from spider_jax.errors import InputError
from spider_jax.recommend.search import supersedes
from spider_jax.records.noise import accuracy_variance
from spider_jax.storage.text_files import open_regular

NO, YES = ("", "no", "false", "0"), ("yes", "true", "1", "x")  # in a column failed
NEAR = 20_000  # models among which a name that is nearly right is looked for


class ToldRuns(NamedTuple):
    """What a file says of runs.

    Attributes:
        results: (value, standard error or NaN) by model.
        failed: what stands in place of a value, by model.
    """

    results: dict[str, tuple[float, float]]
    failed: dict[str, str]


def read_runs(
    path: Path, models: Collection[str], known: Mapping[str, tuple[float, float]] | None = None
) -> ToldRuns:
    """Read results of runs.

    Args:
        path: CSV with columns model and value, and maybe stderr; or rows that a share v was counted
            on: its standard error is sqrt(v (1 - v)/rows). A blank value is a run that has not
            ended and is left out; a word such as "failed" is a run that failed, and so is a
            row that says why in a column failed.
        models: that the prior knows.
        known: results that were known before.

    Raises:
        InputError: a missing column, an unknown model or one with two results, here or before, a
            value that is infinite, a standard error that is not positive; the line is named.
    """
    results: dict[str, tuple[float, float]] = {}
    failed: dict[str, str] = {}
    before = known or {}
    for row, line in _rows(path, ("model", "value")):
        model, text = line["model"].strip(), line["value"].strip()
        _check_model(f"{path}, line {row}", model, models)
        why = _failure(line)
        if not text and not why:
            continue
        value = _number(text)
        if why or value is None:
            if model in before:
                raise InputError(
                    f"{path}, line {row}: {model!r} has the result {before[model][0]:g} already, "
                    f"got a failure ({why or text}): leave the line out"
                )
            failed[model] = why or text
            continue
        if not math.isfinite(value):
            raise InputError(f"{path}, line {row}: value of {model!r} must be finite, got {text!r}")
        error = _error(f"{path}, line {row}", line, value)
        earlier = results.get(model, before.get(model))
        if earlier is not None and not supersedes((value, error), earlier):
            raise InputError(
                f"{path}, line {row}: {model!r} has the result {earlier[0]:g} already, got "
                f"{value:g}: keep one, or their mean; one on more rows has a smaller stderr"
            )
        results[model] = value, error
    return ToldRuns(results, {m: why for m, why in failed.items() if m not in results})


def read_costs(path: Path, models: Collection[str]) -> dict[str, float]:
    """Read what a run of each model costs.

    Args:
        path: CSV with columns model and cost, in seconds, money or any one unit. A blank cost is
            not known.
        models: that the prior knows.

    Raises:
        InputError: a missing column, an unknown model or one with two costs, or a cost that is not
            positive; the line is named.
    """
    found: dict[str, float] = {}
    for row, line in _rows(path, ("model", "cost")):
        model, text = line["model"].strip(), line["cost"].strip()
        _check_model(f"{path}, line {row}", model, models)
        if not text:
            continue
        cost = _number(text)
        if cost is None or not math.isfinite(cost) or cost <= 0:
            raise InputError(
                f"{path}, line {row}: cost of {model!r} must be positive or blank, got {text!r}"
            )
        if found.setdefault(model, cost) != cost:
            raise InputError(
                f"{path}, line {row}: {model!r} has the cost {found[model]:g} already, got "
                f"{cost:g}: keep one"
            )
    return found


def _error(where: str, line: Mapping[str, str], value: float) -> float:
    """Standard error of a result; NaN where nothing says it."""
    model, rows = line["model"].strip(), line.get("rows", "").strip()
    error = _number(line.get("stderr", "").strip() or "nan")
    if error is None or error <= 0:
        raise InputError(
            f"{where}: stderr of {model!r} must be positive or blank, got {line['stderr']!r}"
        )
    if not math.isnan(error) or not rows:
        return error
    count = _number(rows)
    if count is None or not 1 <= count < math.inf or not 0 <= value <= 1:
        raise InputError(
            f"{where}: rows of {model!r} must be a count, at least 1, of a share between 0 and 1, "
            f"got {rows!r} and the value {value:g}: give stderr instead"
        )
    return math.sqrt(accuracy_variance(value, int(count)))


def _check_model(where: str, model: str, models: Collection[str]) -> None:
    if model in models:
        return
    near = difflib.get_close_matches(model, list(models)[:NEAR], n=1)
    mend = f"did you mean {near[0]!r}? Else " if near else ""
    raise InputError(
        f"{where}: the prior knows no model {model!r}, it knows {len(models)}: {mend}add it to the "
        "records with its facts and fit again, or leave the line out"
    )


def _failure(line: Mapping[str, str]) -> str:
    """Why a run failed, by the column of that name; "" where it did not."""
    said = line.get("failed", "").strip()
    plain = said.casefold()
    return "" if plain in NO else "failed" if plain in YES else said


def _rows(path: Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Lines of a CSV with their numbers."""
    try:
        with (
            open_regular(path) as raw,
            io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as file,
        ):
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
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as CSV: {error}") from None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
