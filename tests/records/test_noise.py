"""Spreads measured on benchmark tasks, against arithmetic and a plain NumPy form."""

import numpy as np

from spider_jax.records.noise import (
    ValidationNoise,
    accuracy_variance,
    best_so_far,
    measure_spread,
    usual_noise,
    with_usual_noise,
)
from spider_jax.records.performance import PastResults

NAN = float("nan")


def past(A: np.ndarray, V: np.ndarray, rows: list[int]) -> PastResults:
    names = [tuple(f"{c}{i}" for i in range(n)) for c, n in zip("mt", A.shape, strict=True)]
    return PastResults(names[0], names[1], A, V, np.array(rows, np.int64))


def test_the_spreads_are_those_of_the_formulas() -> None:
    rng = np.random.default_rng(0)
    A, V = rng.uniform(size=(6, 5)), rng.uniform(size=(6, 5, 3))
    found = measure_spread(past(A, V, [500, 100, 500, 500, 0]))
    centred = A - A.mean(0)
    between = [np.var(centred[:, t] - np.delete(centred, t, 1).mean(1), ddof=1) for t in range(5)]
    assert found.between == np.median(between) or abs(found.between - np.median(between)) < 1e-15
    for e in range(3):
        gaps = V[:, :, : e + 1].max(2) - A
        wanted = [np.var(gaps[:, t], ddof=1) for t in (0, 2, 3, 4)]  # not the one of 100 rows
        np.testing.assert_allclose(found.early_variances(e + 1), wanted, rtol=1e-12)
    np.testing.assert_allclose(list(found.prior.values()), A.mean(1), rtol=1e-12)


def test_small_validation_sets_count_where_there_are_no_others() -> None:
    A = np.array([[0.5, 0.5], [0.75, 0.5]])
    V = np.array([[[0.5], [0.25]], [[0.5], [0.5]]])
    found = measure_spread(past(A, V, [50, 50]))
    sampling = [0.5 * 0.5 / 50, 0.375 * 0.625 / 50]
    np.testing.assert_allclose(found.early_variances(1), 0.03125 - np.array(sampling))
    found = measure_spread(past(A, V, [5, 50]))  # all of it may be sampling
    np.testing.assert_allclose(found.early_variances(1), [0, 0.03125 - sampling[1]])


def test_beyond_the_known_epochs_the_last_one_counts() -> None:
    A = np.array([[0.5], [0.75]])
    found = measure_spread(past(A, np.array([[[0.5, NAN]], [[0.5, NAN]]]), [0]))
    assert found.early_variances(2).tolist() == found.early_variances(1).tolist() == [0.03125]


def test_nothing_known_is_no_noise_and_no_prior() -> None:
    found = measure_spread(PastResults.from_accuracies({}).for_models(["a", "b"]))
    assert found.prior == {"a": 0.0, "b": 0.0}
    assert (found.between, found.early_variances(1).tolist()) == (0.0, [0.0])


def test_a_new_model_has_the_mean_prior() -> None:
    known = PastResults.from_accuracies({("a", "x"): 0.5, ("b", "x"): 0.75})
    assert measure_spread(known.for_models(["a", "b", "new"])).prior["new"] == 0.625


def test_the_kept_checkpoint_is_the_best_so_far() -> None:
    found = best_so_far(np.array([[0.5, 0.25, 0.75, NAN], [NAN, NAN, NAN, NAN]]))
    np.testing.assert_array_equal(found, [[0.5, 0.5, 0.75, NAN], [NAN] * 4])


def test_sampling_variance_of_a_share() -> None:
    assert accuracy_variance(0.5, 100) == 0.0025
    np.testing.assert_allclose(accuracy_variance(1.0, 100), 0.05 * 0.95 / 100)


def test_where_no_curve_is_known_the_usual_noise_stands_in() -> None:
    found = with_usual_noise(ValidationNoise({"a": 0.5}, 0.01, ((), ())))
    np.testing.assert_allclose(found.early_variances(1), 0.01 * usual_noise(1))
    np.testing.assert_allclose(found.early_variances(9), 0.01 * usual_noise(5))
    assert (np.diff([usual_noise(e) for e in range(1, 6)], axis=0) < 0).all()
    known = ValidationNoise({"a": 0.5}, 0.01, ((0.2,),))
    assert with_usual_noise(known) is known


def test_a_model_that_is_not_known_has_the_mean_of_those_beside_it() -> None:
    noise = ValidationNoise({"a": 0.5, "b": 0.75, "far": 9.0}, 0.0, ())
    assert noise.means(["a", "new", "b"]).tolist() == [0.5, 0.625, 0.75]
    assert noise.means(["new"]).tolist() == [0.0]
