"""Which models a condition lets pass, and what is said of the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool

from spider_jax.errors import InputError
from spider_jax.facts.conditions import TRUE, UNKNOWN, decide, facts_of
from spider_jax.facts.fact_table import FactTable
from spider_jax.facts.where import read_condition

NAMED, LISTED = 5, 1000  # models that a sentence names, and a JSON


@dataclass(frozen=True, eq=False)
class Verdict:
    """What a condition says of M models.

    Attributes:
        expression: the condition.
        models: names.
        passed: who counts.
        unknown: of whom the facts that decide are not known.
        facts: that the condition speaks of.
    """

    expression: str
    models: tuple[str, ...]
    passed: Bool[np.ndarray, " M"]
    unknown: Bool[np.ndarray, " M"]
    facts: tuple[str, ...]

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
        M, unknown = len(self.models), int(self.unknown.sum())
        passed = int(self.passed.sum())
        kept = bool(unknown) and bool(self.passed[self.unknown].all())
        surely = passed - (unknown if kept else 0)
        what = "kept" if kept else "left out"
        rest = f", {unknown} unknown and {what} {self._unknown()}" if unknown else ""
        return (
            f"where {self.expression[:200]}: {surely} of {M} models pass, {M - surely - unknown} "
            f"do not{rest}"
        )

    def _unknown(self) -> str:
        names = [self.models[i] for i in np.flatnonzero(self.unknown)[:NAMED]]
        count = int(self.unknown.sum()) - len(names)
        more = f" and {count} more" if count else ""
        return f"({' or '.join(self.facts)} is not known): {', '.join(names)}{more}"

    def content(self) -> dict[str, Any]:
        """What a JSON says; of the unknown models at most a thousand names."""
        unknown = np.flatnonzero(self.unknown)
        return {
            "expression": self.expression,
            "models": len(self.models),
            "passed": int(self.passed.sum()),
            "excluded": int((~self.passed & ~self.unknown).sum()),
            "unknown": len(unknown),
            "unknown_models": [self.models[i] for i in unknown[:LISTED]],
            "unknown_kept": bool(len(unknown)) and bool(self.passed[unknown].all()),
        }


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
