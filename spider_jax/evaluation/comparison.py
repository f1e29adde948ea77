"""Honest comparison of rankings: whole datasets held out, every method beside the baselines."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from spider_jax.evaluation.baselines import CONSTANT, Method
from spider_jax.ranking.measures import (
    bootstrap_interval,
    paired_difference,
    regret,
    top_k_hits,
    weighted_tau,
)
from spider_jax.report.tables import to_markdown, to_text


@dataclass(frozen=True)
class Comparison:
    """Methods on T tasks with true accuracies [T, M]; `rows` is the table.

    notes: what a reader must know, printed below the table.
    """

    tasks: tuple[str, ...]
    models: tuple[str, ...]
    truth: NDArray[np.float64]
    methods: Mapping[str, Method]
    notes: tuple[str, ...] = field(default=())

    COLUMNS = (
        "method",
        "reads of the target",
        "weighted tau",
        "95 % interval",
        "tau (by truth)",
        "regret@1",
        "top-3 hits",
        "against the constant order",
    )

    def taus(self, name: str, *, rank: bool | None = True) -> NDArray[np.float64]:
        """Weighted tau per task [T], the mean over runs; NaN where a run's scores are constant."""
        return self._per_task(name, lambda t, s: weighted_tau(t, s, rank=rank))

    def rows(self) -> list[list[object]]:
        """One row a method, in the order given."""
        return [self._row(name, method) for name, method in self.methods.items()]

    def to_text(self) -> str:
        """The table and its notes for a terminal."""
        return "\n".join([to_text(self.COLUMNS, self.rows()), *self.notes])

    def to_markdown(self) -> str:
        """The table and its notes in Markdown."""
        notes = "\n".join(f"- {note}" for note in self.notes)
        return f"{to_markdown(self.COLUMNS, self.rows())}\n\n{notes}"

    def _per_task(self, name: str, measure) -> NDArray[np.float64]:  # type: ignore[no-untyped-def]
        runs = self.methods[name].scores
        values = [[measure(t, s) for t, s in zip(self.truth, run, strict=True)] for run in runs]
        return np.asarray(np.mean(values, axis=0))

    def _row(self, name: str, method: Method) -> list[object]:
        tau = bootstrap_interval(self.taus(name))
        versus = "-"
        if name != CONSTANT and CONSTANT in self.methods:
            difference = paired_difference(self.taus(name), self.taus(CONSTANT))
            tie = " tie" if difference.tie else ""
            versus = f"{difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]{tie}"
        return [
            name,
            method.reads,
            tau.mean,
            f"[{tau.low:.3f}, {tau.high:.3f}]",
            float(self.taus(name, rank=None).mean()),
            float(self._per_task(name, regret).mean()),
            float(self._per_task(name, top_k_hits).mean()),
            versus,
        ]
