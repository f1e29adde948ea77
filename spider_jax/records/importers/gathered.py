"""What an importer has found, and the table that is made of it: one bad result is not the end."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spider_jax.errors import InputError
from spider_jax.records.checks import Results, check_ranges, first_of_pairs, pair_keys, task_rules
from spider_jax.records.content import Content
from spider_jax.records.files.faults import Faults
from spider_jax.records.files.names import NameTable, clean_name
from spider_jax.storage.text_files import refuse_link_out

Row = tuple[str, str, float, float]


@dataclass(frozen=True)
class ImportOptions:
    """What the files themselves do not say; each importer uses its own part.

    Attributes:
        measure: of the tasks whose measure the files do not name.
        direction: larger or smaller, likewise.
        unit: fraction or percent, likewise.
        metric: the metric to take where results have several; default: the one that most have.
        model: name of the model, for a single source that does not name it well.
        names: wide tables: the column with the names of the rows; default: the first.
        facts: wide tables: columns that are facts and no tasks.
        skip: wide tables: columns that are left out.
        transposed: wide tables: rows are tasks and columns are models.
        separator: wide tables: what stands between cells; default: what the first line shows.
        decimal: wide tables: "." or ","; default: what the cells show.
    """

    measure: str = ""
    direction: str = ""
    unit: str = ""
    metric: str = ""
    model: str = ""
    names: str = ""
    facts: tuple[str, ...] = ()
    skip: tuple[str, ...] = ()
    transposed: bool = False
    separator: str = ""
    decimal: str = ""


@dataclass
class Gathered:
    """Results as they are found; of two for the same pair the first counts.

    Attributes:
        rows: (model, task, value, stderr), NaN for a stderr that is not known.
        model_facts: by model, then by fact.
        task_facts: by task, then by fact.
        notes: what was decided, a sentence each.
        problems: what was left out and why, a sentence each.
    """

    rows: list[Row] = field(default_factory=list)
    model_facts: dict[str, dict[str, str]] = field(default_factory=dict)
    task_facts: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def content(self, options: ImportOptions) -> Content:
        """The table of what is sound.

        Args:
            options: measure, direction and unit are taken for tasks that lack them.

        Returns:
            The results; those outside their range or in another unit than the rest of their task
            are left out and named in its problems.
        """
        models, tasks = NameTable(self.model_facts), NameTable(self.task_facts)
        rows = [row for row in self.rows if self._is_sound(row, models, tasks)]
        model = np.array([models[m] for m, *_ in rows], np.int32)
        task = np.array([tasks[t] for _, t, *_ in rows], np.int32)
        numbers = np.array([row[2:] for row in rows], np.float64).reshape(-1, 2)
        keep, conflicts = first_of_pairs(pair_keys(model, task, len(tasks.names)), numbers[:, 0])
        if len(conflicts):
            self.notes.append(
                f"{len(conflicts)} results are given twice with another value: the first count"
            )
        at = np.arange(len(rows)) if keep is None else np.flatnonzero(keep)
        facts = _columns(tasks.names, _with_stated(self.task_facts, tasks.names, options))
        results = Results(models.names, tasks.names, model[at], task[at], numbers[at, 0])
        faults = Faults(Path(), limit=len(rows))
        kept = at[~check_ranges(results, task_rules(len(tasks.names), facts), faults)]
        self.problems += [what for _, what, _ in faults.rows]
        return Content(
            tuple(models.names), tuple(tasks.names), model[kept], task[kept],
            numbers[kept, 0], numbers[kept, 1],
            _columns(models.names, self.model_facts), facts,
            notes=tuple(self.notes), problems=tuple(self.problems),
        )  # fmt: skip

    def _is_sound(self, row: Row, models: NameTable, tasks: NameTable) -> bool:
        model, task, value, stderr = row
        if models[model] < 0 or tasks[task] < 0:
            self.problems.append(
                f"{model!r} on {task!r}: a name is empty or has a control character"
            )
        elif not np.isfinite(value):
            self.problems.append(f"{model!r} on {task!r}: the value must be finite, got {value}")
        elif stderr < 0:
            self.problems.append(f"{model!r} on {task!r}: stderr must be at least 0, got {stderr}")
        else:
            return True
        return False


def _with_stated(
    facts: Mapping[str, Mapping[str, str]], names: Sequence[str], options: ImportOptions
) -> dict[str, dict[str, str]]:
    """Facts of tasks with what the user states for all that lack it."""
    stated = {"measure": options.measure, "direction": options.direction, "unit": options.unit}
    given = {column: text for column, text in stated.items() if text}
    return {
        name: given | {c: text for c, text in facts.get(name, {}).items() if text} for name in names
    }


def _columns(
    names: Sequence[str], by_name: Mapping[str, Mapping[str, str]]
) -> dict[str, tuple[str, ...]]:
    facts = {clean_name(name): columns for name, columns in by_name.items()}
    columns = dict.fromkeys(c for name in names for c in facts.get(name, {}))
    return {c: tuple(facts.get(name, {}).get(c, "") for name in names) for c in columns}


def files_below(
    sources: Sequence[Path], suffixes: tuple[str, ...], problems: list[str]
) -> Iterator[Path]:
    """Files that are given, and those below folders that are given.

    Args:
        sources: files and folders.
        suffixes: of the names that count below a folder.
        problems: gets links that lead out of a folder, which are not followed.

    Yields:
        Files in order of their paths, without hidden ones.

    Raises:
        InputError: a source that does not exist.
    """
    for source in sources:
        if not source.exists():
            raise InputError(f"{source} is missing")
        if not source.is_dir():
            yield source
            continue
        for path in sorted(source.rglob("*")):
            hidden = any(part.startswith(".") for part in path.relative_to(source).parts)
            if not hidden and path.name.endswith(suffixes) and path.is_file():
                try:
                    refuse_link_out(source, path)
                except InputError as error:
                    problems.append(str(error))
                else:
                    yield path


def fact_text(value: Any) -> str:
    """A fact of a JSON or a YAML as the text of a cell; lists with bars between, nothing for None.

    Args:
        value: a scalar or a list of scalars; anything else is no fact.

    >>> fact_text(["fr", "en"]), fact_text(None), fact_text(True)
    ('fr|en', '', 'True')
    """
    if isinstance(value, (list, tuple)):
        return "|".join(filter(None, map(fact_text, value)))
    return str(value).strip() if isinstance(value, (str, int, float)) else ""


def first_facts(pairs: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """Some entries of an object as facts.

    Args:
        pairs: the object.
        names: of the entries.

    Returns:
        Those that have a text.
    """
    found = {name: fact_text(pairs.get(name)) for name in names}
    return {name: text for name, text in found.items() if text}
