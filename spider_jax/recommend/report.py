"""What a search says: whom to evaluate next, how sure the best so far is, whether to stop."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from spider_jax.belief.belief import STANDARD
from spider_jax.facts.beside import NOTHING, Beside
from spider_jax.recommend.acquisition import Goal, Run
from spider_jax.recommend.search import RunSearch
from spider_jax.report.page import Notes, Section, Table
from spider_jax.report.result import Result


@dataclass(frozen=True)
class NextRuns(Result):
    """Runs that are worth it, and what is known by now.

    Attributes:
        runs: whom to evaluate next, the first choice first.
        unit: of what is expected.
        best: the best so far and its result; None before any.
        probability_best: that it is the best of all that can be run.
        expected_loss: of stopping now, in standard units.
        enough: expected loss at which to stop.
        spent: cost of all runs.
        budget: what may be spent.
        smaller: whether smaller results are better.
        goal: "best" or "order".
        found: whether stopping loses no more than enough.
        count: runs so far.
        left: models that were not run.
        dear: whether gain is weighed by cost.
        said: notes of the belief.
        failures: runs that failed and why, a line each.
        beside: facts of the models, and who was trained on the task's data.
        kind: the format in the header of the JSON.
    """

    kind: ClassVar[str] = "next_runs"
    runs: tuple[Run, ...]
    unit: str
    best: tuple[str, float] | None
    probability_best: float
    expected_loss: float
    enough: float
    spent: float
    budget: float = math.inf
    smaller: bool = False
    goal: Goal = "best"
    found: bool = False
    count: int = 0
    left: int = 0
    dear: bool = False
    said: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    beside: Beside = NOTHING

    @staticmethod
    def of(
        search: RunSearch, batch: int = 1, beside: Beside | None = None, said: Sequence[str] = ()
    ) -> "NextRuns":
        """What a search says now.

        Args:
            search: with all its results.
            batch: runs to propose.
            beside: facts that are shown; default: none but who was trained on the task's data.
            said: more sentences.
        """
        belief, best = search.belief, search.best
        run = {*search.results, *search.failed}
        runs = tuple(search.ask(batch))
        if beside is None:
            about = search.prior.task_facts(search.describe, search.facts)
            beside = Beside.of(search.prior.training_facts, task=search.describe, task_facts=about)
        beside = beside.only([*(run.model for run in runs), *([best] if best else [])])
        return NextRuns(
            runs=runs,
            goal=search.goal,
            unit=belief.unit,
            best=None if best is None else (best, search.results[best][0]),
            probability_best=search.probability_best,
            expected_loss=search.expected_loss,
            enough=search.enough,
            found=search.found,
            spent=search.spent,
            budget=search.budget,
            count=len(run),
            left=len(search.prior.models) - len(run | search.excluded),
            smaller=search.smaller,
            dear=bool(search.costs),
            said=(*belief.notes()[1:], *said, *beside.notes()),
            failures=tuple(f"{model}: {why}" for model, why in search.failed.items()),
            beside=beside,
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """Headings of `to_rows`."""
        own = ("rank", "model", "gain", "best with", "expected", "+-", "cost")
        return (*own, *self.beside.columns(own))

    @property
    def stop(self) -> bool:
        """Whether more runs would not pay, or none can be had."""
        return self.found or not self.runs

    def to_rows(self) -> list[tuple[object, ...]]:
        """One row a run, the first choice first."""
        return self._rows(self.beside.cells)

    def _rows(self, cells: Callable[[str], tuple[object, ...]]) -> list[tuple[object, ...]]:
        sign = -1.0 if self.smaller and self.unit != STANDARD else 1.0
        return [
            (i, r.model, r.gain, r.best, sign * r.expected, r.sd, r.cost, *cells(r.model))
            for i, r in enumerate(self.runs, 1)
        ]

    def page(self) -> tuple[Section, ...]:
        """The runs, with large numbers written short, and the statements."""
        table = Table(self.columns, self._rows(self.beside.shown_cells))
        return (Section((table, Notes(self.statements()))),)

    @property
    def notes(self) -> tuple[str, ...]:
        """How near the task is to known ones."""
        return self.said

    @property
    def skipped(self) -> tuple[str, ...]:
        """Runs that failed; they are not asked for again."""
        return self.failures

    def statements(self) -> tuple[str, ...]:
        """What the columns mean, the best so far, whether to stop, what was spent."""
        return (self._meaning(), self._best(), self._advice(), self._spent(), *self.notes)

    def _meaning(self) -> str:
        over = "the best so far" if self.best else "the mean model"
        what = f"expected improvement over {over}, in standard units"
        if self.goal == "order":
            what = "variance that a result takes from all models, in squared standard units"
        chosen = ", chosen by gain for its cost" if self.dear else ""
        again = [run.model for run in self.runs if run.again]
        more = f"; run once more, on as many rows again: {', '.join(again)}" if again else ""
        way = ", larger is better" if self.smaller and self.unit == STANDARD else ""
        return (
            f"gain: {what}{chosen}; expected: the result, in {self.unit}{way}; "
            f"best with: the probability to be the best{more}"
        )

    def _best(self) -> str:
        if self.best is None:
            return "best so far: none, no run has a result yet"
        model, value = self.best
        return (
            f"best so far: {model} with {value:g}; it is the best of all with probability "
            f"{self.probability_best:.2f}"
        )

    def _advice(self) -> str:
        taken = "the best so far" if self.best else "the first of the order"
        loss = f"{taken} is expected to lose {self.expected_loss:.3f} standard units to the best"
        if self.found:
            return f"stop: {loss} (enough: {self.enough:g})"
        if not self.runs:
            dear = f"{self.budget - self.spent:g} is left to spend, less than any run costs"
            return f"stop: {dear if self.left else 'every model was run'}; {loss}"
        if self.goal == "order":
            return f"go on while runs are to be had: the order is the goal; {loss}"
        return f"go on: {loss} (enough: {self.enough:g})"

    def _spent(self) -> str:
        of = f" of {self.budget:g}" if self.budget < math.inf else ""
        way = f"; {'smaller' if self.smaller else 'larger'} results count as better"
        return f"spent: {self.spent:g}{of} in {self.count} run{'' if self.count == 1 else 's'}{way}"

    def data(self) -> dict[str, Any]:
        """The rows, and every number of the statements."""
        best = None if self.best is None else {"model": self.best[0], "result": self.best[1]}
        return {
            **super().data(),
            "goal": self.goal,
            "smaller": self.smaller,
            "unit": self.unit,
            "best": best,
            "probability_best": self.probability_best,
            "expected_loss": self.expected_loss,
            "enough": self.enough,
            "spent": self.spent,
            "budget": self.budget if self.budget < math.inf else None,
            "runs": self.count,
            "stop": self.stop,
        }
