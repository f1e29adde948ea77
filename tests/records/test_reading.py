"""Records on disk: every form that is read, every fault with its line, and writing."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spider_jax.errors import InputError
from spider_jax.records.table import Records
from support.records_folders import ROWS, folder, same

Refused = Callable[..., object]


# ---- forms -----------------------------------------------------------------------------------


def test_values_with_facts_names_and_holes(tmp_path: Path) -> None:
    records = Records.read(
        folder(
            tmp_path,
            "task,model, Value ,stderr\nt,b,0.5,0.01\n\nt,a,0.75,\nu,a,,\n v ,a,nan,\n",
            "task,type\nw,sts\nt,retrieval\n",
            "model,org\nc,x\na,y\n",
        )
    )
    assert (records.models, records.tasks) == (("c", "a", "b"), ("w", "t", "u", "v"))
    assert records.rows(np.arange(2)) == [
        ("b", "t", 0.5, 0.01),
        ("a", "t", 0.75, pytest.approx(np.nan, nan_ok=True)),
    ]
    assert records.model_facts == {"org": ("x", "y", "")}
    assert records.task_facts == {"type": ("sts", "retrieval", "", "")}
    assert records.problems == ()
    assert "names are read without space" in records.notes[-1]


def test_equal_rows_count_once_and_are_counted(tmp_path: Path) -> None:
    records = Records.read(folder(tmp_path, ROWS + "a,t,0.50\na,t,0.5\n"))
    assert len(records) == 2
    assert "2 rows are given twice" in records.notes[0]


def test_more_columns_are_ignored_aloud(tmp_path: Path) -> None:
    records = Records.read(folder(tmp_path, "model,task,value,runs\na,t,0.5,3\nb,t,1,4\n"))
    assert records.notes[0].endswith("ignored columns: runs")


def test_a_task_with_one_model_is_said_and_kept_on_disk(tmp_path: Path) -> None:
    records = Records.read(folder(tmp_path / "first", ROWS + "a,lonely,0.5\n"))
    assert records.problems == (
        "task 'lonely' has one model only ('a'): it teaches nothing and is left out",
    )
    records.write(tmp_path / "second")
    same(Records.read(tmp_path / "second"), records)
    both = Records.read(
        tmp_path / "first", folder(tmp_path / "third", "model,task,value\nb,lonely,1\n")
    )
    assert (len(both), both.problems) == (4, ())


def test_gzip_parquet_and_single_files(tmp_path: Path) -> None:
    plain = Records.read(folder(tmp_path / "plain"))
    packed = tmp_path / "packed"
    packed.mkdir()
    (packed / "values.csv.gz").write_bytes(gzip.compress(ROWS.encode("utf-8-sig")))
    same(Records.read(packed), plain)
    same(Records.read(tmp_path / "plain" / "values.csv"), plain)


def test_parquet(tmp_path: Path, refused: Refused) -> None:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    tmp_path.joinpath("p").mkdir()
    path = tmp_path / "p" / "values.parquet"
    columns = {"model": ["a", "b", "b"], "task": ["t", "t", "u"], "value": [0.5, 0.75, None]}
    parquet.write_table(arrow.table(columns), path)
    records = Records.read(tmp_path / "p")
    assert records.value.tolist() == [0.5, 0.75]
    records.write(tmp_path / "p")
    assert not (tmp_path / "p" / "values.csv").exists()
    same(Records.read(tmp_path / "p"), records)
    parquet.write_table(arrow.table(columns | {"value": [0.5, float("inf"), 1.0]}), path)
    with refused("values.parquet, row 2", "finite"):
        Records.read(tmp_path / "p")
    path.write_bytes(b"PAR1 not so")
    with refused("values.parquet", "not a readable Parquet file"):
        Records.read(tmp_path / "p")


def test_parquet_without_pyarrow_is_one_line(
    tmp_path: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    (tmp_path / "values.parquet").write_bytes(b"")
    with refused("values.parquet needs pyarrow", "pip install pyarrow"):
        Records.read(tmp_path)


def test_a_zoo_has_accuracies_and_records(small_zoo: Path) -> None:
    from spider_jax.zoo.store import FeatureStore

    accuracies = FeatureStore(small_zoo).accuracies
    records = Records.read(small_zoo).whole()
    found = {(m, t): v for m, t, v, _ in records.rows(np.arange(len(records)))}
    assert found == accuracies
    assert set(records.task_facts["direction"]) == {"larger"}
    model, task = next(iter(accuracies))
    folder(small_zoo / "records", f"model,task,value\n{model},{task},0.125\nnew,{task},0.5\n")
    joined = Records.read(small_zoo)
    at = (joined.models.index(model), joined.tasks.index(task))
    assert joined.matrix()[at] == 0.125
    assert "1 results are given twice" in joined.notes[-1]


def test_earlier_folders_win(tmp_path: Path) -> None:
    first = folder(tmp_path / "1", tasks="task,type\nt,x\n")
    second = folder(
        tmp_path / "2", "model,task,value\na,t,0.25\nc,t,0.5\n", "task,type\nt,y\nu,z\n"
    )
    records = Records.read(first, second)
    assert dict(zip(records.models, records.value.tolist(), strict=True)) == {
        "a": 0.5,
        "b": 0.75,
        "c": 0.5,
    }
    assert records.task_facts == {"type": ("x", "z")}
    assert records.notes == (
        "1 results are given twice with another value: those of the first count",
    )


DATA = os.environ.get("SPIDER_JAX_DATA", "")


@pytest.mark.skipif(not DATA, reason="set SPIDER_JAX_DATA to the folder that holds records")
@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("mteb_text", (536, 1121, 84550)),
        ("euroeval", (662, 203, 55636)),
        ("openclip", (121, 38, 4598)),
        ("openclip_multilingual", (123, 94, 11562)),
        ("transfergraph_vtab", (292, 28, 6754)),
        ("timm", (1557, 16, 24896)),
        ("open_llm_v2", (3827, 6, 22962)),
    ],
)
def test_real_folders(name: str, sizes: tuple[int, int, int]) -> None:
    records = Records.read(Path(DATA) / "records" / name)
    found = (len(records.models), len(records.tasks), len(records) + len(records.set_aside))
    assert found == sizes
    assert records.larger_is_better.all()
    assert ("task_direction" in records.task_facts) == (name == "openclip_multilingual")


# ---- faults ----------------------------------------------------------------------------------

HEAD = "model,task,value,stderr\n"
ACCURACY = "task,measure\nt,accuracy\n"


@pytest.mark.parametrize(
    ("values", "tasks", "words"),
    [
        ("model,task\na,t\n", "", ["values.csv must have columns model,task,value", "lacks value"]),
        ("model;task;value\na;t;1\n", "", ["lacks model,task,value", "wide table"]),
        (HEAD + "a,t,0.5,\n,t,0.5,\n", "", ["values.csv, line 3", "model has no name"]),
        (HEAD + "\n\na,  ,0.5,\n", "", ["line 4", "task has no name"]),
        (HEAD + '"a\nb",t,0.5,\nb,t,x,\n', "", ["line 2", "control", "line 4", "number, got 'x'"]),
        (HEAD + "a,t,inf,\n", "", ["line 2", "finite, got 'inf'"]),
        (HEAD + "a,t,1_000,\n", "", ["line 2", "number, got '1_000'"]),
        (HEAD + "a,t,0.5,-0.1\n", "", ["line 2", "stderr must be at least 0, got -0.1"]),
        (HEAD + "a,t,0.5\n", "", ["line 2", "must have 4 cells", "got 3"]),
        (HEAD + "a,t,0,5,\n", "", ["line 2", "got 5"]),
        (
            HEAD + "a,t,0.5,\nb,t,0.5,\na,t,0.25,\n",
            "",
            ["line 4: 0.25 of 'a' on 't' is 0.5 in line 2"],
        ),
        ("", ACCURACY, ["holds no records"]),
        ("model,model,task,value\n", "", ["two columns 'model'"]),
        ('model,task,value\na,t,"0.5\n', "", ["quote left open"]),
        ('model,task,value\na,t,"' + "9" * 200_000, "", ["limit", "quote left open"]),
        (HEAD + "a,t,1.5,\nb,t,0.5,\n", ACCURACY, ["line 2: 1.5 of 'a' on 't' is outside 0 to 1"]),
        (HEAD + "a,t,-0.5,\nb,t,0.5,\n", ACCURACY, ["line 2", "-0.5", "range of accuracy"]),
        (HEAD + "a,t,101,\nb,t,50,\n", ACCURACY, ["line 2: 101", "outside 0 to 100"]),
        (HEAD + "a,t,83.2,\nb,t,0.5,\n", ACCURACY, ["line 2: 83.2", "percent beside fractions"]),
        (
            HEAD + "a,t,83.2,\nb,t,0.5,\nc,t,70,\n",
            ACCURACY,
            ["line 3: 0.5", "a fraction beside percent"],
        ),
        (HEAD + "a,t,83.2,\nb,t,0.7,\n", "", ["line 2: 83.2", "percent beside fractions"]),
        (HEAD + "a,t,0.5,\n", "task,unit\nt,percent\n", []),
        (HEAD + "a,t,-1,\nb,t,3,\n", "task,measure\nt,rmse\n", ["line 2", "range of rmse"]),
        (HEAD + "a,t,1,\n", "task,direction\nt,sideways\n", ["tasks.csv, line 2", "'sideways'"]),
        (
            HEAD + "a,t,1,\n",
            "task,direction\nu,larger\nt,image\n",
            ["tasks.csv, line 3", "got 'image' for task 't'"],
        ),
        (HEAD, "type,measure\nt,accuracy\n", ["tasks.csv must have a column task"]),
        (HEAD, "task,type\n,x\n", ["tasks.csv, line 2", "name is empty"]),
        (HEAD, "task,type\nt,x\nt,y\n", ["tasks.csv, line 3", "'t' has other facts in line 2"]),
        (HEAD, "task,type\nt,x,y\n", ["tasks.csv, line 2", "must have 2 cells"]),
    ],
)
def test_faults(
    values: str, tasks: str, words: list[str], tmp_path: Path, refused: Refused
) -> None:
    where = folder(tmp_path, values, tasks)
    if not words:
        Records.read(where)
        return
    with refused(*words):
        Records.read(where)


def test_many_faults_name_the_first_and_the_count(tmp_path: Path, refused: Refused) -> None:
    rows = "".join(f"m{i},t,x{i}\n" for i in range(5000))
    with refused("line 2", "line 3", "line 4", "'x2'", "and 4997 more faults"):
        Records.read(folder(tmp_path, "model,task,value\n" + rows))


def test_faults_of_all_files_come_together(tmp_path: Path, refused: Refused) -> None:
    with refused("models.csv, line 3", "values.csv, line 2"):
        Records.read(folder(tmp_path, "model,task,value\na,t,x\n", models="model,org\na,x\na,y\n"))


def test_what_is_no_text_is_refused(tmp_path: Path, refused: Refused) -> None:
    path = folder(tmp_path) / "values.csv"
    path.write_bytes(ROWS.encode("utf-16"))
    with refused("values.csv is not UTF-8", "0xff"):
        Records.read(tmp_path)
    path.write_bytes(b"")
    with refused("values.csv is empty"):
        Records.read(tmp_path)
    path.write_bytes(bytes(range(128)))
    with pytest.raises(InputError):
        Records.read(tmp_path)
    path.rename(tmp_path / "values.csv.gz")
    with refused("values.csv.gz is no whole gzip file"):
        Records.read(tmp_path)
    (tmp_path / "values.csv.gz").write_bytes(gzip.compress(ROWS.encode() * 999)[:-20])
    with refused("values.csv.gz is no whole gzip file"):
        Records.read(tmp_path)


def test_only_regular_files_of_the_folder_are_read(tmp_path: Path, refused: Refused) -> None:
    outside = folder(tmp_path / "outside") / "values.csv"
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "values.csv").symlink_to(outside)
    with refused("values.csv is a link out of"):
        Records.read(inside)
    (inside / "values.csv").unlink()
    os.mkfifo(inside / "values.csv")
    with refused("values.csv is no regular file"):
        Records.read(inside)
    (inside / "values.csv").unlink()
    (inside / "values.csv").mkdir()
    with refused("values.csv is no regular file"):
        Records.read(inside)
    (inside / "values.csv").rmdir()
    folder(inside)
    (inside / "values.csv.gz").write_bytes(b"")
    with refused("values.csv and values.csv.gz", "leave one"):
        Records.read(inside)
    with refused("missing"):
        Records.read(tmp_path / "nowhere")
    with refused("at least one folder"):
        Records.read()
    with refused(".csv"):
        Records.read(folder(tmp_path / "x").joinpath("values.csv").rename(tmp_path / "values.txt"))


# ---- shares, percent, directions -------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "tasks"),
    [
        ([83.2, 70.0, 0.0], "task,measure\nt,accuracy\n"),  # a whole task in percent
        ([83.2, 0.5], "task,measure,unit\nt,accuracy,percent\n"),
        ([83.2, 0.5], "task,measure\nt,my own score\n"),  # nothing is known of it
        ([300.0, 83.2, 0.9], ""),  # no table of shares
        ([12.0, 0.5, 40.0, 3.0], ""),  # not a hundred times what stands beside it
        ([-2.0, -3.0], "task,measure,direction\nt,rmse,larger\n"),  # a negated error
        ([-0.3, 0.9], "task,measure\nt,MCC\n"),
        ([0.5, 1.0], "task,main_score\nt,ndcg_at_10\n"),
        ([3.0, 40.0], "task,measure\nt,perplexity\n"),
    ],
)
def test_tables_that_are_sound(values: list[float], tasks: str, tmp_path: Path) -> None:
    rows = "".join(f"m{i},t,{v}\n" for i, v in enumerate(values))
    assert len(Records.read(folder(tmp_path, "model,task,value\n" + rows, tasks))) == len(values)


def test_a_direction_of_retrieval_is_a_fact_like_any_other(tmp_path: Path) -> None:
    records = Records.read(folder(tmp_path, tasks="task,direction\nt,image\nu,en-de\nv,\n"))
    assert records.task_facts == {"task_direction": ("image", "en-de", "")}
    assert records.larger_is_better.all()
    assert "direction says en-de, image, not which way is better" in records.notes[0]
