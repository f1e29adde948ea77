"""How alike tasks are in words, beside scikit-learn's cosines of dense rows."""

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity

from spider_jax.recommend.words import ALL, NAME, TaskWords, words_of

TASKS = ("legal one", "legal two", "medical one", "birds")
FACTS = {
    "type": ("court", "court", "", "image"),
    "description": ("short texts of courts", "long texts", "texts of patients", ""),
    "constant": ("x",) * 4,
}


def field(words, name):
    return [one.name for one in words.fields].index(name)


def dense_cosines(texts):
    rows = TfidfVectorizer(analyzer=words_of, sublinear_tf=True).fit_transform(texts).toarray()
    return cosine_similarity(rows)


def test_cosines_of_every_field():
    words = TaskWords.of(TASKS, FACTS)
    assert [one.name for one in words.fields] == [ALL, NAME, "type", "description"]
    found = words.of_tasks([3, 0, 2])
    every = [" ".join([n, *(FACTS[c][i] for c in FACTS)]) for i, n in enumerate(TASKS)]
    np.testing.assert_allclose(found[0], dense_cosines(every)[[3, 0, 2]], atol=1e-12)
    np.testing.assert_allclose(found[1], dense_cosines(TASKS)[[3, 0, 2]], atol=1e-12)


def test_an_empty_entry_is_as_like_any_other_as_usual():
    words = TaskWords.of(TASKS, FACTS)
    at = field(words, "description")
    cosines = dense_cosines(FACTS["description"])[:3, :3]
    usual = cosines[np.triu_indices(3, 1)].mean()
    found = words.of_tasks(range(4))[at]
    np.testing.assert_allclose(found[:3, :3], cosines, atol=1e-12)
    np.testing.assert_allclose(found[3], usual, atol=1e-12)
    np.testing.assert_allclose(found[:, 3], usual, atol=1e-12)


def test_a_description_fills_the_fields_that_it_names():
    words = TaskWords.of(TASKS, FACTS)
    found = words.of_description("Texts of a COURT, short")
    as_said = words.of_description(
        "Texts of a COURT, short", {"type": "court", "description": "Texts of a COURT, short"}
    )
    np.testing.assert_allclose(
        found[field(words, "type")], words.of_tasks([0])[field(words, "type"), 0]
    )
    np.testing.assert_allclose(found[1:], as_said[1:], atol=1e-12)
    assert found[field(words, "description")].argmax() == 0


def test_nothing_described_is_as_like_any_task():
    words = TaskWords.of(TASKS, FACTS)
    found = words.of_description()
    expected = [one.usual for one in words.fields]
    np.testing.assert_allclose(found, np.array(expected)[:, None] * np.ones(4))


def test_columns_may_be_called_as_fields_of_our_own():
    facts = {"name": ("a", "b", "b", "c"), "all words": ("x", "y", "y", "y")}
    words = TaskWords.of(TASKS, facts)
    assert [one.name for one in words.fields] == [ALL, NAME, "name", "all words"]
    for found in words.of_tasks(range(4)):
        np.testing.assert_allclose(np.diagonal(found), 1)
    np.testing.assert_allclose(words.of_tasks([1])[2, 0], [0, 1, 1, 0], atol=1e-12)


def test_tasks_without_any_word():
    words = TaskWords.of(("—", "☆"), {})
    assert words.fields == ()
    assert words.of_tasks([1, 0, 1]).shape == (0, 3, 2)
    assert words.of_description("legal").shape == (0, 2)
    assert TaskWords.of(TASKS, FACTS).of_tasks([]).shape == (4, 0, 4)


def test_a_huge_text_is_but_its_words():
    words = TaskWords.of(TASKS, FACTS)
    long, short = words.of_description("legal " * 100_000), words.of_description("legal")
    np.testing.assert_allclose(long[:2], short[:2], atol=1e-12)
