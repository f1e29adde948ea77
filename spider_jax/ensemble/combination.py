"""What a combination of models says: the members, what each adds, and whether one is as good."""

from dataclasses import dataclass
from typing import Any, ClassVar

from spider_jax.ensemble.feature_selection import SelectedFeatures
from spider_jax.ensemble.members import Step
from spider_jax.ensemble.saved import Ensemble
from spider_jax.report.result import Result
from spider_jax.zoo.store import Skipped


@dataclass(frozen=True)
class Combination(Result):
    """Which models go together on a task, what each adds, and whether one is as good.

    Attributes:
        kind: the format in the header of the JSON.
        columns: headings of the table.
        task: its name.
        method: "one model", "average", "concatenate" or "select": what is used.
        used: how many of the members.
        measure: of the task, in `validation` and `test`.
        steps: the members in the order of choice, also those that are not used.
        validation: of the ensemble and of the best member alone, on rows that heads have not seen.
        test: likewise on the test rows; empty where there are none.
        test_error: standard error of the ensemble's.
        ensemble: what is used, fitted.
        selected: features that are kept, where they are selected.
        remarks: what else is to be said.
        problems: models that could not be used, and why.
    """

    kind: ClassVar[str] = "combination"
    columns = ("model", "used", "loss alone", "loss with it", "gain", "+-", "alike", "passes")
    task: str
    method: str
    used: int
    measure: str
    steps: tuple[Step, ...]
    validation: tuple[float, float]
    test: tuple[float, ...]
    test_error: float | None
    ensemble: Ensemble
    selected: SelectedFeatures | None = None
    remarks: tuple[str, ...] = ()
    problems: tuple[Skipped, ...] = ()

    def to_rows(self) -> list[list[object]]:
        """One row per member, in the order of choice."""
        return [
            [
                s.model,
                "yes" if i < self.used else "-",
                s.alone,
                s.loss,
                s.gain if i else None,
                s.gain_error if i else None,
                s.correlation if i else None,
                i + 1,
            ]
            for i, s in enumerate(self.steps)
        ]

    @property
    def skipped(self) -> tuple[str, ...]:
        """The problems, a line each."""
        return tuple(map(str, self.problems))

    @property
    def notes(self) -> tuple[str, ...]:
        """The verdict, how good it is, what it costs, and how to read the table."""
        first, passes = self.steps[0].model, len(self.ensemble.members)
        if self.used == 1:
            said = f"one model is as good: {first}, 1 forward pass a row"
        else:
            said = f"{self.method} of {self.used} models: {passes} forward passes a row, not 1"
        how = f"{self.measure} {self.validation[0]:.3f} on rows left out"
        how += f", {first} alone {self.validation[1]:.3f}"
        if self.test:
            how += f"; on test rows {self.test[0]:.3f} +- {self.test_error:.3f}"
            how += f", {first} alone {self.test[1]:.3f}"
        kept = () if self.selected is None else (_kept(self.selected),)
        read = "loss: of left-out rows, smaller is better; alike: correlation of errors"
        return (said, how, *kept, read, *self.remarks)

    def data(self) -> dict[str, Any]:
        """What every result has, and the verdict by itself."""
        return super().data() | {
            "task": self.task,
            "method": self.method,
            "members": list(self.ensemble.members),
            "measure": self.measure,
            "validation": list(self.validation),
            "test": list(self.test),
        }


def _kept(found: SelectedFeatures) -> str:
    share = f"{found.false_share:.1%} of them expected to say nothing"
    return f"features kept: {found.kept.sum()} of {len(found.kept)}, {share}"
