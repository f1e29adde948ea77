"""What a zoo holds, what is missing, unfinished or broken, and what a ranking would cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from spider_jax.errors import InputError
from spider_jax.report.page import Notes, Section, Table
from spider_jax.report.result import Result
from spider_jax.runtime.progress import progress
from spider_jax.zoo.copies import warn_of_copies
from spider_jax.zoo.store import FeatureStore, Skipped
from spider_jax.zoo.unfinished import unfinished

TASK_COLUMNS = (
    *("task", "kind", "rows", "classes", "models", "accuracies"),
    *("MB to rank", "MB to score", "passes missing"),
)


@dataclass(frozen=True)
class Inspection(Result):
    """Models and tasks of a zoo, the features that are missing, the problems found.

    Attributes:
        rows: one per model, a cell per name in `columns`.
        task_rows: one per task, a cell per name in TASK_COLUMNS.
        missing: models without features, by task.
        extractor: name of the general extractor, None where the manifest names none.
        unfinished: exports that were interrupted.
        problems: what cannot be used, and why.
        kind: the format in the header of the JSON.
        columns: headings of the models' table.
    """

    kind: ClassVar[str] = "inspection"
    columns = ("model", "width", "tasks", "MB", "missing on")
    rows: list[list[object]]
    task_rows: list[list[object]]
    missing: Mapping[str, list[str]]
    extractor: str | None
    unfinished: tuple[str, ...]
    problems: tuple[Skipped, ...]

    def to_rows(self) -> list[list[object]]:
        """One row per model."""
        return self.rows

    @property
    def skipped(self) -> tuple[str, ...]:
        """The problems, a line each."""
        return tuple(map(str, self.problems))

    def statements(self) -> tuple[str, ...]:
        """The general extractor, what a ranking costs, and what is unfinished."""
        return (f"general extractor: {self._extractor()}", *self.costs(), *self._open_exports())

    def page(self) -> tuple[Section, ...]:
        """The models, the tasks, the extractor with the costs, and what is unfinished."""
        known = (f"general extractor: {self._extractor()}", *self.costs())
        return (
            Section((Table(self.columns, self.rows),)),
            Section((Table(TASK_COLUMNS, self.task_rows),)),
            Section((Notes(known),)),
            Section((Notes(self._open_exports()),)),
        )

    def data(self) -> dict[str, Any]:
        """What every result has, the tasks, and by themselves the costs and what is unfinished."""
        return super().data() | {
            "tasks": self.task_entries(),
            "unfinished": list(self.unfinished),
            "costs": list(self.costs()),
        }

    def costs(self) -> tuple[str, str]:
        """What it takes to rank the models for a task."""
        passes = sum(int(str(row[-1])) for row in self.task_rows)
        return (
            f"to rank a new task of N rows: N forward passes ({self._extractor()}) with a spider, "
            f"N x {len(self.rows)} with metrics",
            f"to score every model on every task: {passes} forward passes are missing",
        )

    def task_entries(self) -> list[dict[str, object]]:
        """The rows of the tasks by column, and what is missing on each."""
        entries = [dict(zip(TASK_COLUMNS, row, strict=True)) for row in self.task_rows]
        return [entry | {"missing": self.missing[str(entry["task"])]} for entry in entries]

    def _extractor(self) -> str:
        return self.extractor or "none named in the manifest"

    def _open_exports(self) -> tuple[str, ...]:
        if not self.unfinished:
            return ()
        return (
            *(f"unfinished: {export}" for export in self.unfinished),
            "the same extract goes on with them; to give one up, delete it in the zoo's .extract/",
        )


def inspect_zoo(
    zoo: FeatureStore, *, check: bool = False, show_progress: bool = False
) -> Inspection:
    """List a zoo's models and tasks, what is missing, and what a ranking costs.

    Args:
        zoo: the zoo.
        check: whether to read every feature and probability file once as well, and to look for
            near-copies among the rows; labels and splits are always read.
        show_progress: whether to show a bar on stderr.

    Returns:
        The tables. Their problems are those of the zoo and, with `check`, those of the values.
    """
    accuracies: Mapping[tuple[str, str], float] = {}
    own: list[Skipped] = []
    try:
        accuracies = zoo.accuracies
    except InputError as error:  # a bad line there must not hide the tasks
        own.append(Skipped(None, None, str(error)))
    problems = [*zoo.problems, *own]  # reading the accuracies adds to those of the zoo
    rows: list[list[object]] = []
    for model in progress(zoo.models, "inspecting", show_progress):
        on = [task for task in zoo.tasks if model in zoo.models_of(task)]
        if check:
            problems += _broken_values(zoo, model, on)
        missing = [task for task in zoo.tasks if task not in on]
        size = sum(zoo.nbytes(model, task) for task in on) / 1e6
        rows.append([model, zoo.width(model), len(on), size, ", ".join(missing) or "-"])
    task_rows: list[list[object]] = []
    for task in zoo.tasks:
        if check:
            warn_of_copies(zoo, task)
        try:
            task_rows.append(_task_row(zoo, task, accuracies))
        except InputError as error:
            problems.append(Skipped(None, task, str(error)))
    return Inspection(
        rows,
        task_rows,
        {task: sorted(set(zoo.models) - set(zoo.models_of(task))) for task in zoo.tasks},
        zoo.extractor,
        tuple(
            f"{m} on {t}, {done} of {all_} blocks" for m, t, done, all_ in unfinished(zoo.folder)
        ),
        tuple(problems),
    )


def _task_row(
    zoo: FeatureStore, task: str, accuracies: Mapping[tuple[str, str], float]
) -> list[object]:
    zoo.training_labels(task)  # raises for a split or for classes that cannot be used
    zoo.domains(task)  # likewise
    kind, labels = zoo.kind(task), zoo.labels(task)
    classes = int(labels.max()) + 1 if kind == "classification" else None
    known = sum((model, task) in accuracies for model in zoo.models)
    models = zoo.models_of(task)
    return [task, kind, len(labels), classes, len(models), known, *_costs(zoo, task, len(labels))]


def _costs(zoo: FeatureStore, task: str, rows: int) -> list[object]:
    """MB that a spider and that metrics read, and forward passes that are missing.

    The first is None without the extractor's features.
    """
    models = zoo.models_of(task)
    rank = zoo.nbytes(str(zoo.extractor), task) / 1e6 if zoo.extractor in models else None
    score = sum(zoo.nbytes(model, task) for model in models) / 1e6
    return [rank, score, rows * (len(zoo.models) - len(models))]


def _broken_values(zoo: FeatureStore, model: str, tasks: list[str]) -> list[Skipped]:
    found = []
    for task in tasks:
        try:
            zoo.features(model, task)
            if zoo.has_probabilities(model, task):
                zoo.probabilities(model, task)
        except InputError as error:
            found.append(Skipped(model, task, str(error)))
    return found
