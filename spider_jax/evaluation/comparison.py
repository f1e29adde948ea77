"""Honest comparison of rankings: whole datasets held out, every method beside the baselines."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float64

from spider_jax.evaluation.baselines import CONSTANT, Method
from spider_jax.ranking.measures import (
    bootstrap_interval,
    paired_difference,
    regret,
    top_k_hits,
    weighted_tau,
)
from spider_jax.report.escape import Own, interval
from spider_jax.report.result import Result

Measure = Callable[[Float64[np.ndarray, " M"], Float64[np.ndarray, " M"]], float]


@dataclass(frozen=True)
class Comparison(Result):
    """Methods on T tasks, by their agreement with the true accuracies.

    Attributes:
        tasks: names [T].
        models: names [M].
        truth: true accuracies.
        methods: scores of every method and what it reads of the target, by name.
        notes: what a reader must know, printed below the table.
        kind: the format in the header of the JSON.
        columns: headings of the table.
    """

    kind: ClassVar[str] = "comparison"
    columns = (
        "method",
        "reads of the target",
        "weighted tau",
        "95 % interval",
        "tau (by truth)",
        "regret@1",
        "top-3 hits",
        "against the constant order",
    )
    tasks: tuple[str, ...]
    models: tuple[str, ...]
    truth: Float64[np.ndarray, "T M"]
    methods: Mapping[str, Method]
    notes: tuple[str, ...] = field(default=())

    def taus(self, name: str, *, rank: bool | None = True) -> Float64[np.ndarray, " T"]:
        """Weighted tau of a method per task, the mean over its runs.

        Args:
            name: the method.
            rank: convention of the weighted tau, see `weighted_tau`.

        Returns:
            One value per task; NaN where a run's scores are constant.
        """
        return self._per_task(name, lambda t, s: weighted_tau(t, s, rank=rank))

    def to_rows(self) -> list[tuple[object, ...]]:
        """One row per method, in the order given."""
        return [self._row(name, method) for name, method in self.methods.items()]

    def data(self) -> dict[str, Any]:
        """What `summary` says, the truth, and all scores of every method."""
        methods = {
            name: {"reads": method.reads, "scores": _plain(np.asarray(method.scores))}
            for name, method in self.methods.items()
        }
        more = {"tasks": list(self.tasks), "truth": _plain(self.truth), "said": list(self.notes)}
        return self.summary() | more | {"methods": methods}

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> "Comparison":
        """The inverse of `data`."""
        tasks, models = tuple(content["tasks"]), tuple(content["models"])
        shape = (len(tasks), len(models))
        methods = {
            str(name): Method(_read(one["scores"], (len(one["scores"]), *shape)), str(one["reads"]))
            for name, one in content["methods"].items()
        }
        truth = _read(content["truth"], shape)
        return Comparison(tasks, models, truth, methods, tuple(content["said"]))

    def summary(self) -> dict[str, Any]:
        """What every result has, and the weighted tau of every method on every task."""
        taus = {
            name: dict(zip(self.tasks, self.taus(name).tolist(), strict=True))
            for name in self.methods
        }
        known = {
            name: {task: tau if np.isfinite(tau) else None for task, tau in by_task.items()}
            for name, by_task in taus.items()
        }
        return super().data() | {"models": list(self.models), "weighted_tau_per_task": known}

    def _per_task(self, name: str, measure: Measure) -> Float64[np.ndarray, " T"]:
        runs = self.methods[name].scores
        values = [[measure(t, s) for t, s in zip(self.truth, run, strict=True)] for run in runs]
        return np.asarray(np.mean(values, axis=0))

    def _row(self, name: str, method: Method) -> tuple[object, ...]:
        tau = bootstrap_interval(self.taus(name))
        versus = Own("-")
        if name != CONSTANT and CONSTANT in self.methods:
            gap = paired_difference(self.taus(name), self.taus(CONSTANT))
            tie = " tie" if gap.tie else ""
            versus = Own(f"{gap.mean:+.3f} {interval(gap.low, gap.high, '+.3f')}{tie}")
        return (
            name,
            method.reads,
            tau.mean,
            interval(tau.low, tau.high),
            float(self.taus(name, rank=None).mean()),
            float(self._per_task(name, regret).mean()),
            float(self._per_task(name, top_k_hits).mean()),
            versus,
        )


def _plain(values: Float64[np.ndarray, "..."]) -> Any:
    """An array as nested lists; None for what is not finite."""
    plain = values.astype(object)
    plain[~np.isfinite(values)] = None
    return plain.tolist()


def _read(values: Any, shape: tuple[int, ...]) -> Float64[np.ndarray, "..."]:
    """The inverse of `_plain`, of this shape."""
    found = np.array(values, np.float64)
    if found.shape != shape:
        raise ValueError(f"scores must be {list(shape)}, got {list(found.shape)}")
    return found
