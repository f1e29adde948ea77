"""timm's tables: results-<test set>.csv with top-1 and top-5, and tables of costs."""

import csv
import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from spider_jax.errors import InputError
from spider_jax.records.importers.gathered import Gathered, ImportOptions, files_below
from spider_jax.storage.text_files import open_text, read_header

SCORES = (("top1", ""), ("top5", "/top5"))
FACTS = ("img_size", "param_count", "crop_pct", "interpolation")
COSTS = ("infer_gmacs", "infer_macts", "infer_samples_per_sec", "infer_step_time")
Table = list[dict[str, str]]


def import_timm(sources: Sequence[Path], options: ImportOptions) -> Gathered:
    """Top-1 and top-5 of timm's result files as fractions, one task a file and score.

    results-imagenet.csv gives the tasks "imagenet" and "imagenet/top5". A model that is tested at
    several image sizes is name@size. A table of costs gives facts to the models of its
    architecture and size.

    Args:
        sources: CSV files, or a folder that holds them.
        options: of all imports.

    Returns:
        Results; a broken file or value is a problem.
    """
    gathered = Gathered()
    results: dict[Path, Table] = {}
    costs: list[Table] = []
    for path in files_below(sources, (".csv", ".csv.gz"), gathered.problems):
        try:
            table = _read(path)
        except InputError as error:
            gathered.problems.append(str(error))
            continue
        columns = table[0].keys() if table else set()
        if "top1" in columns:
            results[path] = table
        elif "infer_img_size" in columns:
            costs.append(table)
        else:
            gathered.problems.append(f"{path} has neither top1 nor infer_img_size: left out")
    sizes = defaultdict(set)
    for table in results.values():
        for row in table:
            sizes[row["model"]].add(row.get("img_size", ""))
    for path, table in results.items():
        _take(path, table, sizes, gathered)
    _add_costs(costs, gathered)
    return gathered


def _read(path: Path) -> Table:
    with open_text(path) as text:
        rows = csv.reader(text, strict=True)
        header = read_header(rows, path)
        if "model" not in header:
            raise InputError(f"{path} must have a column model, it has {', '.join(header)[:200]}")
        return [dict(zip(header, row, strict=False)) for row in rows if len(row) == len(header)]


def _take(path: Path, table: Table, sizes: dict[str, set[str]], gathered: Gathered) -> None:
    test_set = path.name.removesuffix(".gz").removesuffix(".csv").removeprefix("results-")
    for row in table:
        several = len(sizes[row["model"]]) > 1 and row.get("img_size")
        model = f"{row['model']}@{row['img_size']}" if several else row["model"]
        facts = gathered.model_facts.setdefault(model, {})
        facts.setdefault("architecture", row["model"].partition(".")[0])
        for name in FACTS:
            if row.get(name):
                facts.setdefault(name, row[name].replace(",", ""))
        for column, suffix in SCORES:
            task = test_set + suffix
            gathered.task_facts.setdefault(task, {"measure": f"{column} accuracy"})
            try:
                value = float(f"{row[column].strip()}e-2")
            except (KeyError, ValueError):
                gathered.problems.append(
                    f"{path}: {column} of {model!r} must be a number, got {row.get(column)!r}"
                )
                continue
            gathered.rows.append((model, task, value, math.nan))


def _add_costs(costs: Sequence[Table], gathered: Gathered) -> None:
    """Costs of an architecture at an image size, to all its models of that size."""
    by_key: dict[tuple[str, str], dict[str, str]] = {}
    for table in costs:
        for row in table:
            key = (row["model"].partition(".")[0], row["infer_img_size"])
            by_key.setdefault(key, {name: row[name] for name in COSTS if row.get(name)})
    for facts in gathered.model_facts.values():
        found = by_key.get((facts.get("architecture", ""), facts.get("img_size", "")), {})
        for name, text in found.items():
            facts.setdefault(name, text)
