"""accuracies.csv of a zoo: true accuracies, every row checked; a fault is named with its line."""

import csv
import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from spider_jax.errors import InputError
from spider_jax.storage.opening import open_regular_text

log = logging.getLogger("spider_jax")

COLUMNS = ("model", "task", "accuracy")
FRACTION, CORRELATION, FREE = (0.0, 1.0), (-1.0, 1.0), (-math.inf, math.inf)
ERROR = (-math.inf, 0.0)  # an error is written with a minus: larger is better
# Ranges of measures that a manifest may name; of one that is not here nothing is known.
RANGES: Mapping[str, tuple[float, float]] = {
    **dict.fromkeys(("accuracy", "balanced_accuracy", "macro_f1", "f1", "auc"), FRACTION),
    **dict.fromkeys(("matthews", "spearman", "pearson", "kendall"), CORRELATION),
    **dict.fromkeys(("rmse", "log_loss"), ERROR),
    "r2": (-math.inf, 1.0),
}
# Other words for the same, in the form of `plain_measure`.
SPELT: Mapping[str, str] = {
    **dict.fromkeys(("acc", "top1", "top_1", "top_1_accuracy", "top1_accuracy"), "accuracy"),
    "balanced_acc": "balanced_accuracy",
    "f1_macro": "macro_f1",  # "f1" alone may be that of one class
    **dict.fromkeys(("mcc", "matthews_corrcoef", "matthews_correlation"), "matthews"),
    **dict.fromkeys(("auroc", "roc_auc", "auc_roc", "rocauc", "area_under_roc"), "auc"),
    **dict.fromkeys(("logloss", "nll", "cross_entropy", "neg_log_loss"), "log_loss"),
    **dict.fromkeys(("r_2", "r_squared", "r2_score"), "r2"),
    **dict.fromkeys(("spearmanr", "spearman_correlation"), "spearman"),
    **dict.fromkeys(("pearsonr", "pearson_correlation"), "pearson"),
    **dict.fromkeys(("root_mean_squared_error", "neg_rmse"), "rmse"),
}


def plain_measure(name: str) -> str:
    """A measure by the name that it has here.

    Args:
        name: as a manifest or a user spells it.

    Returns:
        Its words in small letters with "_" between them; one name for what has several.

    >>> plain_measure("Macro F1"), plain_measure("log-loss"), plain_measure("MCC")
    ('macro_f1', 'log_loss', 'matthews')
    """
    words = "_".join(re.findall(r"[^\W_]+", name.casefold().replace("²", "2")))
    return SPELT.get(words, words)


def range_of(kind: str | None, measure: object) -> tuple[float, float]:
    """The range of a task's results.

    Args:
        kind: of the task; None where the zoo has no labels of it.
        measure: what the manifest says, or None.

    Returns:
        The smallest and the largest value that a result can have.

    >>> range_of("classification", None), range_of("classification", "matthews")
    ((0.0, 1.0), (-1.0, 1.0))
    """
    if measure is not None:
        return RANGES.get(plain_measure(str(measure)), FREE)
    return FREE if kind == "regression" else FRACTION


def read_accuracies(
    path: Path, range_of_task: Callable[[str], tuple[float, float]] = lambda _: FRACTION
) -> dict[tuple[str, str], tuple[float, int]]:
    """The accuracies of accuracies.csv; a blank one is unknown.

    Args:
        path: of the file, with columns model, task and accuracy.
        range_of_task: the smallest and the largest value of a task's results.

    Returns:
        Accuracies and the line of each by (model, task); {} where there is no file.

    Raises:
        InputError: no readable CSV, a missing column, an accuracy that is no number or out of its
            range (percent among them), or a pair with two of them; the first line at fault is
            named, and how many more there are.
    """
    if not path.exists() and not path.is_symlink():
        return {}
    found: dict[tuple[str, str], tuple[float, int]] = {}
    faults: list[str] = []
    try:
        with open_regular_text(path, newline="") as file:
            rows = csv.DictReader(file)
            if not set(COLUMNS) <= set(rows.fieldnames or ()):
                raise InputError(f"{path} must have columns {','.join(COLUMNS)}")
            for row in rows:
                _add_row(found, faults, row, rows.line_num, range_of_task)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not a readable CSV file: {error}") from None
    if faults:
        more = f" ({len(faults) - 1} more lines are at fault)" if len(faults) > 1 else ""
        raise InputError(f"{path}, {faults[0]}{more}")
    return found


def _add_row(
    found: dict[tuple[str, str], tuple[float, int]],
    faults: list[str],
    row: Mapping[str, str],
    line: int,
    range_of_task: Callable[[str], tuple[float, float]],
) -> None:
    """Add a row to what was found, or what is wrong with it to the faults."""
    model, task, text = (row[name] for name in COLUMNS)
    if text is not None and not text.strip():
        return  # unknown
    what = f"line {line}: accuracy of {model!r} on {task!r} must be"
    value = _number(text)
    if value is None:
        faults.append(f"{what} a number, got {text!r}: correct it, or leave it blank")
        return
    low, high = range_of_task(task)
    before = found.get((model, task))
    if not low <= value <= high:
        percent = value > 1 and high == 1
        hint = "in percent? write the fraction" if percent else "correct it, or leave it blank"
        if high == 0:
            hint = "larger is better here: write an error with a minus"
        faults.append(f"{what} in [{low:g}, {high:g}], got {text}: {hint}")
    elif before is not None and before[0] != value:
        faults.append(
            f"line {line}: {model!r} on {task!r} stands there twice, as {before[0]:g} (line "
            f"{before[1]}) and {value:g}: take one out"
        )
    elif before is None:
        found[model, task] = value, line


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def unknown_names(
    path: Path,
    found: Mapping[tuple[str, str], tuple[float, int]],
    models: Iterable[str],
    tasks: Iterable[str],
) -> list[str]:
    """Names of accuracies.csv that the zoo does not have: they are kept, but nobody reads them.

    Args:
        path: of the file.
        found: what `read_accuracies` gave.
        models: of the zoo.
        tasks: of the zoo.

    Returns:
        A line for the models and one for the tasks, where there are such names.
    """
    lines = []
    for place, what, known in ((0, "model", models), (1, "task", tasks)):
        have = set(known)
        strange: dict[str, int] = {}
        for pair, (_, line) in found.items():
            if pair[place] not in have:
                strange.setdefault(pair[place], line)
        if strange:
            name, line = next(iter(strange.items()))
            plain = {known.strip().casefold(): known for known in sorted(have)}
            near = plain.get(name.strip().casefold())
            hint = f", did you mean {near!r}?" if near else f": no {what} of the zoo has that name"
            more = f" (and {len(strange) - 1} more)" if len(strange) > 1 else ""
            lines.append(f"{path}, line {line}: unknown {what} {name!r}{hint}{more}")
    return lines
