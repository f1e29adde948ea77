"""A guess at a model without features, from what is told of it: a weighted mean of known models.

The weights are those of a ridge regression on the facts, so that models with the same facts count
most. A model of which nothing is told gets the mean of all.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUMBERS = {"params": True, "source_accuracy": False}  # and whether the logarithm counts
WORDS = ("family", "source", "trained_for", "architecture")


def guess(
    facts: Mapping[str, Mapping[str, Any]], known: Sequence[str], new: Sequence[str]
) -> tuple[NDArray[np.float64], list[str]]:
    """How much each known model counts for each new one.

    Ridge regression with intercept, in its dual form: w = 1/M + k (K + r I)^-1, K the centred inner
    products of the known models' facts, k those of a new one, r the mean eigenvalue of K.

    Args:
        facts: by model, as in a manifest: "params", "source_accuracy" (numbers), "family",
            "source", "trained_for", "architecture" (words); what is missing says nothing.
        known: M names. new: n names.

    Returns:
        float64 [n, M], rows sum to 1, and for every new model the facts that were used.
    """
    columns = [_number(facts, known, new, name) for name in NUMBERS]
    columns += [_word(facts, known, new, name) for name in WORDS]
    table = np.concatenate([np.zeros((len(known) + len(new), 1)), *columns], axis=1)
    M = len(known)
    table -= table[:M].mean(0)
    gram = table[:M] @ table[:M].T
    ridge = max(float(np.trace(gram)) / M, 1e-12)
    cross = table[M:] @ table[:M].T
    dual = np.linalg.solve(gram + ridge * np.eye(M), np.eye(M) - 1 / M)
    told = [", ".join(_used(facts, known, name)) or "nothing: the mean of all" for name in new]
    silent = np.array([not _used(facts, known, name) for name in new])
    cross[silent] = 0
    return 1 / M + cross @ dual, told


def _used(facts: Mapping[str, Mapping[str, Any]], known: Sequence[str], model: str) -> list[str]:
    """Facts of a model that compare it with known ones."""
    numbers = [
        name
        for name in NUMBERS
        if _is_number(facts[model].get(name))
        and any(_is_number(facts[other].get(name)) for other in known)
    ]
    words = [
        name
        for name in WORDS
        if facts[model].get(name) is not None
        and facts[model][name] in [facts[other].get(name) for other in known]
    ]
    return numbers + words


def _is_number(value: Any) -> bool:
    sound = isinstance(value, int | float) and not isinstance(value, bool)
    return sound and math.isfinite(value) and value > 0


def _number(
    facts: Mapping[str, Mapping[str, Any]], known: Sequence[str], new: Sequence[str], name: str
) -> NDArray[np.float64]:
    """[M + n, 1] in units of its deviation over the known models; 0 where it is not told."""
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
    """[M + n, values] 1 where a model has the value; values that known models have."""
    values = sorted({str(v) for m in known if (v := facts[m].get(name)) is not None})
    told = [facts[model].get(name) for model in (*known, *new)]
    return np.array([[float(v is not None and str(v) == value) for value in values] for v in told])
