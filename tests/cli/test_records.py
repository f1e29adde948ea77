"""`spider-jax records`: check, import, add; exit codes, JSON, and tables in narrow terminals."""

import json
from pathlib import Path

import pytest

from spider_jax.records.inspection import check_records
from spider_jax.records.table import Records
from spider_jax.report.page import page_text
from support.command_line import BAD_INPUT, DONE, SKIPPED, Command, one_line, rows_of, table
from support.records_folders import ROWS, folder


def test_check_counts_and_names_what_is_left_out(command: Command, tmp_path: Path) -> None:
    where = folder(tmp_path, ROWS + "a,u,0.5\n", "task,measure\nt,accuracy\nu,rmse\n")
    found = command("records", "check", where)
    assert found.code == SKIPPED
    assert table(found.out)[1] == ["accuracy", "larger", "1", "2", "0.500", "0.625", "0.750"]
    assert "2 models x 2 tasks, 3 results: 75.0% known" in found.out
    assert "task 'u' has one model only" in found.err
    assert command("records", "check", folder(tmp_path / "x")).code == DONE


def test_check_lists_every_fault(command: Command, tmp_path: Path) -> None:
    where = folder(tmp_path / "bad", "model,task,value\na,t,x\nb,t,inf\nb,,1\nc,t,1\n", "no\n")
    found = command("records", "check", where, tmp_path / "nowhere", "--json")
    assert found.code == BAD_INPUT
    assert found.err.splitlines()[-1].startswith("spider-jax: 2 faults")
    (where / "tasks.csv").unlink()
    found = command("records", "check", where, "--json")
    content = json.loads(found.out)
    assert content["format"] == "spider_jax/records_check"
    assert [fault["place"] for fault in content["faults"]] == ["line 2", "line 3", "line 4"]
    assert (content["fault_count"], content["results"]) == (3, 1)
    one_line(command("records", "check"), "at least one folder")


def test_check_counts_what_is_sound_beside_faults(command: Command, tmp_path: Path) -> None:
    rows = "model,task,value\na,t,0.5\nb,t,0.25\nc,t,83.2\n"
    where = folder(tmp_path, rows, "task,measure\nt,accuracy\n")
    content = json.loads(command("records", "check", where, "--json").out)
    assert (content["fault_count"], content["results"]) == (1, 2)
    content = json.loads(command("records", "check", tmp_path / "nowhere", where, "--json").out)
    assert [fault["place"] for fault in content["faults"]] == ["", "line 4"]


@pytest.mark.parametrize("width", [60, 120])
def test_what_is_checked_fits_a_terminal(width: int, tmp_path: Path) -> None:
    where = folder(tmp_path, ROWS + "a,t,8\n", "task,measure\nt,max_over_subqueries_map_at_1000\n")
    text = page_text(check_records([where]).page(), width=width)
    (place,) = [line for line in text.splitlines() if "values.csv, line 4" in line]
    assert "8 of 'a' on 't' is 0.5 in line 2" in place
    tables = text.split("\n\n")[:-2]
    assert max(len(line) for part in tables for line in part.splitlines()) <= width


def test_import_adds_and_says_what_was_known(command: Command, tmp_path: Path) -> None:
    out = tmp_path / "records"
    (tmp_path / "w.csv").write_text("model,pets,cars\nvgg,0.5,0.25\nvit,0.75,bad\n")
    found = command("records", "import", "wide", tmp_path / "w.csv", "--out", out)
    assert found.code == SKIPPED
    assert table(found.out)[3][:3] == ["results", "0", "3"]
    assert "'cars' must be a number, got 'bad'" in found.err
    (tmp_path / "w.csv").write_text("model,pets,cars\nvgg,0.5,0.75\nnew,0.125,0.5\n")
    again = ("records", "import", "wide", tmp_path / "w.csv", "--out", out)
    found = command(*again)
    assert found.code == DONE
    assert "2 of 4 results were known" in found.out
    assert "1 of these had another value: the known ones are kept" in found.out
    records = Records.read(out)
    assert records.matrix()[records.models.index("vgg"), records.tasks.index("cars")] == 0.25
    found = command(*again, "--prefer", "imported", "--json")
    assert rows_of(found, "records_change")[2] == {"what": "results", "before": 5, "now": 5}
    records = Records.read(out)
    assert records.matrix()[records.models.index("vgg"), records.tasks.index("cars")] == 0.75
    one_line(command("records", "import", "wade", "x", "--out", out), "kind must be one of")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_text("")
    one_line(command(*again[:-1], tmp_path / "photos"), "photos is not empty")


def test_folders_are_merged_by_import(command: Command, tmp_path: Path) -> None:
    first = folder(tmp_path / "1")
    second = folder(tmp_path / "2", "model,task,value\na,t,0.125\nc,t,0.5\n")
    assert command("records", "import", "folder", second, "--out", first).code == DONE
    assert Records.read(first).value.tolist() == [0.5, 0.75, 0.5]


def test_add_one_result(command: Command, tmp_path: Path, small_zoo: Path) -> None:
    where = tmp_path / "records"
    assert (
        command("records", "add", where, "org/vgg", "pets", "0.5", "--stderr", "0.25").code == DONE
    )
    assert Records.read(where).set_aside == (("org/vgg", "pets", 0.5, 0.25),)
    assert command("records", "add", where, "vit", "pets", "0.75").code == DONE
    assert Records.read(where).value.tolist() == [0.5, 0.75]
    one_line(
        command("records", "add", where, "vit", "pets", "0.5"), "'vit' on 'pets' is 0.75, not 0.5"
    )
    assert command("records", "add", where, "vit", "pets", "0.25", "--replace").code == DONE
    assert sorted(Records.read(where).value.tolist()) == [0.25, 0.5]
    one_line(command("records", "add", where, "vit", "pets", "inf"), "finite")
    one_line(command("records", "add", where, "vit", "pets", "0.5", "--stderr", "-1"), "at least 0")
    assert command("records", "add", small_zoo, "new", "apples", "0.5").code == DONE
    assert (small_zoo / "records" / "values.csv").exists()


def test_a_value_that_the_task_cannot_have_is_not_added(command: Command, tmp_path: Path) -> None:
    where = folder(tmp_path, tasks="task,measure\nt,accuracy\n")
    before = (where / "values.csv").read_bytes()
    one_line(command("records", "add", where, "c", "t", "88"), "percent beside fractions")
    one_line(command("records", "add", where, "c", "t", "-1"), "outside 0 to 1")
    assert (where / "values.csv").read_bytes() == before


def test_the_group_shows_its_help(command: Command) -> None:
    for arguments in (("records",), ("records", "--help")):
        assert "check" in command(*arguments).out
