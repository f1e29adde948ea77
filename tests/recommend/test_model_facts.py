"""How alike models are in their facts."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity

from spider_jax.recommend.model_facts import fact_factors


def alike(models, facts, **more):
    found = fact_factors(models, facts, **more)
    assert (np.linalg.norm(found, axis=1) <= 1 + 1e-12).all()
    return found @ found.T


def test_few_models_have_the_cosines_of_their_shared_words():
    models = ["bert small", "bert large", "gpt small", "gpt large", "gpt one"]
    tokens = [name.split() for name in models]
    for row, own in zip(tokens, "ababb", strict=True):
        row.append(f"by={own}")
    given = TfidfVectorizer(analyzer=lambda row: row, sublinear_tf=True, min_df=2)
    expected = cosine_similarity(given.fit_transform(tokens).toarray())
    found = alike(models, {"by": list("ababb")}, factors=16)
    np.testing.assert_allclose(found, expected, atol=0.2)  # the last direction is left out
    assert np.abs(found - expected).mean() < 0.06


def test_sizes_that_are_near_are_alike():
    models = [f"m{i}" for i in range(10)]
    found = alike(models, {"size": [str(10 ** (3 + i / 3)) for i in range(10)]})
    assert found[4, 5] > 0.3 > 0.1 > abs(found[4, 8])


def test_numbers_that_are_none_are_not_known():
    models = [f"m{i}" for i in range(12)]
    sizes = [*(str(10.0 ** (3 + i / 3)) for i in range(9)), "nan", "inf", "-3"]
    found = fact_factors(models, {"size": sizes})
    np.testing.assert_allclose(found[9:], 0, atol=1e-9)
    assert (np.linalg.norm(found[1:8], axis=1) > 0.3).all()


def test_a_model_without_facts_is_like_none():
    facts = {"by": ["a", "a", "b", "b", ""], "base": ["x", "y", "x", "y", ""]}
    found = alike(["p", "q", "r", "s", "t"], facts)
    np.testing.assert_allclose(found[4], 0, atol=1e-9)


@pytest.mark.parametrize(
    ("models", "facts"),
    [
        (["p"], {}),
        (["p", "q"], {}),
        (["p", "q", "r"], {"size": ["", "", ""], "by": ["", "", ""]}),
        (["p", "q", "r"], {"by": ["a", "a", "a"]}),
        (["—", "☆"], {"by": ["…", "…"]}),
    ],
)
def test_nothing_that_tells_models_apart_has_no_factors(models, facts):
    assert fact_factors(models, facts).shape == (len(models), 0)


def test_models_that_share_all_their_words_are_the_same():
    found = alike([f"llama chat {i}" for i in "abcd"], {})
    np.testing.assert_allclose(found, 1, atol=1e-9)
