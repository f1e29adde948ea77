"""models.csv and tasks.csv: facts by name, one column of texts a fact."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from spider_jax.errors import InputError
from spider_jax.records.files.faults import Faults
from spider_jax.records.files.names import clean_name, is_broken
from spider_jax.storage.text_files import numbered, open_text, read_header

OURS = ("direction", "measure", "unit")  # columns of tasks.csv that are read in any case of letters


@dataclass(frozen=True)
class Facts:
    """What is known of models or of tasks.

    Attributes:
        names: each once.
        columns: fact -> one text per name, "" where not known.
        rows: where each name stands: the row of the data, from 0.
        faults: of the file.
    """

    names: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]
    rows: tuple[int, ...]
    faults: Faults


def read_facts(path: Path, key: str) -> Facts:
    """Read models.csv or tasks.csv.

    Args:
        path: .csv or .csv.gz.
        key: "model" or "task", the column with the names.

    Returns:
        The facts.

    Raises:
        InputError: the file cannot be read, or lacks the column.
    """
    faults = Faults(path)
    rows: dict[str, tuple[int, list[str]]] = {}
    with open_text(path) as text:
        lines = numbered(text)
        header = [_ours(name) for name in read_header((row for _, row in lines), path)]
        if key not in header:
            raise InputError(f"{path} must have a column {key}, it has {', '.join(header)[:200]}")
        at = header.index(key)
        for i, (_, row) in enumerate(lines):
            _take(rows, i, [cell.strip() for cell in row], at, len(header), faults)
    columns = {
        name: tuple(row[i] for _, row in rows.values())
        for i, name in enumerate(header)
        if i != at and name
    }
    return Facts(tuple(rows), columns, tuple(row for row, _ in rows.values()), faults)


def _ours(name: str) -> str:
    return name.casefold() if name.casefold() in (*OURS, "model", "task") else name


def _take(
    rows: dict[str, tuple[int, list[str]]],
    i: int,
    row: list[str],
    at: int,
    width: int,
    faults: Faults,
) -> None:
    """One row of facts into `rows`, or a fault."""
    if len(row) != width:
        what = f"must have {width} cells as the header has, got {len(row)}"
        return faults.add(i, f"{what}: is a comma missing or not quoted?")
    name = clean_name(row[at])
    if not name or is_broken(name):
        return faults.add(i, "the name is empty or has a control character: correct it")
    if name in rows and rows[name][1] != row:
        return faults.add(
            i, f"{name!r} has other facts in {{0}}: leave one line out", rows[name][0]
        )
    rows.setdefault(name, (i, row))
    return None


def facts_of(names: Sequence[str], facts: Facts | None) -> dict[str, tuple[str, ...]]:
    """The columns of facts for other names.

    Args:
        names: for whom.
        facts: of some of them; None for none.

    Returns:
        Columns, "" for a name without facts.
    """
    if facts is None:
        return {}
    place = {name: i for i, name in enumerate(facts.names)}
    return {
        column: tuple(texts[place[name]] if name in place else "" for name in names)
        for column, texts in facts.columns.items()
    }
