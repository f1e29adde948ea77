"""Which models a condition lets pass, and what is said of the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from spider_jax.errors import InputError
from spider_jax.facts.conditions import TRUE, UNKNOWN, decide, facts_of
from spider_jax.facts.fact_table import FactTable
from spider_jax.facts.where import read_condition

NAMED, LISTED = 5, 1000  # models that a sentence names, and a JSON


class Counts(NamedTuple):
    """How many models a verdict is about.

    Attributes:
        models: all.
        passed: who count, kept unknown ones too.
        excluded: who surely do not.
        unknown: of whom the facts that decide are not known.
    """

    models: int
    passed: int
    excluded: int
    unknown: int


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a condition says of M models.

    Attributes:
        expression: the condition.
        models: names.
        passed: who counts.
        unknown: of whom the facts that decide are not known.
        facts: that the condition speaks of.
        counts: of all models, where a file names only some of them.
    """

    expression: str
    models: tuple[str, ...]
    passed: Bool[np.ndarray, " M"]
    unknown: Bool[np.ndarray, " M"]
    facts: tuple[str, ...]
    counts: Counts | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The models that count."""
        return tuple(self.models[i] for i in np.flatnonzero(self.passed))

    @property
    def excluded(self) -> tuple[str, ...]:
        """The models that do not count, unknown ones too."""
        return tuple(self.models[i] for i in np.flatnonzero(~self.passed))

    def only(self, models: Sequence[str]) -> "Verdict":
        """The verdict on some of the models, in their order.

        Args:
            models: names, all of which it knows.
        """
        place = {name: i for i, name in enumerate(self.models)}
        at = np.array([place[name] for name in models], np.int64)
        return Verdict(
            self.expression, tuple(models), self.passed[at], self.unknown[at], self.facts
        )

    def count(self) -> Counts:
        """How many pass, how many do not, and of whom that is not known."""
        if self.counts is not None:
            return self.counts
        excluded = int((~self.passed & ~self.unknown).sum())
        return Counts(len(self.models), int(self.passed.sum()), excluded, int(self.unknown.sum()))

    @property
    def kept(self) -> bool:
        """Whether models stay of which it is not known."""
        return bool(self.unknown.any()) and bool(self.passed[self.unknown].all())

    def refuse_none(self) -> None:
        """Refuse a condition that no model fulfils.

        Raises:
            InputError: none counts.
        """
        if not self.passed.any():
            count = int(self.unknown.sum())
            rest = f", {count} unknown {self._unknown()}" if count else ""
            raise InputError(
                f"where {self.expression[:200]}: none of {len(self.models)} models passes{rest}; "
                "ask for less, or give facts by --facts FILE"
            )

    def note(self) -> str:
        """How many pass, how many do not, and of whom that is not known."""
        M, passed, excluded, unknown = self.count()
        kept = self.kept
        surely = passed - (unknown if kept else 0)
        what = "kept" if kept else "left out"
        rest = f", {unknown} unknown and {what} {self._unknown()}" if unknown else ""
        return (
            f"where {self.expression[:200]}: {surely} of {M} models pass, {excluded} do not{rest}"
        )

    def _unknown(self) -> str:
        names = [self.models[i] for i in np.flatnonzero(self.unknown)[:NAMED]]
        count = self.count().unknown - len(names)
        more = f" and {count} more" if count else ""
        return f"({' or '.join(self.facts)} is not known): {', '.join(names)}{more}"

    def content(self) -> dict[str, Any]:
        """What a JSON says; of the unknown models at most a thousand names."""
        listed = [self.models[i] for i in np.flatnonzero(self.unknown)[:LISTED]]
        return {
            "expression": self.expression,
            **self.count()._asdict(),
            "unknown_models": listed,
            "unknown_kept": self.kept,
            "facts": list(self.facts),
        }

    @staticmethod
    def read(content: Mapping[str, Any], shown: Sequence[str]) -> "Verdict":
        """The inverse of `content`, for the models that a file names; its counts are of all.

        Args:
            content: of a JSON.
            shown: models that passed.
        """
        listed, kept = dict.fromkeys(map(str, content["unknown_models"])), content["unknown_kept"]
        models = tuple(dict.fromkeys([*shown, *listed]))
        unknown = np.array([name in listed for name in models], bool)
        passed = (np.arange(len(models)) < len(shown)) | (unknown & bool(kept))
        counts = Counts(*(int(content[name]) for name in Counts._fields))
        facts = tuple(map(str, content.get("facts", ())))  # not of older files
        return Verdict(str(content["expression"]), models, passed, unknown, facts, counts)


def judge(expression: str, facts: FactTable, *, keep_unknown: bool = False) -> Verdict:
    """Decide a condition for every model of a table.

    Args:
        expression: see `where`.
        facts: of the models.
        keep_unknown: whether a model counts of which the facts that decide are not known.

    Returns:
        The verdict.

    Raises:
        InputError: the expression is none, or a fact that no model has.

    >>> import numpy as np
    >>> facts = FactTable(("a", "b", "c"), {"params": np.array([1e6, 9e9, np.nan])})
    >>> judge("params <= 50M", facts).names
    ('a',)
    """
    condition = read_condition(expression)
    found = decide(condition, facts)
    unknown = found == UNKNOWN
    passed = (found == TRUE) | (unknown & keep_unknown)
    words = facts_of(condition)
    names = tuple(dict.fromkeys(facts.find(word.text, word.place) for word in words))
    return Verdict(expression, facts.models, passed, unknown, names)
