"""Two phases on a zoo: recall by past results and a cheap proxy, then heads that are trained."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Int

from spider_jax.errors import InputError
from spider_jax.facts.beside import NOTHING, Beside
from spider_jax.heads.measures import TASK_MEASURES, is_share, measure_name
from spider_jax.heads.trainer import HeadTrainer
from spider_jax.ranking.ranking import Ranking
from spider_jax.recommend.records_prior import RecordsPrior
from spider_jax.records.noise import measure_spread
from spider_jax.records.performance import PastResults
from spider_jax.report.page import Notes, Section, Table
from spider_jax.report.result import Result
from spider_jax.runtime.progress import progress
from spider_jax.selection.noise_aware import NoiseAware
from spider_jax.selection.policy_table import make_policy
from spider_jax.selection.run import (
    SelectConfig,
    about_selection,
    as_begun,
    asked_measure,
    resume_selection,
)
from spider_jax.selection.selector import FAILED, NOT_STARTED, Entry, Selector
from spider_jax.selection.zoo_recall import recall_zoo
from spider_jax.spider.spider import Spider
from spider_jax.zoo.accuracies import plain_measure
from spider_jax.zoo.splits import task_split
from spider_jax.zoo.store import FeatureStore, Skipped

COLUMNS = (
    "model",
    "fate",
    "epochs",
    "last validation",
    "best validation",
    "confidence",
    "why",
)
SEPARATED = 0.8416  # quantile of the normal distribution at four fifths
NO_CURVES = "no past curves with results: an early validation score counts as a final one"
USUAL_CURVES = "no past curves with results: an early validation score counts as much as is usual"


@dataclass(frozen=True)
class Selection(Result):
    """What was selected, what it cost, and why every other model was not.

    Attributes:
        task: name of the task.
        measure: what validation and test scores are, see `heads.measures`.
        selector: the models with their validation scores and their fates.
        test: score of the winner's best checkpoint on test rows, the only test score read; None
            where no model is left or there are no test rows.
        test_error: standard error of `test`.
        problems: models that could not be used, and why.
        notes: sentences for the reader.
        beside: facts of the models, and who was trained on the task's data.
        kind: the format in the header of the JSON.
    """

    kind: ClassVar[str] = "selected-models"
    task: str
    measure: str
    selector: Selector
    test: float | None
    test_error: float | None
    problems: tuple[Skipped, ...]
    notes: tuple[str, ...] = ()
    beside: Beside = NOTHING

    @property
    def columns(self) -> tuple[str, ...]:
        """Headings of the table."""
        return (*COLUMNS, *self.beside.columns(COLUMNS))

    def to_rows(self) -> list[list[object]]:
        """One row per model, the winner first, then the longer trained and the better."""
        return self._rows(self.beside.cells)

    def _rows(self, cells: Callable[[str], tuple[object, ...]]) -> list[list[object]]:
        entries = list(self.selector.entries.values())
        return [[*_row(entry), *cells(entry.model)] for entry in sorted(entries, key=_place)]

    @property
    def skipped(self) -> tuple[str, ...]:
        """The problems, and models whose training failed."""
        entries = self.selector.entries.values()
        failed = (e for e in entries if e.fate == FAILED)
        return (
            *map(str, self.problems),
            *(f"{entry.model} on {self.task}: {entry.reason}" for entry in failed),
        )

    def statements(self) -> tuple[str, ...]:
        """What it cost beside brute force, the winner's test score, and the notes."""
        entries, E = self.selector.entries, self.selector.epochs
        tried = sum(entry.fate != NOT_STARTED for entry in entries.values())
        budget = "" if self.selector.budget is None else f" of {self.selector.budget}"
        cost = (
            f"{self.selector.spent} epochs spent{budget}; brute force: {tried * E} on the "
            f"{tried} models started, {len(entries) * E} on all {len(entries)}"
        )
        winner = self.selector.winner
        best = "no model is left: all failed" if winner is None else f"winner: {winner}"
        if self.test is not None:
            best += (
                f", test {self.measure} {self.test:.3f}, standard error {self.test_error:.3f} "
                "(read once, after the selection)"
            )
        sure = any(entry.confidence is not None for entry in entries.values())
        note = "confidence: how sure that the model named beside it is at least as good"
        return (best, cost, *[note] * sure, *self.notes, *self.beside.notes())

    def page(self) -> tuple[Section, ...]:
        """The models that were trained, how many were not, and the statements."""
        rows = self._rows(self.beside.shown_cells)
        shown = [row for row in rows if row[1] != NOT_STARTED]
        waiting = len(rows) - len(shown)
        more = [f"{waiting} more models were not started"] if waiting else []
        about = f"task {self.task}, measure {self.measure}"
        notes = Notes((about, *self.statements()))
        return (Section((Table(self.columns, shown), *more, notes)),)

    def data(self) -> dict[str, Any]:
        """What every result has, the winner's test score, the epochs spent, and the whole state."""
        return super().data() | {
            "task": self.task,
            "measure": self.measure,
            "winner": self.selector.winner,
            "test": self.test,
            "test_standard_error": self.test_error,
            "epochs_spent": self.selector.spent,
            "problems": [list(problem) for problem in self.problems],
            "said": list(self.notes),
            "selector": self.selector.to_content(),
        }

    def ranking(self) -> Ranking:
        """The models that were trained, by their best validation score.

        Scores are separated where four of five repetitions on other validation rows would order
        them so, if they are shares of rows; no two of them else.
        """
        trained = [e for e in self.selector.entries.values() if e.validation]
        if not trained:
            raise InputError("no model was trained: there is nothing to rank")
        best = np.array([max(e.validation) for e in trained])
        rows, resolution = self.selector.validation_rows, math.nan
        if rows:
            spread = np.sqrt(2 * best * (1 - best) / int(rows))
            resolution = SEPARATED * float(spread.max())
        return Ranking.from_scores(
            [e.model for e in trained], best, resolution=resolution, task=self.task
        )

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> "Selection":
        """The inverse of `data`."""
        return Selection(
            str(content["task"]),
            str(content["measure"]),
            Selector.read(content["selector"]),
            content["test"],
            content["test_standard_error"],
            tuple(Skipped(*problem) for problem in content["problems"]),
            tuple(map(str, content["said"])),
        )

    def add_to(self, past: PastResults) -> PastResults:
        """Past results with those of this run, for selections to come.

        Args:
            past: what is known so far.

        Returns:
            `past` with the curves of this run and the test score of its winner; unchanged where
            the measure does not compare across tasks.
        """
        if not TASK_MEASURES[self.measure].comparable:
            return past
        for model, entry in self.selector.entries.items():
            test = self.test if model == self.selector.winner else None
            if entry.validation:
                past = past.with_result(
                    model,
                    self.task,
                    accuracy=float("nan") if test is None else test,
                    curve=entry.validation,
                    validation_rows=int(self.selector.about["validation_rows"]),
                )
        return past


def select_models(
    zoo: FeatureStore,
    task: str,
    config: SelectConfig | None = None,
    *,
    run: Path,
    spider: Spider | None = None,
    records: RecordsPrior | None = None,
    past: PastResults | None = None,
    among: Collection[str] | None = None,
    show_progress: bool = False,
) -> Selection:
    """Choose a model for a task by training heads on the features of the most promising ones.

    Only training rows are learned from, only validation rows decide, and test rows are read once,
    of the winner; past results on the task itself take no part. The manifest names another measure
    than accuracy (regression: rmse) as "measure" in the task's entry.

    Args:
        zoo: features and labels.
        task: name.
        config: default SelectConfig().
        run: folder for the state; the same call goes on where it was interrupted, with the past
            results that it began with.
        spider: for recall="spider": one that was not trained on this task; its extractor's
            features of the task must be there.
        records: for recall="records": a prior that has seen no result on this task; models that
            it does not know are last.
        past: results on other tasks; default: the zoo's accuracies.csv.
        among: the models that are candidates, as those that pass a condition; default: all.
        show_progress: a bar on stderr.

    Returns:
        A Selection.

    Raises:
        InputError: unknown names, no usable model, or a run of another selection in the folder.
    """
    config = SelectConfig() if config is None else config
    measure = asked_measure(zoo, task, config)
    split = task_split(zoo, task, seed=config.head.seed)
    past = PastResults.from_accuracies(zoo.accuracies) if past is None else past
    past, notes = usable_past(zoo, task, measure, past)
    models, problems = _readable(zoo, task, among)
    table = past.for_models(models)
    rows = len(split.validation)
    state = run / "selection.json"
    config = as_begun(config, state)
    about = about_selection(zoo, task, config, spider, table, records) | {"validation_rows": rows}
    candidates = None if among is None else models
    if state.exists():
        selector, more = resume_selection(state, about | {"candidates": candidates})
        notes += more
    elif (run / "heads").exists():
        raise InputError(f"{run} holds heads without their selection.json: name another folder")
    else:
        about |= {} if candidates is None else {"candidates": candidates}
        share = is_share(measure, zoo.kind(task))
        given = {"about": about, "validation_rows": rows if share else None}
        selector = _begun(
            zoo, task, config, table, split.train, spider, records, show_progress, given
        )
        selector.save(state)
    trainer = HeadTrainer(zoo, task, split, measure, config.head, run)
    _run_to_end(selector, trainer, state, show_progress)
    if isinstance(selector.policy, NoiseAware) and selector.policy.knowledge is not None:
        notes = tuple(USUAL_CURVES if note == NO_CURVES else note for note in notes)
    winner = selector.winner
    found = None if winner is None else trainer.test(winner, config.epochs)
    test, error = (None, None) if found is None else found
    notes += (split.note, f"state and heads are in {run}")
    about_task = zoo.task_info(task)
    beside = Beside.of(zoo.training_facts.for_models(models), task=task, task_facts=about_task)
    return Selection(task, measure, selector, test, error, problems, notes, beside)


def _begun(
    zoo: FeatureStore,
    task: str,
    config: SelectConfig,
    table: PastResults,
    train: Int[np.ndarray, " n"],
    spider: Spider | None,
    records: RecordsPrior | None,
    show_progress: bool,
    given: dict[str, Any],
) -> Selector:
    """A selection of the models of `table`, best by recall first."""
    policy = make_policy(config.policy, table)
    given = given | {"epochs": config.epochs, "budget": config.budget}
    Selector(table.models, policy, **given)  # what it refuses, before the work of the recall
    scores = recall_zoo(
        zoo,
        task,
        train,
        table,
        config.recall,
        spider=spider,
        records=records,
        describe=config.describe,
        threshold=config.threshold,
        representatives=config.representatives,
        show_progress=show_progress,
    )
    order = np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind="stable")
    return Selector([table.models[i] for i in order], policy, **given)


def usable_past(
    zoo: FeatureStore, task: str, measure: str, past: PastResults
) -> tuple[PastResults, tuple[str, ...]]:
    """Past results that count for a task: never its own, none that mean something else.

    Args:
        zoo: with the measures of its tasks.
        task: name.
        measure: of the task.
        past: all that is known.

    Returns:
        The results that count, and notes for the reader.
    """
    others = past.without_task(task)
    if not TASK_MEASURES[measure].comparable:
        others = others.only_tasks(())
        return others, (f"{measure} does not compare across tasks: past results take no part",)
    alike = [t for t in others.tasks if _comparable(zoo, t)]
    others = others.only_tasks(alike)
    if not np.isfinite(others.accuracies).any():
        return others, ("no past results on other tasks: recall and selection have no prior",)
    if not any(measure_spread(others).early):
        return others, (NO_CURVES,)
    return others, ()


def _comparable(zoo: FeatureStore, task: str) -> bool:
    """Whether results on a task count for others; those of an unknown task are accuracies."""
    measure = zoo.task_info(task).get("measure")
    if measure is None and task in zoo.tasks:
        measure = measure_name(task, zoo.kind(task), None)
    if not isinstance(measure, str):
        return True
    known = TASK_MEASURES.get(plain_measure(measure))
    return known is not None and known.comparable


def _readable(
    zoo: FeatureStore, task: str, among: Collection[str] | None
) -> tuple[list[str], tuple[Skipped, ...]]:
    """Models whose features on the task can be opened, and what the zoo says of the others."""
    models = list(zoo.models_of(task))
    problems = tuple(p for p in zoo.problems if p.task == task and p.model)
    if not models:
        raise InputError(f"no model of {zoo.folder} has features on {task!r}: extract them first")
    if among is None:
        return models, problems
    wanted = {*among}
    kept = [model for model in models if model in wanted]
    if not kept:
        raise InputError(f"none of the {len(models)} models with features on {task!r} is among")
    return kept, tuple(p for p in problems if p.model in wanted)


# ---- training --------------------------------------------------------------------------------


def _run_to_end(selector: Selector, trainer: HeadTrainer, state: Path, show_progress: bool) -> None:
    """Ask, train, tell; the state is written after every group of models."""
    while not selector.done:
        asked = selector.ask()
        done = selector.entries[asked[0]].epochs
        groups = list(trainer.groups(asked))
        phase = f"epoch {done + 1}, {len(asked)} models"
        for group in progress(groups, phase, show_progress, unit="width"):
            for found in trainer.epoch(group, done):
                if found.failure is not None:
                    selector.fail(found.model, found.failure)
                else:
                    selector.tell(
                        found.model, found.validation, standard_error=found.standard_error
                    )
            selector.save(state)


def _place(entry: Entry) -> tuple[bool, int, float]:
    return entry.fate != "won", -entry.epochs, -max(entry.validation, default=-np.inf)


def _row(entry: Entry) -> list[object]:
    last = entry.validation[-1] if entry.validation else None
    best = max(entry.validation) if entry.validation else None
    when = "in" if entry.fate == FAILED else "after"
    why = entry.reason and f"{when} epoch {entry.epochs}: {entry.reason}"
    return [entry.model, entry.fate, entry.epochs, last, best, entry.confidence, why or "-"]
