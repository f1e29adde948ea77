"""What is learned on past tasks: factors where they pay, doubts where sureness fails, holes."""

import numpy as np

from spider_jax.records.performance import PastResults
from spider_jax.selection.learn_knowledge import WIDENINGS, learn_knowledge
from spider_jax.selection.model_covariance import alike, forms

NAN = float("nan")
M, T = 12, 24
NAMES, TASKS = tuple(f"m{i:02d}" for i in range(M)), tuple(f"t{i:02d}" for i in range(T))


def drawn(families: float, errors: np.ndarray, seed: int = 0) -> PastResults:
    """Results whose even and odd models share a part, and curves of the given errors by task."""
    rng = np.random.default_rng(seed)
    side = np.where(np.arange(M) % 2, 1.0, -1.0)[:, None]
    shared = np.sqrt(families) * side * rng.normal(size=(1, T))
    own = np.sqrt(1 - families) * rng.normal(size=(M, T))
    A = 0.6 + 0.05 * rng.normal(size=(M, 1)) + 0.05 * (shared + own)
    V = A[..., None] + 0.05 * errors[None, :, None] * rng.normal(size=(M, T, 1))
    return PastResults(NAMES, TASKS, A, np.repeat(V, 3, 2), np.full(T, 5000, np.int64))


def test_factors_are_kept_where_they_make_results_likelier() -> None:
    found = learn_knowledge(drawn(0.8, np.full(T, 3.0)))
    L = np.array([found.loadings[name] for name in NAMES])
    between = (L @ L.T)[0]
    assert (between[2::2] > 0.2).all()
    assert (between[1::2] < -0.2).all()


def test_independent_models_have_no_factor() -> None:
    for seed in range(3):
        found = learn_knowledge(drawn(0.0, np.full(T, 3.0), seed))
        assert found.loadings == {}
        assert set(found.own.values()) == {1.0}


def typical(past: PastResults) -> float:
    found = learn_knowledge(past).widenings
    assert [factor for factor, _ in found] == list(WIDENINGS)
    assert abs(sum(weight for _, weight in found) - 1) < 1e-12
    return sum(factor * weight for factor, weight in found)


def test_sureness_that_failed_on_past_tasks_is_widened() -> None:
    past = drawn(0.0, np.full(T, 1.0))
    rng = np.random.default_rng(0)
    turned = past.accuracies.copy()
    for t in range(0, T, 4):  # on every fourth task neither past nor scores tell the results
        turned[:, t] = rng.permutation(turned[:, t])
    unlike = PastResults(NAMES, TASKS, turned, past.curves, past.validation_rows)
    assert typical(unlike) > typical(past)


def test_without_curves_no_widening_is_preferred() -> None:
    found = learn_knowledge(PastResults.from_accuracies({("a", "x"): 0.5, ("b", "x"): 0.7}))
    assert found.widenings == tuple((factor, 1 / len(WIDENINGS)) for factor in WIDENINGS)
    assert found.loadings == {}
    nothing = learn_knowledge(PastResults.from_accuracies({}).for_models(["a"]))
    assert (nothing.own, nothing.unknown) == ({}, 2.0)


def test_few_results_are_less_sure_and_none_the_least() -> None:
    past = drawn(0.0, np.full(T, 1.0))
    A = past.accuracies.copy()
    A[0, 3:], A[1, :] = NAN, NAN
    holes = PastResults(NAMES, TASKS, A, past.curves, past.validation_rows)
    found = alike(holes)
    assert found.own["m02"] == 1
    np.testing.assert_allclose(found.own["m00"], min((1 + 1 / 3) / (1 + 1 / T), found.unknown))
    assert "m01" not in found.own
    others = holes.mean_accuracies()[[0, *range(2, M)]]
    assert found.unknown > 1 + 0.5 * others.var() / 0.0025  # tau^2 is .0025


def test_holes_keep_variances_and_permuting_models_permutes() -> None:
    rng = np.random.default_rng(1)
    past = drawn(0.8, np.full(T, 3.0))
    A = np.where(rng.uniform(size=(M, T)) < 0.3, NAN, past.accuracies)
    holes = PastResults(NAMES, TASKS, A, past.curves, past.validation_rows)
    for form in forms(holes)[1:]:
        variances = [
            sum(x * x for x in form.loadings.get(name, ())) + form.own[name] for name in NAMES
        ]
        assert 0.7 < np.mean(variances) < 1.5
    order = rng.permutation(M)
    turned = holes.for_models([NAMES[i] for i in order])
    for one, other in zip(forms(holes), forms(turned), strict=True):
        for name in NAMES:
            np.testing.assert_allclose(other.own[name], one.own[name], rtol=1e-9)
        if one.loadings:
            L, R = (np.array([form.loadings[name] for name in NAMES]) for form in (one, other))
            np.testing.assert_allclose(R @ R.T, L @ L.T, atol=1e-9)
    assert forms(holes)[2].loadings
    pairs = zip(learn_knowledge(holes).widenings, learn_knowledge(turned).widenings, strict=True)
    for mine, theirs in pairs:
        np.testing.assert_allclose(theirs, mine, rtol=1e-6)
