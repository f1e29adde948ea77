"""The result: models of a zoo, best first, and which of them the scores cannot tell apart."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float32, Int64
from numpy.typing import ArrayLike

from spider_jax.errors import InputError
from spider_jax.ranking.certainty import Certainty
from spider_jax.ranking.reading import checked_scores, ranking_fields
from spider_jax.ranking.standing import Ranked, Standing, standing
from spider_jax.report.groups import group_starts
from spider_jax.report.page import Block, Section, Table, page_markdown, page_text
from spider_jax.report.result import Result


@dataclass(frozen=True, eq=False)
class Ranking(Result):
    """Models with their scores, best first.

    Only differences between scores mean something. `resolution` is the smallest difference that
    the ranking can tell apart: models with closer (or equal) scores may stand in either order.

    Attributes:
        names: M model names, best first, each once.
        scores: finite float32 [M], never increasing; kept read-only.
        resolution: at least 0; NaN or infinite where it is not known.
        task: name of the task.
        accuracies: true accuracy of the ranked models for which it is known.
        notes: sentences for the reader.
        skipped: models that could not be looked at, and why; they are ranked all the same.
        looked_at: models whose own features were read.
        certainty: places, deviations and chances by a posterior; None where there is none.
        kind: the format in the header of the JSON.

    Raises:
        InputError: names and scores that do not fit together, or a value out of range.
    """

    kind: ClassVar[str] = "ranking"
    names: tuple[str, ...]
    scores: Float32[np.ndarray, " M"]
    resolution: float
    task: str | None = None
    accuracies: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    looked_at: tuple[str, ...] = ()
    certainty: Certainty | None = None

    def __post_init__(self) -> None:
        scores = checked_scores(self.names, self.scores)
        if (np.diff(scores) > 0).any():
            raise InputError("scores must be best first: sort them with Ranking.from_scores")
        scores.setflags(write=False)
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "resolution", float(self.resolution))
        if self.resolution < 0:
            raise InputError(
                f"resolution must be at least 0, got {self.resolution}: NaN if it is not known"
            )
        for name, accuracy in self.accuracies.items():
            if not math.isfinite(accuracy):
                raise InputError(
                    f"accuracy of {name!r} must be finite, got {accuracy}: leave unknown ones out"
                )

    @staticmethod
    def from_scores(
        names: Sequence[str],
        scores: ArrayLike,
        *,
        resolution: float,
        task: str | None = None,
        accuracies: Mapping[str, float] | None = None,
        notes: Sequence[str] = (),
    ) -> "Ranking":
        """Sort models by score, the largest first; equal scores keep model order.

        Args:
            names: M model names, each once.
            scores: real [M], aligned with names; rounded to float32 before they are sorted.
            resolution: smallest difference of scores that counts; NaN where it is not known.
            task: name of the task.
            accuracies: true accuracies by model; models that are not ranked are left out.
            notes: sentences for the reader.

        Returns:
            The ranking.

        Raises:
            InputError: names and scores that do not fit together, or a value out of range.

        >>> ranking = Ranking.from_scores(["vgg", "vit"], [0.25, 0.75], resolution=0.125)
        >>> ranking.names, ranking.scores.tolist()
        (('vit', 'vgg'), [0.75, 0.25])
        """
        kept = checked_scores(names, scores)
        order = np.argsort(-kept, kind="stable")
        truths = accuracies or {}
        known = {name: float(truths[name]) for name in names if name in truths}
        ranked = tuple(names[i] for i in order)
        return Ranking(ranked, kept[order], resolution, task, known, tuple(notes))

    def rank_intervals(self) -> Int64[np.ndarray, "M 2"]:
        """The places, from 1, among which each model cannot be separated from its neighbours.

        Of place i: the first and the last place j with |score_i - score_j| < resolution, or with an
        equal score. The relation is symmetric, not transitive: 1 and 2, 2 and 3 may be
        inseparable and 1 and 3 not. With a posterior these are the places that the model may hold
        at its level: those of models that are not better or worse with that probability. With an
        unknown resolution no model is separated from any:
        every interval is [1, M].

        Returns:
            int64 [M, 2]; (i, i) for a model that stands alone.
        """
        M = len(self.names)
        if self.certainty is not None:
            return self.certainty.places
        if not math.isfinite(self.resolution):
            return np.tile(np.array([1, M], np.int64), (M, 1))
        losses = -self.scores.astype(np.float64)
        near = np.searchsorted(losses, losses - self.resolution, side="right")
        equal = np.searchsorted(losses, losses, side="left")
        first = np.minimum(near, equal)
        # j reaches back to i or not: counting from there keeps rounding from breaking the symmetry.
        last = np.searchsorted(first, np.arange(M), side="right")
        return np.stack([first + 1, last], axis=1).astype(np.int64)

    @property
    def columns(self) -> tuple[str, ...]:
        """Headings of `to_rows`; the later ones only where there is something to say."""
        sure = ("+-", "best with") if self.certainty is not None else ()
        looked = ("looked at",) if self.looked_at else ()
        known = ("true accuracy",) if self.accuracies else ()
        return ("rank", "cannot tell from", "model", "score", *sure, *looked, *known)

    def to_rows(self, top: int | None = None) -> list[tuple[object, ...]]:
        """One row per model, best first.

        "cannot tell from" is "1-4" for places 1 to 4 (its own among them), "-" for a model that
        stands alone, "?" where the resolution is not known. "looked at" is "yes" or "-". An unknown
        accuracy is None.

        Args:
            top: only so many of the best; the intervals still count all models.

        Returns:
            Rows with one cell per name in `columns`.

        Raises:
            InputError: top < 1.
        """
        if top is not None and top < 1:
            raise InputError(f"top must be at least 1, got {top}: leave it out for all models")
        shown = list(zip(self.names, self.scores, self.rank_intervals().tolist(), strict=True))[
            :top
        ]
        rows: list[tuple[object, ...]] = []
        for place, (name, score, interval) in enumerate(shown, start=1):
            sure = () if self.certainty is None else self.certainty.of(place - 1)
            looked = ("yes" if name in self.looked_at else "-",) if self.looked_at else ()
            known = (self.accuracies.get(name),) if self.accuracies else ()
            rows.append((place, self._neighbours(*interval), name, score, *sure, *looked, *known))
        return rows

    def page(self, top: int | None = None) -> tuple[Section, ...]:
        """The table, the notes, which models were not looked at, and what the scores mean.

        Args:
            top: only so many of the best.

        Returns:
            One section.

        Raises:
            InputError: top < 1.
        """
        rows = self.to_rows(top)
        hidden = len(self.names) - len(rows)
        blocks: tuple[Block, ...] = (
            *([] if self.task is None else [f"task: {self.task}"]),
            Table(self.columns, rows, *self._groups(len(rows))),
            *([f"{hidden} more not shown"] if hidden else []),
            *(f"note: {note}" for note in self.notes),
            *(f"not looked at: {why}" for why in self.skipped),
            self._meaning(),
        )
        return (Section(blocks),)

    def to_text(self, top: int | None = None) -> str:
        """A table for a terminal, the notes, and a last line that says what the scores mean.

        Args:
            top: only so many of the best.

        Returns:
            Lines without control characters, no newline at the end; the same ranking gives the
            same text.

        Raises:
            InputError: top < 1.
        """
        return page_text(self.page(top))

    def to_markdown(self, top: int | None = None) -> str:
        """What `to_text` says, in GitHub's Markdown.

        Args:
            top: only so many of the best.

        Returns:
            Paragraphs with every name escaped, no newline at the end.

        Raises:
            InputError: top < 1.
        """
        return page_markdown(self.page(top))

    def data(self) -> dict[str, Any]:
        """What a program reads; `to_json` writes it under its header, `from_json` reads it back.

        Returns:
            {"task", "resolution", "notes", "skipped", "looked_at", "models": [{"rank",
            "cannot_tell_from": [first, last], "model", "score", "accuracy"}, ...]}, with None for
            an unknown task, resolution or accuracy.
        """
        intervals = self.rank_intervals().tolist()
        models = [
            {
                "rank": place,
                "cannot_tell_from": interval,
                "model": name,
                "score": float(str(score)),  # the short decimal that float32 reads back exactly
                "accuracy": self.accuracies.get(name),
                **({} if self.certainty is None else self.certainty.content_of(place - 1)),
            }
            for place, (name, score, interval) in enumerate(
                zip(self.names, self.scores, intervals, strict=True), start=1
            )
        ]
        return {
            "task": self.task,
            "resolution": self.resolution if math.isfinite(self.resolution) else None,
            "notes": list(self.notes),
            "skipped": list(self.skipped),
            "looked_at": list(self.looked_at),
            "models": models,
            **({} if self.certainty is None else self.certainty.content()),
        }

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> "Ranking":
        """The inverse of `data`; an unknown resolution comes back as NaN.

        Args:
            content: of a JSON; one that says more than a ranking becomes what `claims` it.
        """
        kind = next((one for one in cls.__subclasses__() if one._claims(content)), None)
        return cls(**ranking_fields(content)) if kind is None else kind.read(content)

    @classmethod
    def _claims(cls, content: Mapping[str, Any]) -> bool:
        """Whether a JSON of a ranking says what only this class holds."""
        return False

    def explain(self, model: str) -> Standing:
        """Why a model stands where it stands, as far as the ranking alone says it.

        Args:
            model: its name.

        Returns:
            Place, interval, who cannot be told from it, margins, facts; and what more would need.

        Raises:
            InputError: an unknown model.
        """
        found = Ranked(
            self.names,
            self.scores,
            self.resolution,
            self.rank_intervals(),
            self.task,
            self.accuracies,
            self.looked_at,
            self.certainty,
        )
        return standing(found, model, self._facts_of(model) if model in self.names else {})

    def _facts_of(self, model: str) -> Mapping[str, object]:
        """Facts that stand beside a model."""
        return {}

    # ---- words -------------------------------------------------------------------------------

    def _groups(self, shown: int) -> tuple[list[int], int]:
        """Rows that begin a separate group, and how many models may be the best."""
        places = self.rank_intervals()
        if not (self.certainty is not None or math.isfinite(self.resolution)):
            return [], 0
        starts = [row for row in group_starts(places) if row < shown]
        return starts, int((places[:shown, 0] == 1).sum())

    def _neighbours(self, first: int, last: int) -> str:
        if first == last:
            return "-"
        known = self.certainty is not None or math.isfinite(self.resolution)
        return f"{first}-{last}" if known else "?"

    def _meaning(self) -> str:
        if self.certainty is not None:
            return self.certainty.meaning()
        if not math.isfinite(self.resolution):
            limit = "their resolution is not known, so no two models are separated"
        elif self.resolution == 0:
            limit = "models with equal scores are not separated"
        else:
            limit = f"models closer than {self.resolution:.3g} (resolution) are not separated"
        return f"Only differences between scores mean something; {limit}."


@dataclass(frozen=True)
class Rankings(Result):
    """Rankings of several tasks, shown one after the other and written into one file.

    Attributes:
        rankings: one per task.
        kind: the format in the header of the JSON.
    """

    kind: ClassVar[str] = "rankings"
    rankings: tuple[Ranking, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The task, and every column that one of the rankings has."""
        return ("task", *dict.fromkeys(c for ranking in self.rankings for c in ranking.columns))

    def to_rows(self) -> list[tuple[object, ...]]:
        """One row per task and model; None in a column that its ranking lacks."""
        rows: list[tuple[object, ...]] = []
        for ranking in self.rankings:
            cells = (dict(zip(ranking.columns, row, strict=True)) for row in ranking.to_rows())
            rows += [(ranking.task, *map(cell.get, self.columns[1:])) for cell in cells]
        return rows

    @property
    def skipped(self) -> tuple[str, ...]:
        """What was skipped in any of them."""
        return tuple(what for ranking in self.rankings for what in ranking.skipped)

    def page(self) -> tuple[Section, ...]:
        """The pages of the rankings."""
        return tuple(section for ranking in self.rankings for section in ranking.page())

    def data(self) -> dict[str, Any]:
        """The content of every ranking."""
        return {"rankings": [ranking.to_content() for ranking in self.rankings]}

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> "Rankings":
        """The inverse of `data`."""
        return Rankings(tuple(map(Ranking.read, content["rankings"])))


def note_of_guesses(models: Sequence[str]) -> str:
    """The sentence of a ranking that says which of its models have guessed scores.

    Args:
        models: their names, at least one; the first five are named.

    Returns:
        A note for `Ranking.notes`.
    """
    more = f" and {len(models) - 5} more" if len(models) > 5 else ""
    return f"added without features, their places are guesses: {', '.join(models[:5])}{more}"
