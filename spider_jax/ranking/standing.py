"""Why a model stands where it stands, as far as a ranking alone says it.

A ranking holds scores, intervals and facts; not what moved the scores, nor how the errors of two
models go together. What is missing is named, with what would say it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float32, Int64

from spider_jax.errors import InputError
from spider_jax.ranking.certainty import Certainty
from spider_jax.report.page import Block, Notes, Section, Table
from spider_jax.report.result import Result, json_rows

BESIDE = 2  # models on either side
NAMED = 8  # models that a sentence names
SOURCES = (
    "a ranking alone does not say what moved a score (training tasks, metrics, results): "
    "`spider-jax rank SPIDER ZOO TASK --explain MODEL`, or `explain` of the spider, the prior or "
    "the comparison that made it, does"
)
TOGETHER = (
    "nor how likely the model is better than one beside it: that needs the covariance of the "
    "posterior, by the same commands"
)
NO_POSTERIOR = (
    "nor how sure a score is: the ranking is not of a posterior (a spider trained with memory, a "
    "prior from records, or compare gives one)"
)


class Ranked(NamedTuple):
    """What is read of a `Ranking`; its attributes are said there, `places` are its intervals."""

    names: tuple[str, ...]
    scores: Float32[np.ndarray, " M"]
    resolution: float
    places: Int64[np.ndarray, "M 2"]
    task: str | None
    accuracies: Mapping[str, float]
    looked_at: tuple[str, ...]
    certainty: Certainty | None


@dataclass(frozen=True)
class Standing(Result):
    """Where a model stands in a ranking.

    Attributes:
        model: its name.
        place: from 1.
        count: of the models.
        said: sentences on the model: its score, who cannot be told from it, what is known.
        missing: what a ranking does not say, and what would.
        beside: place, name, score and margin (the model's score less the other's) of models around
            it, of itself and of the first, and whether the ranking separates them.
        facts: of the model, as they were shown.
        interval: the first and the last place that it may hold.
        task: its name.
        kind: the format in the header of the JSON.
        columns: headings.
    """

    kind: ClassVar[str] = "standing"
    columns = ("place", "model", "score", "margin", "told apart")
    model: str
    place: int
    count: int
    said: tuple[str, ...]
    missing: tuple[str, ...]
    beside: tuple[tuple[int, str, float, float, str], ...]
    facts: Mapping[str, object]
    interval: tuple[int, int]
    task: str | None = None

    def to_rows(self) -> list[tuple[object, ...]]:
        """A row for the model, for those around it, and for the first."""
        return [tuple(row) for row in self.beside]

    @property
    def notes(self) -> tuple[str, ...]:
        """What is said of the model, then what is missing."""
        return (*self.said, *self.missing)

    def page(self) -> tuple[Section, ...]:
        """Where it stands, what is said, models beside it, its facts, and what is missing."""
        facts = [
            (name, f"{value:,}" if isinstance(value, int) else value)
            for name, value in self.facts.items()
        ]
        blocks: tuple[Block, ...] = (
            *([] if self.task is None else [f"task: {self.task}"]),
            f"{self.model}: place {self.place} of {self.count}",
            Table(self.columns, self.to_rows()),
            "margin: the model's score less the other's.",
            *([Table(("fact", "value"), facts)] if facts else []),
            Notes(self.notes),
        )
        return (Section(blocks),)

    def data(self) -> dict[str, Any]:
        """What every result has, where the model stands, its facts, and what is missing."""
        (facts,) = json_rows(tuple(self.facts), [list(self.facts.values())])
        return super().data() | {
            "model": self.model,
            "task": self.task,
            "place": self.place,
            "of": self.count,
            "cannot_tell_from": list(self.interval),
            "facts": facts,
            "missing": list(self.missing),
        }


def standing(ranking: Ranked, model: str, facts: Mapping[str, object]) -> Standing:
    """Where a model stands, by a ranking alone.

    Args:
        ranking: any.
        model: one of its models.
        facts: of the model, that are shown.

    Returns:
        Its place and interval, its neighbours, and what more would need.

    Raises:
        InputError: an unknown model.
    """
    names = ranking.names
    if model not in names:
        near = get_close_matches(model[:200], names, 1)
        guess = f": did you mean {near[0]!r}?" if near else ""
        raise InputError(f"model {model!r} is not among the {len(names)} ranked models{guess}")
    at = names.index(model)
    first, last = map(int, ranking.places[at])
    near_it = range(max(0, at - BESIDE), min(len(names), at + BESIDE + 1))
    scores = ranking.scores.astype(float).tolist()
    beside = tuple(
        (i + 1, names[i], scores[i], scores[at] - scores[i], _apart(i, at, first, last))
        for i in sorted({0, *near_it})
    )
    missing = (SOURCES, TOGETHER if ranking.certainty is not None else NO_POSTERIOR)
    said = (*_said(ranking, at), _alike(ranking, at, first, last), *_known(ranking, model))
    return Standing(
        model, at + 1, len(names), said, missing, beside, dict(facts), (first, last), ranking.task
    )


def _apart(i: int, at: int, first: int, last: int) -> str:
    return "-" if i == at else "no" if first <= i + 1 <= last else "yes"


def _said(ranking: Ranked, at: int) -> list[str]:
    """The score, and how sure it is."""
    score = float(ranking.scores[at])
    if ranking.certainty is None:
        return [f"score {score:.4g}; only differences between scores mean something"]
    (sd, best), unit = ranking.certainty.of(at), ranking.certainty.unit
    return [f"expected {score:.4g} +- {sd:.3g} ({unit}); the best with probability {best:.2f}"]


def _alike(ranking: Ranked, at: int, first: int, last: int) -> str:
    """Who cannot be told from the model, and why."""
    if ranking.certainty is None and not math.isfinite(ranking.resolution):
        return "the resolution of the scores is not known: no model can be told from it"
    others = [name for i, name in enumerate(ranking.names[first - 1 : last], first - 1) if i != at]
    how = (
        f"at {100 * ranking.certainty.level:.0f} %"
        if ranking.certainty is not None
        else f"by scores that differ by {ranking.resolution:.3g} or more"
    )
    if not others:
        return f"stands alone: it is told from every other model {how}"
    more = f" and {len(others) - NAMED} more" if len(others) > NAMED else ""
    return (
        f"places {first} to {last} are open {how}; cannot be told from "
        f"{', '.join(others[:NAMED])}{more}"
    )


def _known(ranking: Ranked, model: str) -> list[str]:
    """Whether the model was looked at, and its true accuracy."""
    said = []
    if ranking.looked_at:
        looked = model in ranking.looked_at
        said.append("its own features were read" if looked else "its own features were not read")
    if model in ranking.accuracies:
        said.append(f"its true accuracy is known: {ranking.accuracies[model]:.4g}")
    return said
