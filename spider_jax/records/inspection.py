"""What records folders hold, and every fault of theirs: `spider-jax records check`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from spider_jax.errors import InputError
from spider_jax.records.checks import measure_name
from spider_jax.records.content import Content
from spider_jax.records.files.faults import Fault
from spider_jax.records.files.folder import sources
from spider_jax.records.joining import join
from spider_jax.records.reading import read_source
from spider_jax.records.rows import content_of_rows
from spider_jax.report.page import Notes, Section, Table
from spider_jax.report.result import Result, json_rows

FAULT_COLUMNS = ("place", "fault")


@dataclass(frozen=True)
class RecordsCheck(Result):
    """Counts of records, what they are measured in, and what is wrong.

    Attributes:
        models: how many.
        tasks: how many.
        records: how many results are known.
        errors: how many of them have a standard error.
        rows: one per measure, a cell per name in `columns`.
        faults: what must be mended, at most some hundred a file.
        fault_count: of all.
        said: what was decided while reading.
        problems: what was left out and why.
        kind: the format in the header of the JSON.
        columns: headings of the table of measures.
    """

    kind: ClassVar[str] = "records_check"
    columns = ("measure", "better", "tasks", "results", "least", "median", "most")
    models: int
    tasks: int
    records: int
    errors: int
    rows: list[tuple[object, ...]]
    faults: tuple[Fault, ...]
    fault_count: int
    said: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def to_rows(self) -> list[tuple[object, ...]]:
        """One row per measure, the one of most tasks first."""
        return self.rows

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided while reading."""
        return self.said

    @property
    def skipped(self) -> tuple[str, ...]:
        """What was left out."""
        return self.problems

    def statements(self) -> tuple[str, ...]:
        """The counts, and the notes."""
        share = self.records / max(1, self.models * self.tasks)
        counts = f"{self.models} models x {self.tasks} tasks, {self.records} results: {share:.1%}"
        errors = f"{self.errors} results have a standard error"
        faults = (f"{self.fault_count} faults",) if self.fault_count else ()
        return (f"{counts} known", errors, *self.said, *faults)

    def page(self) -> tuple[Section, ...]:
        """The measures, the counts, and the faults."""
        faults = [(_where(fault), fault.what) for fault in self.faults]
        return (
            Section((Table(self.columns, self.rows),) if self.rows else ()),
            Section((Notes(self.statements()),)),
            Section((Table(FAULT_COLUMNS, faults),) if faults else ()),
        )

    def data(self) -> dict[str, Any]:
        """What every result has, the counts and the faults."""
        faults = [(str(f.file), f.place, f.what) for f in self.faults]
        return super().data() | {
            "models": self.models,
            "tasks": self.tasks,
            "results": self.records,
            "standard_errors": self.errors,
            "faults": json_rows(("file", "place", "fault"), faults),
            "fault_count": self.fault_count,
        }


def check_records(folders: Sequence[str | Path]) -> RecordsCheck:
    """Read records folders as far as that goes.

    Args:
        folders: as `Records.read` takes them.

    Returns:
        Counts of what is sound, and the faults.

    Raises:
        InputError: no folder is given.
    """
    if not folders:
        raise InputError("records need at least one folder")
    content, faults, count = content_of_rows([]), list[Fault](), 0
    for folder in map(Path, folders):
        try:
            for source in sources(folder):
                found = read_source(source)
                faults += found.faults
                count += found.count
                content = join(content, found.content)
        except InputError as error:
            faults.append(Fault(folder, "", str(error).removeprefix(f"{folder} ")))
            count += 1
    content = content.without_single()
    return RecordsCheck(
        len(content.models),
        len(content.tasks),
        len(content.value) + len(content.set_aside),
        int(np.isfinite(content.whole().stderr).sum()),
        _measures(content),
        tuple(faults),
        count,
        content.notes,
        content.problems,
    )


def _where(fault: Fault) -> str:
    name = fault.file.name or str(fault.file)
    return f"{name}, {fault.place}" if fault.place else name


def _measures(content: Content) -> list[tuple[object, ...]]:
    """One row per measure and direction."""
    better = content.larger_is_better
    of_task: dict[tuple[str, str], list[int]] = {}
    for i in range(len(content.tasks)):
        word = "larger" if better[i] else "smaller"
        of_task.setdefault((measure_name(i, content.task_facts), word), []).append(i)
    rows = []
    for (name, word), tasks in sorted(of_task.items(), key=lambda item: -len(item[1])):
        value = content.value[np.isin(content.task, tasks)]
        spread = np.quantile(value, (0, 0.5, 1)).tolist() if len(value) else (None, None, None)
        rows.append((name or "(not said)", word, len(tasks), len(value), *spread))
    return rows
