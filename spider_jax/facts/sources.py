"""Where facts are read from: tables of users, manifests of zoos, records folders and priors."""

import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from spider_jax.errors import InputError
from spider_jax.facts.catalogue import plain
from spider_jax.facts.columns import table_of_columns, table_of_entries
from spider_jax.facts.fact_table import FactTable
from spider_jax.storage.files import read_json
from spider_jax.storage.text_files import numbered, open_text, read_header

# The column of the models' names: the first of these that a table has.
NAME_COLUMNS = ("fullname", "model", "model_name", "name", "models", "hub_name")
TABLES = ("models.csv", "models.csv.gz", "arrays/models.csv.gz")  # of records, of a prior
MANIFEST = "manifest.json"
MOST_ROWS = 20_000_000


def read_facts(path: Path, models: Sequence[str] = ()) -> FactTable:
    """The facts of a file or folder.

    Args:
        path: a CSV with a column of model names (.csv, .csv.gz), the manifest.json of a zoo, or the
            folder of a zoo, of records or of a prior.
        models: for whom facts are wanted; default: for all that it names.

    Returns:
        Facts of the models that it names.

    Raises:
        InputError: no such file, no facts, or facts of none of the models.
    """
    found = _read(path)
    if models and found.models and not set(models) & set(found.models):
        raise InputError(
            f"{path} has facts of none of the {len(models)} models: it names {found.models[0]!r}, "
            f"wanted are models such as {models[0]!r}"
        )
    return found


def _read(path: Path) -> FactTable:
    if path.is_dir():
        table = next((path / name for name in TABLES if (path / name).exists()), None)
        if (path / MANIFEST).exists():
            return _of_manifest(path / MANIFEST)
        if table is None:
            raise InputError(
                f"{path} holds no facts: a folder must have {MANIFEST} or {TABLES[0]}; or give a "
                "CSV with a column model"
            )
        return read_table(table)
    if path.suffix == ".json":
        return _of_manifest(path)
    return read_table(path)


def _of_manifest(path: Path) -> FactTable:
    entries = read_json(path, "zoo").get("models", {})
    if not isinstance(entries, dict) or not all(isinstance(e, dict) for e in entries.values()):
        raise InputError(f"{path}: models must be an object of objects, name -> facts")
    return table_of_entries(entries, str(path))


def read_table(path: Path) -> FactTable:
    """The facts of a CSV.

    Args:
        path: .csv or .csv.gz, with a column of model names.

    Raises:
        InputError: no such file, no column of names, a row with more or fewer cells than the
            header, or a model without a name; the line is named.
    """
    if path.suffix == ".parquet":
        raise InputError(f"{path}: facts are read from CSV: save the table as .csv")
    rows: dict[str, list[str]] = {}
    twice = 0
    with open_text(path) as text:
        lines = numbered(text)
        header = read_header((row for _, row in lines), path)
        at = _name_column(header, path)
        for line, row in islice(lines, MOST_ROWS):
            if len(row) != len(header):
                raise InputError(
                    f"{path}, line {line}: a row must have {len(header)} cells as the header has, "
                    f"got {len(row)}: is a comma missing or not quoted?"
                )
            name = row[at].strip()
            if not name:
                raise InputError(f"{path}, line {line}: the model has no name: give it one")
            twice += name in rows and rows[name] != row
            rows.setdefault(name, row)
    columns = {
        name: [row[i] for row in rows.values()] for i, name in enumerate(header) if i != at and name
    }
    found = table_of_columns(tuple(rows), columns, str(path))
    if not twice:
        return found
    note = f"{path} has other facts of a model in {twice} later rows: the first row counts"
    return FactTable(found.models, found.numbers, found.texts, found.source, (*found.notes, note))


def _name_column(header: Sequence[str], path: Path) -> int:
    names = [plain(name) for name in header]
    for wanted in NAME_COLUMNS:
        if wanted in names:
            return names.index(wanted)
    shown = re.sub(r"\s+", " ", ", ".join(header))[:200]
    raise InputError(f"{path} must have a column model with the names, it has {shown}")
