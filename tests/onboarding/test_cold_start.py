"""A guess from the facts of models: ridge regression on their facts."""

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spider_jax.onboarding.cold_start import cold_start_weights

Facts = dict[str, dict[str, Any]]
KNOWN = ("a", "b", "c", "d", "e")
FACTS: Facts = {
    "a": {"params": 1e6, "family": "res", "source": "imagenet"},
    "b": {"params": 4e6, "family": "res", "source": "imagenet", "source_accuracy": 0.7},
    "c": {"params": 2e7, "family": "vit", "source": "faces", "source_accuracy": 0.8},
    "d": {"params": 3e6, "family": "vit", "source": "imagenet", "source_accuracy": 0.6},
    "e": {"family": "mobile", "source": "faces", "trained_for": "detection"},
}


def weights_of(known: Facts, **new: dict[str, Any]) -> NDArray[np.float64]:
    return cold_start_weights(known | new, tuple(known), tuple(new))[0]


def design(facts: Facts) -> NDArray[np.float64]:
    """Facts of these models by hand: params, source_accuracy, 3 families, 2 sources, detection."""
    logs = np.log([facts[m].get("params", 1) for m in KNOWN[:4]])
    seen = np.array([0.7, 0.8, 0.6])
    rows = []
    for said in facts.values():
        params, accuracy = said.get("params"), said.get("source_accuracy")
        row = [
            0.0 if params is None else (math.log(params) - logs.mean()) / logs.std(),
            0.0 if accuracy is None else (accuracy - seen.mean()) / seen.std(),
        ]
        for name, values, share in (
            ("family", ("mobile", "res", "vit"), (0.2, 0.4, 0.4)),
            ("source", ("faces", "imagenet"), (0.4, 0.6)),
            ("trained_for", ("detection",), (1.0,)),
        ):
            word = said.get(name)
            row += [float(word == v) for v in values] if word in values else share
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize(
    "new",
    [
        {"params": 5e6, "family": "vit", "source": "faces", "source_accuracy": 0.9},
        {"params": 5e6},
        {"family": "res", "trained_for": "detection"},
        {"family": "never seen", "source": "faces"},
    ],
)
def test_the_prediction_of_a_ridge_regression(new: dict[str, Any]) -> None:
    """Of any scores of the known models, by scikit-learn."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    table = design(FACTS | {"new": new})
    X, x = table[:5], table[5:]
    penalty = ((X - X.mean(0)) ** 2).sum() / 5
    scores = np.random.default_rng(0).normal(size=(5, 3))
    expected = linear_model.Ridge(alpha=penalty).fit(X, scores).predict(x)
    found = weights_of(FACTS, new=new)
    np.testing.assert_allclose(found @ scores, expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-12)


@pytest.mark.parametrize(
    "silent",
    [
        {},
        {"family": "never seen"},
        {"params": -1.0, "source_accuracy": math.nan},
        {"params": True, "family": None},
        {"params": "many", "colour": "red"},
    ],
)
def test_nothing_told_is_the_mean_of_all(silent: dict[str, Any]) -> None:
    weights, said = cold_start_weights(FACTS | {"new": silent}, KNOWN, ("new",))
    np.testing.assert_allclose(weights, np.full((1, 5), 0.2), atol=1e-12)
    assert said == ["nothing: the mean of all"]


def test_where_known_models_tell_nothing() -> None:
    weights, said = cold_start_weights(
        {"a": {}, "b": {}, "new": {"params": 5, "family": "x"}}, "ab", ["new"]
    )
    np.testing.assert_allclose(weights, [[0.5, 0.5]], atol=1e-12)
    assert said == ["nothing: the mean of all"]


def test_models_with_the_same_facts_count_most() -> None:
    weights = weights_of(FACTS, new=FACTS["c"])[0]
    assert weights.argmax() == KNOWN.index("c")
    assert weights[KNOWN.index("d")] > weights[KNOWN.index("a")]  # one more word in common


def test_what_was_used_is_told() -> None:
    facts = {"new": {"params": 3, "source": "faces", "family": "never seen", "trained_for": None}}
    _, said = cold_start_weights(FACTS | facts, KNOWN, ("new",))
    assert said == ["params, source"]
    number = {"new": {"family": 7}}  # a manifest may hold a number as a word
    known = FACTS | {"e": {"family": 7}}
    assert cold_start_weights(known | number, KNOWN, ("new",))[1] == ["family"]


def test_each_new_model_is_guessed_alone() -> None:
    new = {"x": FACTS["c"], "y": {"params": 1e9, "family": "res"}, "z": {}}
    together = weights_of(FACTS, **new)
    for row, (name, facts) in zip(together, new.items(), strict=True):
        np.testing.assert_allclose(row, weights_of(FACTS, **{name: facts})[0], atol=1e-12)
