"""Training-free metrics of every model of a zoo on one task; a broken model does not stop it."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.facts.beside import NOTHING, Beside
from spider_jax.metrics.shared.inputs import check_targets
from spider_jax.metrics.shared.statistics import Statistics
from spider_jax.metrics.table import DEFAULT_METRICS, EVERY_METRIC, NOT_IN_A_ZOO, Metric
from spider_jax.report.page import Notes, Section, Table
from spider_jax.report.result import Result
from spider_jax.runtime.progress import progress
from spider_jax.storage.cache import ScoreCache, cache_key, default_folder, fingerprint
from spider_jax.zoo.score_order import Order, order_models
from spider_jax.zoo.store import FeatureStore, Skipped

log = logging.getLogger("spider_jax")

Parts = Float64[np.ndarray, "_"]  # of a metric's value, see `Metric.combine`


@dataclass(frozen=True)
class ScoreTable(Result):
    """Metrics of the models on a task.

    Attributes:
        task: name of the task.
        models: names [M].
        metrics: names [K].
        values: scores; NaN where a model lacks what the metric needs.
        problems: what was skipped, and why.
        left_out: metrics without any value, and why.
        seconds: time per metric; the first that asks for shared statistics pays for them.
        computed: how many values were not in the cache.
        accuracies: true accuracy of the models for which it is known.
        beside: who was trained on the task's data.
        kind: the format in the header of the JSON.
    """

    kind: ClassVar[str] = "scores"
    task: str
    models: tuple[str, ...]
    metrics: tuple[str, ...]
    values: Float64[np.ndarray, "M K"]
    problems: tuple[Skipped, ...]
    left_out: tuple[tuple[str, str], ...]
    seconds: Float64[np.ndarray, " K"]
    computed: int
    accuracies: Mapping[str, float] = field(default_factory=dict)
    beside: Beside = NOTHING

    def with_accuracies(self, accuracies: Mapping[tuple[str, str], float]) -> "ScoreTable":
        """The table with the true accuracies of its models beside their scores.

        Args:
            accuracies: by model and task, as `FeatureStore.accuracies` has them.

        Returns:
            A table with one more column, where any accuracy is known.
        """
        known = {m: accuracies[m, self.task] for m in self.models if (m, self.task) in accuracies}
        return replace(self, accuracies=known)

    @property
    def columns(self) -> tuple[str, ...]:
        """Headings of `to_rows`: metrics, what it sorts by, and true accuracies where known."""
        order = () if self._order.by is None else (self._order.by,)
        truth = ("true accuracy",) if self.accuracies else ()
        own = ("model", *self.metrics, *order, *truth)
        return (*own, *self.beside.columns(own))

    @cached_property
    def _order(self) -> Order:
        return order_models(self.models, self.metrics, self.values)

    def to_rows(self) -> list[tuple[object, ...]]:
        """One row per model, best first, see `order_models`; None for no value."""
        order = self._order
        rows: list[tuple[object, ...]] = []
        for i in np.argsort(-np.nan_to_num(order.values, nan=-np.inf), kind="stable"):
            numbers = [*self.values[i], *(() if order.by is None else (order.values[i],))]
            scores = [float(v) if np.isfinite(v) else None for v in numbers]
            truth = (self.accuracies.get(self.models[i]),) if self.accuracies else ()
            rows.append((self.models[i], *scores, *truth, *self.beside.cells(self.models[i])))
        return rows

    @property
    def skipped(self) -> tuple[str, ...]:
        """The problems, a line each."""
        return tuple(map(str, self.problems))

    def statements(self) -> tuple[str, ...]:
        """How to read the table, and why metrics were left out."""
        order = (
            f"task {self.task}: best first by {self._order.rule}; larger is better in every column"
        )
        return (
            order,
            *self._order.notes,
            *(f"left out: {name}: {why}" for name, why in self.left_out),
            *self.beside.notes(),
        )

    def page(self) -> tuple[Section, ...]:
        """The table without its empty columns, and the statements."""
        empty = {name for name, _ in self.left_out}
        shown = [i for i, column in enumerate(self.columns) if column not in empty]
        rows = [[row[i] for i in shown] for row in self.to_rows()]
        table = Table([self.columns[i] for i in shown], rows)
        return (Section((table, Notes(self.statements()))),)

    def data(self) -> dict[str, Any]:
        """The task, what every result has, and what else it takes to read the table back."""
        return super().data() | {
            "task": self.task,
            "metrics": list(self.metrics),
            "problems": [list(problem) for problem in self.problems],
            "left_out": dict(self.left_out),
            "seconds": dict(zip(self.metrics, self.seconds.tolist(), strict=True)),
            "computed": self.computed,
        }

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> "ScoreTable":
        """The inverse of `data`; models come back best first."""
        rows, metrics = content["rows"], tuple(content["metrics"])
        values = np.array([[row[metric] for metric in metrics] for row in rows], np.float64)
        truth = {row["model"]: row.get("true accuracy") for row in rows}
        return ScoreTable(
            str(content["task"]),
            tuple(row["model"] for row in rows),
            metrics,
            values.reshape(len(rows), len(metrics)),
            tuple(Skipped(*problem) for problem in content["problems"]),
            tuple((str(name), str(why)) for name, why in content["left_out"].items()),
            np.array([content["seconds"][metric] for metric in metrics], np.float64),
            int(content["computed"]),
            {model: float(value) for model, value in truth.items() if value is not None},
        )

    def column(self, metric: str) -> Float64[np.ndarray, " M"]:
        """Values of one metric.

        Args:
            metric: its name, one of `metrics`.

        Returns:
            One value per model, NaN where there is none.
        """
        return self.values[:, self.metrics.index(metric)]


def score_zoo(
    zoo: FeatureStore,
    task: str,
    metrics: Sequence[str] = DEFAULT_METRICS,
    *,
    models: Sequence[str] | None = None,
    cache: str | Path | bool = True,
    show_progress: bool = False,
) -> ScoreTable:
    """Score every model of the zoo on a task with training-free metrics.

    One pass over a model's features serves all metrics that need only their sums; features are
    read as memmaps, in blocks where there are more rows than columns.

    Args:
        zoo: features and labels; only training rows are read.
        task: name of a task. On regression and multi-label tasks only LogME has a meaning; the
            other metrics are left out.
        metrics: names in EVERY_METRIC. One that needs source probabilities is NaN for models
            without, one that needs domains where the task has none.
        models: names of those to score; default: all that have features on the task.
        cache: a folder for scores, True for the folder in the user's cache, False for none. A score
            is found again by the content of features and labels, so a run that was interrupted
            computes only what is missing.
        show_progress: whether to show a bar on stderr.

    Returns:
        The scores. Models that cannot be read, and metrics that cannot be computed for a model, are
        listed in its problems.

    Raises:
        InputError: unknown task or metric, labels that cannot be used, or (unless models are named)
            no model that can be scored.
    """
    unknown = [name for name in metrics if name not in EVERY_METRIC]
    if unknown:
        why = f": {NOT_IN_A_ZOO[unknown[0]]}" if unknown[0] in NOT_IN_A_ZOO else ""
        raise InputError(
            f"unknown metric {unknown[0]!r}{why or ': known are ' + ', '.join(EVERY_METRIC)}"
        )
    kind = zoo.kind(task)
    usable = [name for name in metrics if kind in EVERY_METRIC[name].kinds]
    if not usable:
        raise InputError(f"task {task!r} is {kind}: none of {', '.join(metrics)} can score it")
    folder = default_folder() if cache is True else None if cache is False else Path(cache)
    run = _Run(zoo, task, usable, folder, whole=models is None)
    there = zoo.models_of(task)
    asked = there if models is None else [model for model in models if model in there]
    for model in progress(asked, "scoring", show_progress):
        run.score(model)
    return run.table(metrics, kind)


class _Run:
    """Scores of one task as they come."""

    def __init__(
        self,
        zoo: FeatureStore,
        task: str,
        metrics: Sequence[str],
        folder: Path | None,
        *,
        whole: bool,
    ) -> None:
        self.whole = whole
        self.zoo, self.task, self.metrics, self.folder = zoo, task, metrics, folder
        self.rows = zoo.training_rows(task)
        self.labels = check_targets(zoo.training_labels(task), len(self.rows))
        asked = any(EVERY_METRIC[name].needs == "domains" for name in metrics)
        domains = zoo.domains(task) if asked else None
        self.domains = None if domains is None else domains[self.rows]
        self.problems = zoo.problems_on(task)
        self.parts: dict[str, dict[str, Parts]] = {}
        self.seconds = dict.fromkeys(metrics, 0.0)
        self.computed = 0

    def score(self, model: str) -> None:
        """All metrics of one model; an error becomes a problem of this model."""
        found: dict[str, Parts] = {}
        try:
            there = {
                "features": True,
                "probabilities": self.zoo.has_probabilities(model, self.task),
                "domains": self.domains is not None,
            }
            for needs in there:
                names = [name for name in self.metrics if EVERY_METRIC[name].needs == needs]
                if names and there[needs]:
                    found |= self._of_file(model, needs, names)
        except InputError as error:
            self._problem(model, str(error))
        else:
            self.parts[model] = found

    def _of_file(self, model: str, needs: str, names: Sequence[str]) -> dict[str, Parts]:
        """Metrics that read the same file, from the cache or computed on shared statistics."""
        read = self.zoo.probabilities if needs == "probabilities" else self.zoo.features
        matrix = read(model, self.task)
        used = None if len(self.rows) == len(matrix) else self.rows
        key = ""
        if self.folder is not None:
            more = [] if needs != "domains" or self.domains is None else [self.domains]
            key = fingerprint([matrix, self.rows, self.labels, *more])
        cache = ScoreCache(self.folder, key)
        given = _Given(matrix, self.labels, used, self.domains)
        found = {}
        for name in names:
            start = perf_counter()
            options = {"standardize": False} if self._as_they_are(EVERY_METRIC[name]) else {}
            where = cache_key(name, EVERY_METRIC[name].version, options)
            parts = cache.get(where)
            if parts is None:
                try:
                    parts = given.score(EVERY_METRIC[name], options)
                except InputError as error:
                    self._problem(model, f"{name}: {error}")
                    continue
                self.computed += 1
                if np.isnan(parts).any():
                    self._problem(model, f"{name}: it gave NaN, which orders nothing")
                    continue
                cache.put(where, parts)
            found[name] = parts
            self.seconds[name] += perf_counter() - start
        return found

    def _as_they_are(self, metric: Metric) -> bool:
        return metric.standardize and self.zoo.standardized

    def _problem(self, model: str, why: str) -> None:
        self.problems.append(Skipped(model, self.task, why))
        log.info("skipped %s", self.problems[-1])  # the caller lists the problems

    def table(self, metrics: Sequence[str], kind: str) -> ScoreTable:
        """The scores, what is missing, and why."""
        if self.whole and not any(self.parts.values()):
            why = f": {self.problems[0]}" if self.problems else ", it has no features"
            raise InputError(f"no model of {self.zoo.folder} can be scored on {self.task!r}{why}")
        values = np.full((len(self.parts), len(metrics)), np.nan)
        for i, name in enumerate(metrics):
            values[:, i] = self._column(name)
        left_out = [
            (n, self._why(n, kind))
            for n, v in zip(metrics, values.T, strict=True)
            if not np.isfinite(v).any()
        ]
        seconds = np.array([self.seconds.get(name, 0.0) for name in metrics])
        facts = self.zoo.training_facts.for_models(tuple(self.parts))
        about = self.zoo.task_info(self.task)
        return ScoreTable(
            self.task,
            tuple(self.parts),
            tuple(metrics),
            values,
            tuple(self.problems),
            (*left_out, *NOT_IN_A_ZOO.items()),
            seconds,
            self.computed,
            beside=Beside.of(facts, task=self.task, task_facts=about),
        )

    def _column(self, name: str) -> Float64[np.ndarray, " M"]:
        """Scores [M] of one metric, combined over the zoo where a model has only parts."""
        found = [model[name] for model in self.parts.values() if name in model]
        if not found:
            return np.full(len(self.parts), np.nan)
        nothing = np.full(len(found[0]), np.nan)
        parts = np.stack([model.get(name, nothing) for model in self.parts.values()])
        combine = EVERY_METRIC[name].combine
        return parts[:, 0] if combine is None else combine(parts)

    def _why(self, name: str, kind: str) -> str:
        metric = EVERY_METRIC[name]
        if kind not in metric.kinds:
            return f"it has no meaning on a {kind} task"
        if metric.needs == "probabilities":
            return "no model has source probabilities on this task"
        if metric.needs == "domains" and self.domains is None:
            return "the task has no domains: write domains/ of the zoo"
        return "no model could be scored, see what was skipped"


class _Given:
    """One file of one model: statistics shared by its metrics, raw and standardised."""

    def __init__(
        self,
        matrix: NDArray[np.floating],
        labels: NDArray[np.signedinteger] | NDArray[np.float64],
        rows: NDArray[np.int64] | None,
        domains: NDArray[np.int64] | None = None,
    ) -> None:
        self.matrix, self.labels, self.rows, self.domains = matrix, labels, rows, domains
        self.statistics: dict[bool, Statistics] = {}

    def score(self, metric: Metric, options: dict[str, Any]) -> Parts:
        """The parts of a metric's value, [P]."""
        if metric.shared is None:
            used = self.matrix if self.rows is None else self.matrix[self.rows]
            if metric.needs == "probabilities":
                value = metric.score(probabilities=used, labels=self.labels)
            elif metric.needs == "domains":
                value = metric.score(used, self.labels, domains=self.domains, **options)
            else:
                value = metric.score(used, self.labels, **options)
        else:
            standardize = metric.standardize and options.get("standardize", True)
            if standardize not in self.statistics:
                self.statistics[standardize] = Statistics(
                    self.matrix, self.labels, rows=self.rows, standardize=standardize
                )
            value = metric.shared(self.statistics[standardize])
        return np.atleast_1d(np.asarray(value, np.float64))
