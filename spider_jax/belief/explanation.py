"""Why a model stands where it stands: what each source of evidence moved, and by how much.

A posterior mean is a sum over its sources: conditioning goes source by source, and each step is
linear in what was seen. With mu and C before a step that shows values t of models P (noise R, an
unknown level of variance c),

    mean_i - mu_i = sum_j w_j (t_j - mu_j),   w = (C_PP + R + c 1 1^T)^-1 C_Pi,

so every value's part is known exactly, and all parts add up to the final mean. It is evidence, not
cause: it says why the ranking believes so, not what makes the model good.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int
from scipy.linalg import cho_factor, cho_solve

from spider_jax.belief.belief import Belief
from spider_jax.belief.evidence import metric_observation, metric_parts, result_observation
from spider_jax.belief.gaussian import OFFSET_VARIANCE, Observation, Posterior
from spider_jax.report.page import Block, Notes, Section, Table
from spider_jax.report.result import Result, json_rows

BEFOREHAND, METRICS, RESULTS = "beforehand", "metrics", "results"
NEIGHBOURS = 2  # on either side of the model
NOT_CAUSE = (
    "evidence, not cause: why the model is believed to stand there, not what makes it good or bad"
)


class Part(NamedTuple):
    """What one thing of a source moved.

    Attributes:
        what: it is.
        moved: the model's mean, in standard units.
        seen: what was seen of it, in words.
    """

    what: str
    moved: float
    seen: str | None = None


class Stage(NamedTuple):
    """What was believed of all models at one point before any of them was looked at.

    Attributes:
        source: what was known then that was not before.
        mean: of the models, in standard units.
        variance: of them.
        parts: of the move of the model at a position; None where it is of one piece.
    """

    source: str
    mean: Float64[np.ndarray, " M"]
    variance: Float64[np.ndarray, " M"]
    parts: Callable[[int], Sequence[Part]] | None = None

    def of(self, models: Int[np.ndarray, " p"]) -> "Stage":
        """The stage of some models, by their positions."""
        whole = self.parts
        parts = None if whole is None else lambda i: whole(int(models[i]))
        return Stage(self.source, self.mean[models], self.variance[models], parts)


class Step(NamedTuple):
    """What one source did to the model's mean.

    Attributes:
        source: its name.
        moved: the mean, in standard units.
        mean: after it.
        sd: after it.
        parts: of the move; they add up to it.
    """

    source: str
    moved: float
    mean: float
    sd: float
    parts: tuple[Part, ...] = ()


class Margin(NamedTuple):
    """Where the model stands beside another.

    Attributes:
        place: of the other, from 1.
        model: the other.
        gap: how far the explained model lies above it, in the unit of the belief.
        better: probability that the explained model is the better one.
    """

    place: int
    model: str
    gap: float
    better: float


@dataclass(frozen=True)
class Explanation(Result):
    """Why a model stands where it stands.

    Attributes:
        model: its name.
        place: from 1.
        count: of the models.
        mean: its expected performance, in `unit`.
        sd: of it.
        unit: of mean, sd and gaps; steps are in standard units.
        steps: the sources, in the order in which they came; their moves add up to the last mean.
        neighbours: models around it, and the first.
        said: notes.
        task: its name.
        kind: the format in the header of the JSON.
        columns: headings.
    """

    kind: ClassVar[str] = "explanation"
    columns = ("source", "of it", "moved", "mean", "+-", "seen")
    model: str
    place: int
    count: int
    mean: float
    sd: float
    unit: str
    steps: tuple[Step, ...]
    neighbours: tuple[Margin, ...]
    said: tuple[str, ...] = ()
    task: str | None = None

    def to_rows(self) -> list[tuple[object, ...]]:
        """A row for every source, and one for each of its parts."""
        rows: list[tuple[object, ...]] = []
        for step in self.steps:
            rows.append((step.source, None, step.moved, step.mean, step.sd, None))
            rows += [(step.source, p.what, p.moved, None, None, p.seen) for p in step.parts]
        return rows

    @property
    def notes(self) -> tuple[str, ...]:
        """What the table means, and what else is to be said."""
        return (*self.said, NOT_CAUSE)

    def page(self) -> tuple[Section, ...]:
        """Where it stands, the sources, its neighbours, and the notes."""
        head = f"{self.model}: place {self.place} of {self.count}"
        where = f"{head}, {self.mean:.3g} +- {self.sd:.3g} ({self.unit})"
        beside = Table(
            ("place", "beside", f"margin ({self.unit})", "better with"),
            [(one.place, one.model, one.gap, one.better) for one in self.neighbours],
        )
        blocks: tuple[Block, ...] = (
            *([] if self.task is None else [f"task: {self.task}"]),
            where,
            Table(self.columns, self.to_rows()),
            "moved, mean and +- are in standard units; what moved adds up to the last mean.",
            *([beside] if self.neighbours else []),
            Notes(self.notes),
        )
        return (Section(blocks),)

    def data(self) -> dict[str, Any]:
        """What every result has, where the model stands, and its neighbours."""
        beside = json_rows(Margin._fields, [tuple(one) for one in self.neighbours])
        facts = {"model": self.model, "task": self.task, "place": self.place, "of": self.count}
        known = {"mean": self.mean, "sd": self.sd, "unit": self.unit}
        return super().data() | facts | known | {"neighbours": beside}


def explain(belief: Belief, model: str, before: Sequence[Stage] = ()) -> Explanation:
    """Why a model stands where it stands.

    Args:
        belief: what is known of the models.
        model: one of them.
        before: how what is known beforehand came about, the last stage being the belief's prior;
            default: it is one step.

    Returns:
        The sources and what each moved, exactly; the margin to the neighbours.

    Raises:
        InputError: an unknown model.
    """
    place = int(belief.positions([model])[0])
    prior = belief.prior
    stages = before or [Stage(BEFOREHAND, prior.mean, prior.variances())]
    steps = _beforehand(stages, place)
    said = []
    posterior = Posterior(prior)
    if belief.looks and belief.evidence.noise is not None:
        step, posterior = _metrics(belief, posterior, place)
        steps.append(step)
        said += _agreement(belief, model)
    if belief.results:
        steps.append(_results(belief, posterior, place))
    order = np.argsort(-belief.mean.astype(np.float32), kind="stable")
    at = int(np.flatnonzero(order == place)[0])
    return Explanation(
        model,
        at + 1,
        len(belief.names),
        float(belief.mean[place]),
        float(belief.sd[place]),
        belief.unit,
        tuple(steps),
        _neighbours(belief, order, at),
        tuple(said),
        belief.task,
    )


def _beforehand(stages: Sequence[Stage], place: int) -> list[Step]:
    steps, last = [], 0.0  # the mean of the models of a zoo is 0 in standard units
    for stage in stages:
        mean = float(stage.mean[place])
        sd = float(np.sqrt(max(stage.variance[place], 0)))
        parts = () if stage.parts is None else tuple(stage.parts(place))
        steps.append(Step(stage.source, mean - last, mean, sd, parts))
        last = mean
    return steps


# ---- what is seen --------------------------------------------------------------------------------


def _metrics(belief: Belief, now: Posterior, place: int) -> tuple[Step, Posterior]:
    """The looks: by metric where they are the model's own, and those of the others together."""
    noise = belief.evidence.noise
    assert noise is not None
    models = belief.positions(belief.looks)
    values = np.array(list(belief.looks.values()), np.float64)
    seen = metric_observation(now, noise, models, values, belief.evidence.varying)
    weights = _weights(now, seen, place)
    by_metric = metric_parts(now, noise, models, values)  # adds up to values less means
    parts = []
    if place in models:
        own = int(np.flatnonzero(models == place)[0])
        for k, metric in enumerate(belief.evidence.metrics):
            if np.isfinite(values[own, k]):
                column = values[:, k][np.isfinite(values[:, k])]
                rank = 1 + int((column > values[own, k]).sum())
                said = f"{values[own, k]:.4g}, place {rank} of {len(column)}"
                parts.append(Part(f"its {metric}", float(weights[own] * by_metric[own, k]), said))
    others = models != place
    if others.any():
        moved = float((weights * by_metric.sum(1))[others].sum())
        parts.append(Part(_of_others(others), moved, "the level, models alike"))
    after = now.with_observation(seen)
    return _step(METRICS, now, after, place, parts), after


def _results(belief: Belief, now: Posterior, place: int) -> Step:
    models = belief.positions(belief.results)
    values, errors = np.array(list(belief.results.values()), np.float64).T
    seen, _ = result_observation(now, belief.evidence, models, values, errors)
    moves = _weights(now, seen, place) * (seen.values - now.mean[models])
    own = models == place
    parts = []
    if own.any():
        parts.append(Part("its own", float(moves[own].sum()), f"{values[own][0]:.4g}"))
    if not own.all():
        parts.append(Part(_of_others(~own), float(moves[~own].sum())))
    return _step(RESULTS, now, now.with_observation(seen), place, parts)


def _of_others(others: Bool[np.ndarray, " p"]) -> str:
    count = int(others.sum())
    return f"those of {count} other model{'s' * (count > 1)}"


def _step(
    source: str, before: Posterior, after: Posterior, place: int, parts: Sequence[Part]
) -> Step:
    mean, variance = float(after.mean[place]), max(float(after.variances[place]), 0.0)
    return Step(
        source, mean - float(before.mean[place]), mean, float(np.sqrt(variance)), tuple(parts)
    )


def _weights(now: Posterior, seen: Observation, place: int) -> Float64[np.ndarray, " p"]:
    """w of the module: how much the mean of a model takes of each value's surprise."""
    models: Int[np.ndarray, " p"] = seen.models
    joint = now.covariance(models) + OFFSET_VARIANCE
    joint[np.diag_indices(len(models))] += seen.variances
    cross = now.cross(models, np.array([place]))[:, 0]
    return np.asarray(cho_solve(cho_factor(joint, lower=True), cross))


def _agreement(belief: Belief, model: str) -> list[str]:
    """How far the metrics agree on the model, where it was looked at by more than one."""
    values = np.array(list(belief.looks.values()), np.float64)
    if model not in belief.looks or len(values) < 2:
        return []
    own = np.array(belief.looks[model])
    there = np.flatnonzero(np.isfinite(own))
    if len(there) < 2:
        return []
    places = 1 + (values[:, there] > own[there]).sum(0)  # a missing value is above nothing
    low, high, count = int(places.min()), int(places.max()), len(values)
    if low == high:
        return [f"the {len(there)} metrics agree: place {low} of {count} that were looked at"]
    return [f"the {len(there)} metrics place it from {low} to {high} of {count} looked at"]


# ---- beside the others ---------------------------------------------------------------------------


def _neighbours(belief: Belief, order: Int[np.ndarray, " M"], at: int) -> tuple[Margin, ...]:
    model = belief.names[order[at]]
    near = range(max(0, at - NEIGHBOURS), min(len(order), at + NEIGHBOURS + 1))
    found = []
    for place in sorted({0, *near} - {at}):
        other = belief.names[order[place]]
        gap = float(belief.mean[order[at]] - belief.mean[order[place]])
        found.append(Margin(place + 1, other, gap, belief.probability_above(model, other)))
    return tuple(found)


def grouped_parts(
    names: Sequence[str],
    weights: Float64[np.ndarray, " S"],
    moves: Float64[np.ndarray, " S"],
    most: int = 5,
) -> list[Part]:
    """Moves of known tasks, those of one name together: the largest, and the rest in one.

    Args:
        names: of the S known tasks; several may have one.
        weights: how much more each counts than in the constant order.
        moves: of the model's mean.
        most: so many are named.

    Returns:
        Parts that add up to all moves.
    """
    by_name: dict[str, tuple[float, float]] = {}
    for name, weight, move in zip(names, weights.tolist(), moves.tolist(), strict=True):
        w, m = by_name.get(name, (0.0, 0.0))
        by_name[name] = w + weight, m + move
    nearest = sorted(by_name.items(), key=lambda item: -item[1][0])
    parts = [Part(name, m, f"weight {w:+.2f}") for name, (w, m) in nearest[:most]]
    if rest := nearest[most:]:
        said = f"weight {sum(w for _, (w, _) in rest):+.2f}"
        parts.append(Part(f"{len(rest)} other tasks", sum(m for _, (_, m) in rest), said))
    return parts
