"""Records in memory: parts, joins, rows, frames, dense forms."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spider_jax.records.table import Records

NAN = float("nan")
Rows = dict[tuple[str, str], float]
tables = st.dictionaries(
    st.tuples(st.sampled_from("abcd"), st.sampled_from("uvwxyz")), st.floats(-1e9, 1e9), max_size=12
)


def known(records: Records) -> Rows:
    everything = records.whole()
    return {(m, t): v for m, t, v, _ in everything.rows(np.arange(len(everything)))}


def of(rows: Rows) -> Records:
    return Records.from_rows((m, t, v) for (m, t), v in rows.items())


@given(tables, tables)
def test_merged_is_the_union_and_the_first_wins(first: Rows, second: Rows) -> None:
    first = {pair: 1e3 + abs(v) for pair, v in first.items()}  # no table of shares
    joined = of(first).merged(of(second))
    assert known(joined) == second | first
    assert set(joined.models) == {m for m, _ in first | second}


@given(tables)
def test_setting_single_results_aside_loses_none(rows: Rows) -> None:
    records = of(rows).without_single()
    assert known(records) == rows
    count = np.bincount(records.task, minlength=len(records.tasks))
    assert not (count == 1).any()
    assert len(records.problems) == len(records.set_aside)


@given(tables, st.sets(st.sampled_from("uvwxyz")))
def test_tasks_and_their_complement(rows: Rows, tasks: set[str]) -> None:
    records = of(rows).without_single()
    assert known(records.only_tasks(tasks)) == {p: v for p, v in rows.items() if p[1] in tasks}
    assert known(records.without_tasks(tasks)) == {
        p: v for p, v in rows.items() if p[1] not in tasks
    }
    assert records.only_tasks(tasks).models == records.models


@given(tables, st.permutations("abcdef"))
def test_models_in_another_order(rows: Rows, models: list[str]) -> None:
    found = of(rows).without_single().for_models(models)
    assert found.models == tuple(models)
    assert known(found) == rows
    matrix = found.matrix()
    assert np.isfinite(matrix).sum() == len(found)


def test_a_second_model_brings_a_result_back() -> None:
    records = Records.from_rows([("a", "t", 0.5, 0.125)]).without_single()
    assert (len(records), records.set_aside) == (0, (("a", "t", 0.5, 0.125),))
    after = records.with_records([("b", "t", 0.25)])
    assert known(after) == {("a", "t"): 0.5, ("b", "t"): 0.25}
    assert (after.set_aside, after.problems) == ((), ())
    assert after.stderr.tolist()[0] == 0.125


def test_a_known_result_is_replaced_only_when_asked(refused: Callable[..., object]) -> None:
    records = of({("a", "t"): 0.5, ("b", "t"): 0.75})
    assert known(records.with_records([("a", "t", 0.5)])) == known(records)
    with refused("'a' on 't' is 0.5, not 0.25", "replace"):
        records.with_records([("a", "t", 0.25)])
    after = records.with_records([("a", "t", 0.25)], replace=True)
    assert known(after) == {("a", "t"): 0.25, ("b", "t"): 0.75}


def test_a_hole_names_its_model_and_task() -> None:
    records = of({("a", "t"): 0.5}).with_records([("new", "other", NAN)])
    assert (records.models, records.tasks, len(records)) == (("a", "new"), ("t", "other"), 1)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("", "t", 0.5), "empty"),
        (("a\0", "t", 0.5), "control character"),
        (("a", "t", float("inf")), "finite"),
        (("a", "t", "high"), "number"),
        (("a", "t", 0.5, -1.0), "at least 0"),
    ],
)
def test_bad_rows_are_refused(
    row: tuple[object, ...], words: str, refused: Callable[..., object]
) -> None:
    with refused(words):
        Records.from_rows(iter([row]))  # type: ignore[list-item]


def test_rows_that_disagree_are_refused(refused: Callable[..., object]) -> None:
    with refused("'a' on 't' is given twice, 0.5 and 0.75"):
        Records.from_rows([("a", "t", 0.5), ("a", "t", 0.75)])


def test_facts_join_column_by_column() -> None:
    one = np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0), np.zeros(0)
    first = Records(("a", "b"), (), *one, {"size": ("1", ""), "org": ("x", "y")})
    second = Records(("b", "c"), (), *one, {"size": ("2", "3"), "date": ("d", "e")})
    joined = first.merged(second)
    assert joined.models == ("a", "b", "c")
    assert joined.model_facts == {
        "size": ("1", "2", "3"),
        "org": ("x", "y", ""),
        "date": ("", "d", "e"),
    }


def with_facts(rows: Rows, **facts: str) -> Records:
    plain = of(rows)
    columns = {c: (text,) * len(plain.tasks) for c, text in facts.items()}
    return Records(
        plain.models, plain.tasks, plain.model, plain.task, plain.value, plain.stderr, {}, columns
    )


def test_two_measures_of_one_task_do_not_join(refused: Callable[..., object]) -> None:
    first = with_facts({("a", "t"): 0.5}, measure="accuracy")
    with refused("'t'", "accuracy", "F1"):
        first.merged(with_facts({("b", "t"): 0.5}, measure="F1"))
    with refused("direction"):
        with_facts({("a", "t"): 0.5}, direction="larger").merged(
            with_facts({("b", "t"): 0.5}, direction="lower")
        )
    assert len(first.merged(with_facts({("b", "t"): 0.5}, measure="Accuracy"))) == 2


def test_percent_and_fractions_of_two_tables_do_not_join(refused: Callable[..., object]) -> None:
    first = with_facts({("a", "t"): 0.5, ("b", "t"): 0.75}, measure="accuracy")
    with refused("76 of 'c' on 't'", "percent beside fractions"):
        first.merged(of({("c", "t"): 76.0}))


def test_smaller_is_better_changes_its_sign_in_past_results() -> None:
    records = with_facts({("a", "t"): 2.0, ("b", "t"): 3.0}, measure="RMSE")
    assert records.larger_is_better.tolist() == [False]
    assert records.to_past_results().accuracies.tolist() == [[-2.0], [-3.0]]
    stated = with_facts({("a", "t"): -2.0}, measure="RMSE", direction="larger")
    assert stated.larger_is_better.tolist() == [True]


def test_a_matrix_that_is_too_large_is_refused(refused: Callable[..., object]) -> None:
    names = tuple(map(str, range(15_000)))
    one = np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0), np.zeros(0)
    with refused("15000 models x 15000 tasks"):
        Records(names, names, *one).matrix()


def test_tables_that_do_not_fit_are_refused(refused: Callable[..., object]) -> None:
    at, value = np.zeros(1, np.int32), np.zeros(1)
    with refused("models", "twice"):
        Records(("a", "a"), ("t",), at, at, value, value)
    with refused("tasks", "below 0"):
        Records(("a",), (), at, at, value, value)
    with refused("'size'", "1 models"):
        Records(("a",), ("t",), at, at, value, value, {"size": ()})
    with refused("finite"):
        Records(("a",), ("t",), at, at, value + NAN, value)
    with refused("direction", "sideways"):
        Records(("a",), ("t",), at, at, value, value, {}, {"direction": ("sideways",)})
    with refused("list of names"):
        Records(("a",), ("t",), at, at, value, value).for_models("a")


# ---- frames ----------------------------------------------------------------------------------


class Frame(dict[str, list[object]]):
    """What is used of a frame: columns, cells of a column, an index."""

    index: object = SimpleNamespace(tolist=list)

    @property
    def columns(self) -> list[str]:
        return list(self)


class RangeIndex:
    """The index of a pandas frame that has none of its own."""


def test_a_long_frame() -> None:
    frame = Frame(model=["a", "b", "b"], task=["t", "t", "u"], value=[0.5, 0.25, None])
    records = Records.from_frame(frame)
    assert known(records) == {("a", "t"): 0.5, ("b", "t"): 0.25}
    assert records.tasks == ("t", "u")


def test_wide_frames_by_column_index_and_first_column() -> None:
    wide = {("a", "t"): 0.5, ("b", "u"): 0.25}
    assert known(Records.from_frame(Frame(t=[0.5, NAN], model=["a", "b"], u=[NAN, 0.25]))) == wide
    indexed = Frame(t=[0.5, NAN], u=[NAN, 0.25])
    indexed.index = SimpleNamespace(tolist=lambda: ["a", "b"])
    assert known(Records.from_frame(indexed)) == wide
    first = Frame(name=["a", "b"], t=[0.5, NAN], u=[NAN, 0.25])
    first.index = RangeIndex()
    assert known(Records.from_frame(first)) == wide


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_real_frames(package: str) -> None:
    frames = pytest.importorskip(package)
    cells = {"model": ["a", "b"], "t": [0.5, None], "u": [0.25, 0.75]}
    expected = {("a", "t"): 0.5, ("a", "u"): 0.25, ("b", "u"): 0.75}
    assert known(Records.from_frame(frames.DataFrame(cells))) == expected


def test_what_is_no_frame_is_refused(refused: Callable[..., object]) -> None:
    with refused("frame", "int"):
        Records.from_frame(3)
    with refused("number", "'high'"):
        Records.from_frame(Frame(model=["a"], t=["high"]))
