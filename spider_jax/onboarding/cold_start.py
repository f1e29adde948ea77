"""A guess at a model without features, from the facts known of it: a weighted mean of known models.

The weights are those of a ridge regression on the facts, so that models with the same facts count
most. A model of which no fact is known gets the mean of all.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUMBERS = {"params": True, "source_accuracy": False}  # and whether the logarithm counts
WORDS = ("family", "source", "trained_for", "architecture")


def cold_start_weights(
    facts: Mapping[str, Mapping[str, Any]], known: Sequence[str], new: Sequence[str]
) -> tuple[NDArray[np.float64], list[str]]:
    """How much each known model counts for each new one.

    Ridge regression with intercept: w = 1/M + x (X^T X + r I)^-1 X^T, X [M, F] the known models'
    centred facts, x those of a new one, r = tr(X^T X)/M.

    Args:
        facts: by model, as in a manifest: "params", "source_accuracy" (numbers), "family",
            "source", "trained_for", "architecture" (words); what is missing says nothing.
        known: M names. new: n names.

    Returns:
        float64 [n, M], rows sum to 1, and for every new model the facts that were used.
    """
    columns = [_number(facts, known, new, name) for name in NUMBERS]
    columns += [_word(facts, known, new, name) for name in WORDS]
    X, x = np.split(np.concatenate(columns, axis=1), [len(known)])
    X, x = X - X.mean(0), x - X.mean(0)
    gram, M = X.T @ X, len(known)
    ridge = max(float(np.trace(gram)) / M, 1e-12)
    weights = 1 / M + x @ np.linalg.solve(gram + ridge * np.eye(len(gram)), X.T)
    said = [", ".join(_used(facts, known, name)) or "nothing: the mean of all" for name in new]
    return weights, said


def _used(facts: Mapping[str, Mapping[str, Any]], known: Sequence[str], model: str) -> list[str]:
    """Facts of a model that compare it with known ones."""
    mine = facts[model]
    numbers = [
        name
        for name in NUMBERS
        if _is_number(mine.get(name)) and any(_is_number(facts[other].get(name)) for other in known)
    ]
    words = [
        name
        for name in WORDS
        if (word := _word_of(mine, name)) and word in {_word_of(facts[m], name) for m in known}
    ]
    return numbers + words


def _is_number(value: Any) -> bool:
    sound = isinstance(value, int | float) and not isinstance(value, bool)
    return sound and math.isfinite(value) and value > 0


def _word_of(facts: Mapping[str, Any], name: str) -> str:
    """The word, "" for nothing."""
    value = facts.get(name)
    return "" if value is None else str(value)


def _number(
    facts: Mapping[str, Mapping[str, Any]], known: Sequence[str], new: Sequence[str], name: str
) -> NDArray[np.float64]:
    """[M + n, 1] in units of its deviation over the known models; 0, their mean, where unknown."""
    values = [facts[model].get(name) for model in (*known, *new)]
    there = np.array([_is_number(value) for value in values])
    if not there[: len(known)].any():
        return np.zeros((len(values), 0))
    numbers = np.array([v if ok else 1.0 for v, ok in zip(values, there, strict=True)], np.float64)
    numbers = np.log(numbers) if NUMBERS[name] else numbers
    of_known = numbers[: len(known)][there[: len(known)]]
    sd = of_known.std() or 1.0
    return np.where(there, (numbers - of_known.mean()) / sd, 0.0)[:, None]


def _word(
    facts: Mapping[str, Mapping[str, Any]], known: Sequence[str], new: Sequence[str], name: str
) -> NDArray[np.float64]:
    """[M + n, values that known models have] 1 where a model has the value; the mean of the known
    ones where no word is known that one of them has."""
    said = [_word_of(facts[model], name) for model in (*known, *new)]
    values = sorted({*said[: len(known)]} - {""})
    table = np.array([[float(word == value) for value in values] for word in said])
    there = np.array([word in values for word in said])
    if values:
        table[~there] = table[: len(known)][there[: len(known)]].mean(0)
    return table
