"""What changes a records folder: an import, one more result. Each says what it did."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from spider_jax.records.content import Content
from spider_jax.records.importers.gathered import ImportOptions
from spider_jax.records.importers.kinds import import_content
from spider_jax.records.joining import join, overlap, refuse_conflict, without_pairs
from spider_jax.records.rows import content_of_rows
from spider_jax.records.writing import change_records
from spider_jax.report.result import Result

Prefer = Literal["known", "imported"]
Edit = Callable[[Content], tuple[Content, tuple[str, ...]]]  # the new table and what is said


@dataclass(frozen=True)
class Change(Result):
    """A records folder before and after.

    Attributes:
        folder: that was changed.
        before: counts of models, tasks and results.
        after: likewise.
        said: what was decided.
        problems: what was left out and why.
        kind: the format in the header of the JSON.
        columns: headings of the table.
    """

    kind: ClassVar[str] = "records_change"
    columns = ("what", "before", "now")
    folder: Path
    before: tuple[int, int, int]
    after: tuple[int, int, int]
    said: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def to_rows(self) -> list[tuple[object, ...]]:
        """Models, tasks and results."""
        names = ("models", "tasks", "results")
        return list(zip(names, self.before, self.after, strict=True))

    @property
    def notes(self) -> tuple[str, ...]:
        """What was decided."""
        return self.said

    @property
    def skipped(self) -> tuple[str, ...]:
        """What was left out."""
        return self.problems

    def data(self) -> dict[str, Any]:
        """What every result has, and the folder."""
        return super().data() | {"folder": str(self.folder)}


def import_records(
    kind: str,
    sources: Sequence[str | Path],
    out: str | Path,
    *,
    prefer: Prefer = "known",
    options: ImportOptions = ImportOptions(),
) -> Change:
    """Add results of another format to a records folder.

    Args:
        kind: of the sources, one of `importers.KINDS`.
        sources: files and folders.
        out: a records folder, a zoo, or a new folder.
        prefer: which value of a result counts that both have: the known or the imported one. The
            same holds for facts.
        options: what the files do not say.

    Returns:
        What was added, and what was left out.

    Raises:
        InputError: nothing can be imported, a fault of the folder, or a task in two measures.
    """
    new = import_content(kind, sources, options)

    def merge(known: Content) -> tuple[Content, tuple[str, ...]]:
        both, differ = overlap(known, new)
        said = [f"{both} of {len(new.value)} results were known"] if both else []
        if differ:
            words = {"known": "are kept", "imported": "are replaced"}[prefer]
            said.append(f"{differ} of these had another value: the known ones {words}")
        joined = join(known, new) if prefer == "known" else join(new, known)
        return joined, tuple(said)

    change = _change(Path(out), merge)
    return replace(change, said=(*new.notes, *change.said), problems=new.problems)


def add_result(
    folder: str | Path,
    model: str,
    task: str,
    value: float,
    stderr: float = float("nan"),
    *,
    replace: bool = False,
) -> Change:
    """Add one result to a records folder.

    Args:
        folder: a records folder, a zoo, or a new folder.
        model: its name.
        task: its name.
        value: the result, in the task's measure.
        stderr: its standard error, NaN where not known.
        replace: whether it takes the place of a known one.

    Returns:
        What was added.

    Raises:
        InputError: a value that the task cannot have, or a known result with another value and not
            `replace`.
    """
    new = content_of_rows([(model, task, value, stderr)])

    def add(known: Content) -> tuple[Content, tuple[str, ...]]:
        both, differ = overlap(known, new)
        if not replace:
            refuse_conflict(known, new)
        said = ["the result was known"] if both and not differ else []
        said += ["a known result is replaced"] if differ else []
        return join(without_pairs(known, new) if replace else known, new), tuple(said)

    return _change(Path(folder), add)


def _change(folder: Path, change: Edit) -> Change:
    said: list[tuple[str, ...]] = []
    sizes: list[tuple[int, int, int]] = []

    def changed(known: Content | None) -> Content:
        mine = content_of_rows([]) if known is None else known.whole()
        after, words = change(mine)
        said.append(words)
        sizes.append(_size(mine))
        return after

    after = change_records(folder, changed)
    return Change(folder, sizes[0], _size(after), said[0])


def _size(content: Content) -> tuple[int, int, int]:
    return len(content.models), len(content.tasks), len(content.value)
