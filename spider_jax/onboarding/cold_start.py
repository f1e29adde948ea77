"""A guess at a model without features, from the facts known of it: a weighted mean of known models.

The weights are those of a ridge regression on the facts, so models with the same facts count most.
A model of which no fact is known gets the mean of all.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TypeGuard

import numpy as np
from jaxtyping import Float64
from numpy.typing import NDArray

NUMBERS = {"params": True, "source_accuracy": False}  # and whether its logarithm is taken
WORDS = ("family", "source", "trained_for", "architecture")
Facts = Mapping[str, Mapping[str, object]]  # of models by name, each by the fact's name


def cold_start_weights(
    facts: Facts, known: Sequence[str], new: Sequence[str]
) -> tuple[Float64[np.ndarray, "n M"], list[str]]:
    """Weigh the known models for each new one, by the facts that they share.

    Ridge regression with intercept,

        w = 1/M + x (X^T X + r I)^-1 X^T,    r = tr(X^T X)/M,

    X [M, F] the known models' centred facts, x those of a new one.

    Args:
        facts: by model, as in a manifest: "params", "source_accuracy" (numbers), "family",
            "source", "trained_for", "architecture" (words). A fact that is missing has no effect.
        known: M names.
        new: n names.

    Returns:
        How much each known model counts for each new one, rows sum to 1; and for every new model
        the facts that were used, as text.
    """
    columns = [_number(facts, known, new, name) for name in NUMBERS]
    columns += [_word(facts, known, new, name) for name in WORDS]
    X, x = np.split(np.concatenate(columns, axis=1), [len(known)])
    X, x = X - X.mean(0), x - X.mean(0)
    gram, M = X.T @ X, len(known)
    ridge = max(float(np.trace(gram)) / M, 1e-12)
    weights = 1 / M + x @ np.linalg.solve(gram + ridge * np.eye(len(gram)), X.T)
    used = [", ".join(_used(facts, known, name)) or "nothing: the mean of all" for name in new]
    return weights, used


def _used(facts: Facts, known: Sequence[str], model: str) -> list[str]:
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


def _is_number(value: object) -> TypeGuard[int | float]:
    """Whether a fact is a number above 0: other values count as unknown."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return math.isfinite(value) and value > 0


def _word_of(facts: Mapping[str, object], name: str) -> str:
    """The word, "" for nothing."""
    value = facts.get(name)
    return "" if value is None else str(value)


def _number(
    facts: Facts, known: Sequence[str], new: Sequence[str], name: str
) -> NDArray[np.float64]:
    """[M + n, 1] in units of its deviation over the known models; 0, their mean, where unknown."""
    values = [facts[model].get(name) for model in (*known, *new)]
    there = np.array([_is_number(value) for value in values])
    if not there[: len(known)].any():
        return np.zeros((len(values), 0))
    numbers = np.array([v if _is_number(v) else 1.0 for v in values], np.float64)
    numbers = np.log(numbers) if NUMBERS[name] else numbers
    of_known = numbers[: len(known)][there[: len(known)]]
    sd = of_known.std() or 1.0
    return np.where(there, (numbers - of_known.mean()) / sd, 0.0)[:, None]


def _word(facts: Facts, known: Sequence[str], new: Sequence[str], name: str) -> NDArray[np.float64]:
    """[M + n, values that known models have]: 1 where a model has the value.

    A model without a word, or with one that no known model has, gets the known models' mean.
    """
    words = [_word_of(facts[model], name) for model in (*known, *new)]
    values = sorted({*words[: len(known)]} - {""})
    table = np.array([[float(word == value) for value in values] for word in words])
    there = np.array([word in values for word in words])
    if values:
        table[~there] = table[: len(known)][there[: len(known)]].mean(0)
    return table
