"""What a search says: whom to evaluate next, how sure the best so far is, whether to stop."""

from dataclasses import dataclass
from typing import Any, ClassVar

from spider_jax.recommend.acquisition import Run
from spider_jax.recommend.search import RunSearch
from spider_jax.report.result import Result


@dataclass(frozen=True)
class NextRuns(Result):
    """Runs that are worth it, and what is known by now.

    Attributes:
        runs: whom to evaluate next, the first choice first.
        unit: of what is expected.
        best: the best so far and its result; None before any.
        probability_best: that it is the best of all.
        expected_loss: of stopping now, in standard units.
        enough: expected loss at which to stop.
        spent: cost of all runs.
        smaller: whether smaller results are better.
        said: notes of the belief.
        failures: runs that failed, a line each.
        stop: whether more runs would not pay.
        kind: the format in the header of the JSON.
        columns: headings.
    """

    kind: ClassVar[str] = "next_runs"
    columns = ("rank", "model", "gain", "best with", "expected", "+-", "cost")
    runs: tuple[Run, ...]
    unit: str
    best: tuple[str, float] | None
    probability_best: float
    expected_loss: float
    enough: float
    spent: float
    smaller: bool = False
    said: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    stop: bool = False

    @staticmethod
    def of(search: RunSearch, batch: int = 1) -> "NextRuns":
        """What a search says now.

        Args:
            search: with all that was told.
            batch: runs to propose.
        """
        belief, best = search.belief, search.best
        shares = belief.probability_best()
        return NextRuns(
            tuple(search.ask(batch)),
            belief.unit,
            None if best is None else (best, search.results[best][0]),
            0.0 if best is None else shares[best],
            search.expected_loss,
            search.enough,
            search.spent,
            search.smaller,
            belief.notes()[1:],
            tuple(f"{model}: {why}" for model, why in search.failed.items()),
            search.done,
        )

    def to_rows(self) -> list[tuple[object, ...]]:
        """One row a run, the first choice first."""
        sign = -1.0 if self.smaller and self.unit != "standard units" else 1.0
        return [
            (i, r.model, r.gain, r.best, sign * r.expected, r.sd, r.cost)
            for i, r in enumerate(self.runs, 1)
        ]

    @property
    def notes(self) -> tuple[str, ...]:
        """How near the task is to known ones."""
        return self.said

    @property
    def skipped(self) -> tuple[str, ...]:
        """Runs that failed."""
        return self.failures

    def statements(self) -> tuple[str, ...]:
        """The best so far, what stopping loses, and whether to."""
        meaning = (
            f"gain: expected, over the best so far, in standard units of the task; expected: the "
            f"result, in {self.unit}"
        )
        if self.best is None:
            return (meaning, "nothing was run yet", *self.said)
        model, value = self.best
        first = (
            f"best so far: {model} with {value:g}, the best of all with probability "
            f"{self.probability_best:.2f}; spent {self.spent:g}"
        )
        what = "stop" if self.stop else "go on"
        why = f"stopping now is expected to lose {self.expected_loss:.3f} standard units"
        return (meaning, first, f"{what}: {why} (enough: {self.enough:g})", *self.said)

    def data(self) -> dict[str, Any]:
        """The rows, and every number of the statements."""
        best = None if self.best is None else {"model": self.best[0], "result": self.best[1]}
        return {
            **super().data(),
            "unit": self.unit,
            "best": best,
            "probability_best": self.probability_best,
            "expected_loss": self.expected_loss,
            "enough": self.enough,
            "spent": self.spent,
            "stop": self.stop,
        }
