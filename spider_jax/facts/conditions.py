"""Conditions on facts, decided for all models at once with three values.

A comparison with a fact that is not known is unknown. As Kleene's logic has it, "and" is the least
of its parts, "or" the largest and "not" the mirror image, in the order false < unknown < true: so
what is not known counts only where it decides.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int8

from spider_jax.errors import InputError
from spider_jax.facts.fact_table import FactTable, fold
from spider_jax.facts.quantities import read_quantity

FALSE, UNKNOWN, TRUE = range(3)
Decided = Int8[np.ndarray, " M"]
COMPARE: dict[str, Callable[..., Bool[np.ndarray, " M"]]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}


class Word(NamedTuple):
    """A word of an expression.

    Attributes:
        text: without quotes.
        place: a few words for an error: where it stands.
    """

    text: str
    place: str


@dataclass(frozen=True)
class Compare:
    """<fact> <operator> <value>."""

    fact: Word
    operator: str
    value: Word


@dataclass(frozen=True)
class Among:
    """<fact> in (<value>, ...)."""

    fact: Word
    values: tuple[Word, ...]


@dataclass(frozen=True)
class Contains:
    """<fact> contains <value>: in a text, or in an entry of a list."""

    fact: Word
    value: Word


@dataclass(frozen=True)
class Known:
    """known(<fact>)."""

    fact: Word


@dataclass(frozen=True)
class Not:
    """not <condition>."""

    part: "Condition"


@dataclass(frozen=True)
class AllOf:
    """<condition> and <condition> ..."""

    parts: tuple["Condition", ...]


@dataclass(frozen=True)
class AnyOf:
    """<condition> or <condition> ..."""

    parts: tuple["Condition", ...]


Condition = Compare | Among | Contains | Known | Not | AllOf | AnyOf


def decide(condition: Condition, facts: FactTable) -> Decided:
    """FALSE, UNKNOWN or TRUE for every model.

    Args:
        condition: as it was read.
        facts: of the models.

    Raises:
        InputError: a fact that no model has, or a comparison that its kind does not have.
    """
    match condition:
        case Not(part):
            return np.asarray(TRUE - decide(part, facts), np.int8)
        case AllOf(parts):
            return np.asarray(np.min([decide(part, facts) for part in parts], axis=0), np.int8)
        case AnyOf(parts):
            return np.asarray(np.max([decide(part, facts) for part in parts], axis=0), np.int8)
        case Known(word):
            fact = facts.find(word.text, word.place)
            return np.where(_known(facts, fact), TRUE, FALSE).astype(np.int8)
    fact = facts.find(condition.fact.text, condition.fact.place)
    if fact in facts.numbers:
        holds = _number_holds(condition, facts, fact)
    else:
        holds = _text_holds(condition, facts, fact)
    return np.where(_known(facts, fact), np.where(holds, TRUE, FALSE), UNKNOWN).astype(np.int8)


def facts_of(condition: Condition) -> tuple[Word, ...]:
    """The facts that a condition speaks of.

    Args:
        condition: as it was read.
    """
    match condition:
        case Not(part):
            return facts_of(part)
        case AllOf(parts) | AnyOf(parts):
            return tuple(word for part in parts for word in facts_of(part))
        case _:
            return (condition.fact,)


def _known(facts: FactTable, fact: str) -> Bool[np.ndarray, " M"]:
    if fact in facts.numbers:
        return np.asarray(~np.isnan(facts.numbers[fact]))
    return np.array([bool(entries) for entries in facts.entries(fact)], bool)


def _number_holds(
    condition: Compare | Among | Contains, facts: FactTable, fact: str
) -> Bool[np.ndarray, " M"]:
    values = facts.numbers[fact]
    match condition:
        case Compare(_, operator, value):
            return COMPARE[operator](values, _number(fact, value))
        case Among(_, wanted):
            return np.isin(values, [_number(fact, value) for value in wanted])
        case Contains(word, _):
            raise InputError(f"{word.place}: {fact} is a number, ~ and contains look into texts")


def _number(fact: str, value: Word) -> float:
    found = read_quantity(value.text)
    if found is None:
        raise InputError(
            f"{value.place}: {fact} is a number, got {value.text[:60]!r}: write one such as 50e6, "
            "50M or 7B"
        )
    return found


def _text_holds(
    condition: Compare | Among | Contains, facts: FactTable, fact: str
) -> Bool[np.ndarray, " M"]:
    match condition:
        case Compare(word, operator, value):
            if operator not in ("==", "!="):
                raise InputError(
                    f"{word.place}: {fact} is text, {operator} compares numbers: use =, !=, in or ~"
                )
            equal = _each(facts, fact, {fold(value.text)}.__contains__)
            return equal if operator == "==" else ~equal
        case Among(_, values):
            return _each(facts, fact, {fold(value.text) for value in values}.__contains__)
        case Contains(_, value):
            part = fold(value.text)
            return _each(facts, fact, lambda text: part in text)


def _each(facts: FactTable, fact: str, holds: Callable[[str], bool]) -> Bool[np.ndarray, " M"]:
    """Whether it holds for one of a model's entries; each different text is looked at once."""
    seen: dict[str, bool] = {}

    def of(text: str) -> bool:
        if text not in seen:
            seen[text] = holds(fold(text))
        return seen[text]

    return np.array([any(map(of, entries)) for entries in facts.entries(fact)], bool)
