"""How alike two models are in what is known of them: words of their facts, and their size.

Each model is a row of TF-IDF words (of its name and of every fact that others share) and of soft
bins of its numbers on a logarithmic scale; the rows are brought to F factors by a truncated SVD.
K_facts = P P^T + diag(1 - |p|^2) has a unit diagonal. A model without any record has its place by
these alone.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64

from spider_jax.recommend.words import words_of

FACTORS = 16
BINS_A_DECADE = 3
MOSTLY = 0.6  # share of the known entries that must be numbers for a column of numbers


def fact_factors(
    models: Sequence[str], facts: Mapping[str, Sequence[str]], factors: int = FACTORS
) -> Float64[np.ndarray, "M F"]:
    """P, see the module.

    Args:
        models: names.
        facts: column -> one text per model, "" where not known.
        factors: F at most.

    Returns:
        Rows of length at most 1; F = 0 where models share no word.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer  # slow to import
    from sklearn.utils.extmath import randomized_svd

    M = len(models)
    tokens: list[list[str]] = [words_of(name) for name in models]
    for column, texts in facts.items():
        bins = _bins(texts)
        for mine, text, own in zip(tokens, texts, bins or [[]] * M, strict=True):
            found = own if bins is not None else words_of(text)[:20]
            mine += [f"{column}={word}" for word in found]
    vectorizer = TfidfVectorizer(analyzer=lambda row: row, sublinear_tf=True, min_df=2)
    try:
        rows = vectorizer.fit_transform(tokens)
    except ValueError:  # no word that two models share
        return np.zeros((M, 0))
    most = min(factors, min(rows.shape) - 1)
    if most < 1:
        return np.zeros((M, 0))
    left, sizes, _ = randomized_svd(rows, most, random_state=0)
    found = left * sizes
    length = np.linalg.norm(found, axis=1, keepdims=True)
    return np.ascontiguousarray(found / np.maximum(length, 1.0), np.float64)


def _bins(texts: Sequence[str]) -> list[list[str]] | None:
    """Soft bins of a column of positive numbers; None for a column of words."""
    numbers = [_number(text) for text in texts]
    known = sum(x is not None for x in numbers)
    if known < MOSTLY * max(sum(bool(t) for t in texts), 1) or len(set(numbers)) < 8:
        return None
    out = []
    for x in numbers:
        at = None if x is None or x <= 0 else int(np.floor(BINS_A_DECADE * np.log10(x)))
        out.append([] if at is None else [f"bin{at}", f"bin{at + 1}"])  # neighbours share one
    return out


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if np.isfinite(found) else None
