"""The table of past results: holes, growth, fairness of the mean, and its file."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spider_jax.records.performance import PastResults, masked_mean

NAN = float("nan")


def table(accuracies: list[list[float]], epochs: int = 2) -> PastResults:
    A = np.array(accuracies, np.float64)
    models, tasks = (tuple(f"{c}{i}" for i in range(n)) for c, n in zip("mt", A.shape, strict=True))
    curves = np.stack([A - 0.25, A - 0.125][:epochs], axis=2)
    return PastResults(models, tasks, A, curves, np.full(len(tasks), 100, np.int64))


def test_from_accuracies_has_holes_where_nothing_is_known() -> None:
    found = PastResults.from_accuracies({("b", "x"): 0.5, ("a", "y"): 0.25})
    assert (found.models, found.tasks) == (("a", "b"), ("x", "y"))
    np.testing.assert_array_equal(found.accuracies, [[NAN, 0.25], [0.5, NAN]])
    assert found.curves.shape == (2, 2, 0)


def test_a_result_makes_room_and_changes_nothing_else() -> None:
    before = table([[0.5, 0.75]])
    after = before.with_result("new", "t2", accuracy=0.25, curve=[0.125, 0.25, 0.5])
    assert (after.models, after.tasks) == (("m0", "new"), ("t0", "t1", "t2"))
    np.testing.assert_array_equal(after.accuracies, [[0.5, 0.75, NAN], [NAN, NAN, 0.25]])
    np.testing.assert_array_equal(after.curves[0, 0], [0.25, 0.375, NAN])
    np.testing.assert_array_equal(after.curves[1, 2], [0.125, 0.25, 0.5])
    assert after.validation_rows.tolist() == [100, 100, 0]
    assert before.models == ("m0",)


def test_the_newer_result_wins_and_holes_do_not() -> None:
    old = table([[0.5, 0.75]])
    new = old.with_result("m0", "t0", accuracy=0.25).with_result("m0", "t1", curve=[0.5])
    np.testing.assert_array_equal(new.accuracies, [[0.25, 0.75]])
    np.testing.assert_array_equal(new.curves[0], [[0.25, 0.375], [0.5, NAN]])


def test_models_and_tasks_are_chosen_by_name() -> None:
    known = table([[0.5, 0.75], [0.25, 1.0]])
    chosen = known.for_models(["m1", "unknown"])
    np.testing.assert_array_equal(chosen.accuracies, [[0.25, 1.0], [NAN, NAN]])
    assert known.without_task("t0").tasks == ("t1",)
    assert known.only_tasks(["t0", "unknown"]).tasks == ("t0",)
    assert known.without_task("unknown").tasks == known.tasks


def test_the_mean_without_holes_is_the_mean() -> None:
    A = np.random.default_rng(0).uniform(size=(5, 4))
    np.testing.assert_allclose(table(A.tolist()).mean_accuracies(), A.mean(1), rtol=1e-14)


def test_the_mean_does_not_punish_who_ran_on_hard_tasks() -> None:
    # task means over who ran there .75 and .25; m1 ran on the hard one only, m2 nowhere
    found = table([[0.75, 0.125], [NAN, 0.375], [NAN, NAN]]).mean_accuracies()
    # m0: (0 - .125)/2 + .5, m1: .125 + .5
    np.testing.assert_allclose(found, [0.4375, 0.625, NAN])


def test_masked_mean_of_nothing_is_unknown() -> None:
    np.testing.assert_array_equal(masked_mean(np.array([[NAN, NAN], [1.0, NAN]]), 1), [NAN, 1.0])


def test_saved_and_read_back(tmp_path: Path) -> None:
    known = table([[0.5, NAN], [0.1, 1.0]]).with_result("m3", "t0", curve=[0.5, 0.25, 0.125])
    known.save(tmp_path / "past.json")
    found = PastResults.load(tmp_path / "past.json")
    assert (found.models, found.tasks) == (known.models, known.tasks)
    np.testing.assert_array_equal(found.accuracies, known.accuracies)
    np.testing.assert_array_equal(found.curves, known.curves)
    np.testing.assert_array_equal(found.validation_rows, known.validation_rows)


def test_an_empty_table_is_saved_and_read_back(tmp_path: Path) -> None:
    PastResults.from_accuracies({}).save(tmp_path / "past.json")
    found = PastResults.load(tmp_path / "past.json").with_result("a", "x", accuracy=0.5)
    np.testing.assert_array_equal(found.accuracies, [[0.5]])


def test_a_damaged_file_is_refused(tmp_path: Path, refused: Callable[..., object]) -> None:
    table([[0.5, 1.0]]).save(tmp_path / "past.json")
    text = (tmp_path / "past.json").read_text()
    (tmp_path / "past.json").write_text(text.replace('"validation_rows"', '"rows"'))
    with refused("past.json", "validation_rows"):  # type: ignore[attr-defined]
        PastResults.load(tmp_path / "past.json")


@pytest.mark.parametrize("shape", [(2, 3), (3, 2)])
def test_shapes_that_do_not_fit_are_refused(
    shape: tuple[int, int], refused: Callable[..., object]
) -> None:
    rows = np.zeros(2, np.int64)
    with refused("M=2", "T=2"):  # type: ignore[attr-defined]
        PastResults(("a", "b"), ("x", "y"), np.zeros(shape), np.zeros((2, 2, 1)), rows)
