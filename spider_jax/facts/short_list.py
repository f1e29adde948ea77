"""A ranking with facts: who passes a condition, the front against a cost, marks."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Int64

from spider_jax.facts.beside import NOTHING, Beside
from spider_jax.facts.fact_table import FactTable
from spider_jax.facts.front import Front, pareto
from spider_jax.facts.verdict import Verdict, judge
from spider_jax.ranking.certainty import Certainty
from spider_jax.ranking.ranking import Ranking as Ranking
from spider_jax.ranking.reading import ranking_fields
from spider_jax.report.page import Section, Table


@dataclass(frozen=True, eq=False)
class ShortList(Ranking):
    """A `Ranking` with facts beside its models.

    Attributes:
        beside: facts that are shown, and who knows the task's data.
        verdict: who passed a condition, of all models that were ranked.
        front: against a cost.
        before: the ranking that it was made of; None where it was read from a file.
    """

    beside: Beside = NOTHING
    verdict: Verdict | None = None
    front: Front | None = None
    before: Ranking | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """Those of a ranking, then facts and marks."""
        front = () if self.front is None else (self.front.column,)
        own = super().columns
        return (*own, *self.beside.columns((*own, *front)), *front)

    def to_rows(self, top: int | None = None) -> list[tuple[object, ...]]:
        """Those of a ranking, with exact facts and marks.

        Args:
            top: only so many of the best.
        """
        return self._rows(top, self.beside.cells)

    def _rows(self, top: int | None, cells: Any) -> list[tuple[object, ...]]:
        marks = {} if self.front is None else self.front.marks()
        rows = super().to_rows(top)
        front = [() if self.front is None else (marks.get(name, "-"),) for name in self.names]
        beside = zip(rows, self.names, front, strict=False)
        return [(*row, *cells(name), *mark) for row, name, mark in beside]

    def page(self, top: int | None = None) -> tuple[Section, ...]:
        """The page of a ranking, with large numbers written short.

        Args:
            top: only so many of the best.
        """
        (section,) = super().page(top)
        table = Table(self.columns, self._rows(top, self.beside.shown_cells))
        blocks = (table if isinstance(block, Table) else block for block in section.blocks)
        return (Section(tuple(blocks), section.heading),)

    def _facts_of(self, model: str) -> Mapping[str, object]:
        front = () if self.front is None else (self.front.column,)
        columns = self.beside.columns((*super().columns, *front))
        facts = dict(zip(columns, self.beside.cells(model), strict=True))
        if self.front is not None:
            facts[self.front.column] = self.front.marks().get(model, "-")
        return facts

    def data(self) -> dict[str, Any]:
        """That of a ranking, which reads it back; facts and marks beside every model."""
        found = super().data()
        marks = {} if self.front is None else self.front.marks()
        for entry in found["models"]:
            entry |= self.beside.content(entry["model"])
            if self.front is not None:
                entry["pareto"] = marks.get(entry["model"], "-")
        more: dict[str, Any] = {}
        if self.verdict is not None:
            more["where"] = self.verdict.content()
        if self.front is not None:
            more["pareto"] = self.front.content()
        if self.beside.trained:
            more["trained_on_task"] = dict(self.beside.trained)
        return found | more

    @classmethod
    def _claims(cls, content: Mapping[str, Any]) -> bool:
        """Whether a JSON of a ranking has facts, a condition, a front or marks."""
        beside = any("facts" in entry for entry in content["models"])
        return beside or any(key in content for key in ("where", "pareto", "trained_on_task"))

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> "ShortList":
        """The inverse of `data`; the ranking `before` is not in it.

        Args:
            content: of a JSON.
        """
        given = ranking_fields(content)
        entries = {entry["model"]: entry for entry in content["models"]}
        where, front = content.get("where"), content.get("pareto")
        return cls(
            **given,
            beside=Beside.read(entries, content.get("trained_on_task", {})),
            verdict=None if where is None else Verdict.read(where, given["names"]),
            front=None if front is None else Front.read(front),
        )


def shortlist(
    ranking: Ranking,
    facts: FactTable,
    *,
    where: str = "",
    show: Sequence[str] = (),
    cost: str = "",
    keep_unknown: bool = False,
    task_facts: Mapping[str, object] | None = None,
    verdict: Verdict | None = None,
) -> Ranking:
    """A ranking with facts: who passes a condition, chosen columns, the front against a cost.

    Models that say they were trained on the data of the ranking's task are marked. All numbers
    stay those of the posterior over all models; places are among the models that pass.

    Args:
        ranking: all models.
        facts: of the models; nothing is known of one that is missing.
        where: a condition, see `where`.
        show: facts that become columns.
        cost: a fact that is a number: the front of performance against it is marked.
        keep_unknown: whether a model stays of which the facts that decide are not known.
        task_facts: of the task, as a manifest or a table of tasks has them.
        verdict: instead of `where`, where the condition was decided already, maybe for more models.

    Returns:
        A `ShortList`; the ranking itself where there is nothing to say.

    Raises:
        InputError: no condition, a fact that no model has, or no model that passes.

    >>> import numpy as np
    >>> ranking = Ranking.from_scores(["vit", "vgg", "lite"], [3, 2, 1], resolution=0.5)
    >>> facts = FactTable(("vit", "vgg", "lite"), {"params": np.array([86e6, 138e6, 5e6])})
    >>> small = shortlist(ranking, facts, where="params < 100M", cost="params")
    >>> small.names, small.front.on
    (('vit', 'lite'), ('lite', 'vit'))
    """
    if isinstance(ranking, ShortList) and ranking.before is not None:
        ranking = ranking.before  # another list of the same models
    whole, facts = ranking, facts.for_models(ranking.names)
    if where and verdict is None:
        verdict = judge(where, facts, keep_unknown=keep_unknown)
        verdict.refuse_none()
        ranking = _kept(ranking, np.flatnonzero(verdict.passed))
        facts = facts.for_models(ranking.names)
    beside = Beside.of(facts, show=show, task=ranking.task, task_facts=task_facts)
    if cost or verdict is not None or beside:
        front = pareto(ranking, facts, cost) if cost else None
        notes = [] if verdict is None else [verdict.note(), *_of_all(ranking, verdict)]
        notes += [*beside.notes(ranking.names), *(() if front is None else front.notes())]
        asked = bool(where or show or cost or verdict)
        notes += [f"facts: {note}" for note in facts.notes] if asked else []
        given = {f.name: getattr(ranking, f.name) for f in fields(Ranking)}
        given["notes"] = (*ranking.notes, *notes)
        return ShortList(**given, beside=beside, verdict=verdict, front=front, before=whole)
    return ranking


def _of_all(ranking: Ranking, verdict: Verdict) -> list[str]:
    """What the numbers of a posterior speak of when some of its models are not shown."""
    if ranking.certainty is None or verdict.passed.all():
        return []
    return [
        f"places are among the models that pass; probabilities and what is said of the best are "
        f"of all {len(verdict.models)}"
    ]


def without(ranking: Ranking, models: Collection[str]) -> Ranking:
    """A ranking without some models; the numbers of the others stay.

    Args:
        ranking: all models.
        models: names; at least one model must be another.
    """
    out = set(models)
    at = [i for i, name in enumerate(ranking.names) if name not in out]
    return _kept(ranking, np.array(at, np.int64))


def _kept(ranking: Ranking, at: Int64[np.ndarray, " k"]) -> Ranking:
    """Some places of a ranking, from 0 and in its order."""
    names = tuple(ranking.names[i] for i in at)
    kept = set(names)
    return replace(
        ranking,
        names=names,
        scores=ranking.scores[at],
        accuracies={name: x for name, x in ranking.accuracies.items() if name in kept},
        looked_at=tuple(name for name in ranking.looked_at if name in kept),
        certainty=None if ranking.certainty is None else _certainty(ranking.certainty, at),
    )


def _certainty(certainty: Certainty, at: Int64[np.ndarray, " k"]) -> Certainty:
    """What a posterior says of some places, whose intervals are among themselves.

    A model stands behind those that are surely better and before those that are surely worse: they
    are counted by the posterior itself, or, where a file holds the ranking alone, taken to be those
    outside of its interval.
    """
    if certainty.among is not None:
        places = certainty.among(at)
    else:
        first, last = certainty.places[at].T
        places = np.stack(
            [1 + np.searchsorted(at + 1, first), np.searchsorted(at + 1, last, side="right")], 1
        )
        own = np.arange(1, len(at) + 1)
        places = np.stack([np.minimum(places[:, 0], own), np.maximum(places[:, 1], own)], 1)
    return certainty._replace(
        places=places.astype(np.int64), sd=certainty.sd[at], best=certainty.best[at], among=None
    )
