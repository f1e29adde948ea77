"""`FactTable`: what is known of models, as numbers and texts; what is not known stays unknown."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

import numpy as np
from jaxtyping import Float64

from spider_jax.errors import InputError
from spider_jax.facts.catalogue import SYNONYMS, plain
from spider_jax.facts.quantities import short_quantity

MODEL = "model"  # a fact that every model has: its name
SAME = 0.01  # of two numbers that differ by less, one is rounded
Texts = tuple[tuple[str, ...], ...]  # of every model; () where not known


@dataclass(frozen=True, eq=False)
class FactTable:
    """Facts of M models.

    Attributes:
        models: names, each once.
        numbers: fact -> float64 [M], NaN where not known.
        texts: fact -> the entries of every model, most often one; () where not known.
        source: where they are from, for notes.
        notes: what could not be read, and which values contradict each other.
    """

    models: tuple[str, ...]
    numbers: Mapping[str, Float64[np.ndarray, " M"]] = field(default_factory=dict)
    texts: Mapping[str, Texts] = field(default_factory=dict)
    source: str = ""
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Facts that are known of at least one model."""
        numbers = (name for name, values in self.numbers.items() if not np.isnan(values).all())
        return (*numbers, *(name for name, entries in self.texts.items() if any(entries)))

    def find(self, name: str, where: str = "") -> str:
        """The fact that is meant, in any case of letters or by a synonym.

        Args:
            name: as someone wrote it.
            where: the argument or the place, for the error.

        Raises:
            InputError: no model has such a fact; the nearest names are said.
        """
        names = (MODEL, *self.names)
        known = {plain(n): n for n in names} | {n.casefold(): n for n in names}
        column = SYNONYMS.get(plain(name))
        by_synonym = column.fact if column is not None and column.scale == 1 else ""
        for wanted in (name.casefold(), plain(name), by_synonym):
            if wanted in known:
                return known[wanted]
        raise InputError(f"{where or 'facts'}: {self._unknown(name, column and column.fact)}")

    def _unknown(self, name: str, fact: str | None) -> str:
        others = sorted(self.names)
        if not others:
            return f"no facts of the models are known, so none is {name[:60]!r}: give --facts FILE"
        near = get_close_matches(plain(name)[:60], {plain(n): n for n in others}, 1)
        meant = fact if fact in others else next((n for n in others if plain(n) in near), None)
        guess = f"did you mean {meant}? " if meant else ""
        shown = ", ".join(others[:20]) + (", ..." if len(others) > 20 else "")
        return f"no model has a fact {name[:60]!r}: {guess}known are {shown}"

    def entries(self, fact: str) -> Texts:
        """The texts of a fact; of `model`, the names.

        Args:
            fact: as `find` gives it.
        """
        return tuple((m,) for m in self.models) if fact == MODEL else self.texts[fact]

    def value(self, fact: str, at: int) -> int | float | str | None:
        """What a cell shows of a model: a whole number, a number, a text, or None.

        Args:
            fact: as `find` gives it.
            at: place of the model.
        """
        if fact in self.numbers:
            number = float(self.numbers[fact][at])
            if math.isnan(number):
                return None
            return int(number) if number.is_integer() else number
        return ", ".join(self.entries(fact)[at]) or None

    def for_models(self, models: Sequence[str]) -> "FactTable":
        """The facts of these models, in this order; nothing is known of one that is new.

        Args:
            models: names, each once.
        """
        place = {name: i for i, name in enumerate(self.models)}
        at = [place.get(name, -1) for name in models]
        numbers = {fact: np.append(values, math.nan)[at] for fact, values in self.numbers.items()}
        texts = {
            fact: tuple(entries[i] if i >= 0 else () for i in at)
            for fact, entries in self.texts.items()
        }
        return replace(self, models=tuple(models), numbers=numbers, texts=texts)

    def merged(self, other: "FactTable") -> "FactTable":
        """These facts, and where one is not known, the other's; contradictions become notes.

        Args:
            other: of the same models.
        """
        numbers, texts = dict(self.numbers), dict(self.texts)
        notes = [*self.notes, *other.notes]
        for fact, values in other.numbers.items():
            if fact in texts:
                shown = tuple(() if math.isnan(x) else (f"{x:g}",) for x in values)
                texts[fact] = self._texts(fact, texts[fact], shown, other, notes)
            else:
                mine = numbers.get(fact, np.full(len(self.models), math.nan))
                numbers[fact] = self._numbers(fact, mine, values, other, notes)
        for fact, entries in other.texts.items():
            if fact in numbers:  # given in numbers first, so it is a number
                notes.append(
                    f"{fact} is text in {other.source}, a number elsewhere: the text is left out"
                )
                continue
            mine_texts = texts.get(fact, ((),) * len(self.models))
            texts[fact] = self._texts(fact, mine_texts, entries, other, notes)
        return replace(self, numbers=numbers, texts=texts, notes=tuple(dict.fromkeys(notes)))

    def _numbers(
        self,
        fact: str,
        mine: Float64[np.ndarray, " M"],
        theirs: Float64[np.ndarray, " M"],
        other: "FactTable",
        notes: list[str],
    ) -> Float64[np.ndarray, " M"]:
        differ = np.abs(mine - theirs) > SAME * np.maximum(np.abs(mine), np.abs(theirs))  # not NaN
        for at in np.flatnonzero(differ)[:1]:
            values = short_quantity(float(mine[at])), short_quantity(float(theirs[at]))
            notes.append(self._contradiction(fact, int(at), values, int(differ.sum()), other))
        return np.where(np.isnan(mine), theirs, mine)

    def _texts(
        self, fact: str, mine: Texts, theirs: Texts, other: "FactTable", notes: list[str]
    ) -> Texts:
        both = list(zip(mine, theirs, strict=True))
        if fact == "trained_on":  # more is known together
            return tuple(tuple(dict.fromkeys((*a, *b))) for a, b in both)
        differ = [i for i, (a, b) in enumerate(both) if a and b and _folded(a) != _folded(b)]
        for at in differ[:1]:
            values = ", ".join(mine[at]), ", ".join(theirs[at])
            notes.append(self._contradiction(fact, at, values, len(differ), other))
        return tuple(a or b for a, b in both)

    def _contradiction(
        self, fact: str, at: int, values: tuple[str, str], count: int, other: "FactTable"
    ) -> str:
        more = f", and of {count - 1} more models two values" if count > 1 else ""
        return (
            f"{fact} of {self.models[at]} is {values[0]} in {self.source or 'one table'} and "
            f"{values[1]} in {other.source or 'another'}{more}: the first counts"
        )

    @staticmethod
    def joined(models: Sequence[str], tables: Iterable["FactTable"]) -> "FactTable":
        """What several tables say of these models; of two values the first counts.

        Args:
            models: names, each once.
            tables: the most trusted first.
        """
        found: FactTable | None = None
        for table in tables:
            mine = table.for_models(models)
            found = mine if found is None else replace(found.merged(mine), source="earlier tables")
        return FactTable(tuple(models)) if found is None else found


def _folded(entries: Sequence[Any]) -> set[str]:
    return {fold(str(entry)) for entry in entries}


def fold(text: str) -> str:
    """A text as texts are compared: without case, one space between words.

    Args:
        text: any text.

    >>> fold(" Apache  License ")
    'apache license'
    """
    return " ".join(text.split()).casefold()
