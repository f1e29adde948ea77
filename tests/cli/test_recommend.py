"""`records fit`, `rank` on a prior, `next`: from records to a decision, by the command line."""

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from spider_jax.recommend import RunSearch, load_prior, save_prior
from spider_jax.recommend.report import NextRuns
from spider_jax.records import Records
from support.command_line import Command, Result, one_line, rows_of

MODELS = [f"org/m{i}" for i in range(12)]
COLUMNS = ("rank", "model", "gain", "best with", "expected", "+-", "cost")


def write_records(folder: Path) -> Path:
    """Twelve models on five tasks of two types, each type with an order of its own."""
    rng = np.random.default_rng(0)
    order, other = rng.permutation(12), rng.permutation(12)
    rows = [
        (name, f"task {t}", float((order if t % 2 else other)[m] + 0.1 * rng.standard_normal()))
        for m, name in enumerate(MODELS)
        for t in range(5)
    ]
    records = Records.from_rows(rows)
    folder.mkdir()
    records.write(folder)
    kinds = ["legal" if int(name.split()[1]) % 2 else "medical" for name in records.tasks]
    lines = ["task,type", *(f"{n},{k}" for n, k in zip(records.tasks, kinds, strict=True))]
    (folder / "tasks.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_records(tmp_path_factory.mktemp("made") / "records")


@pytest.fixture(scope="module")
def fitted(made: Path) -> Path:
    from spider_jax.cli.app import main

    with pytest.raises(SystemExit) as left:
        main(["records", "fit", str(made), "--out", str(made.parent / "prior")])
    assert left.value.code == 0
    return made.parent / "prior"


@pytest.fixture
def prior(fitted: Path, tmp_path: Path) -> Path:
    shutil.copytree(fitted, tmp_path / "prior")
    return tmp_path / "prior"


def written(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def results(folder: Path, *lines: str, columns: str = "model,value,stderr") -> Path:
    return written(folder / "mine.csv", columns, *lines)


def _agreement(a: list[str], b: list[str]) -> float:
    return float(np.corrcoef([b.index(name) for name in a], range(len(a)))[0, 1])


def content(done: Result) -> dict[str, object]:
    assert done.code == 0, done.err
    found: dict[str, object] = json.loads(done.out)
    return found


# ---- fit ---------------------------------------------------------------------------------------


def test_fit_says_what_was_learned_from(command: Command, made: Path, tmp_path: Path) -> None:
    out = tmp_path / "prior"
    done = command("records", "fit", made, "--out", out, "--hold-out", "task 3")
    assert done == (0, f"12 models, 5 tasks, 60 results, written to {out}\n", "")
    scaled = load_prior(out).scaled
    assert 3 not in scaled.task
    assert len(scaled.z) == 48


def test_what_is_not_read_is_listed(command: Command, made: Path, tmp_path: Path) -> None:
    lone = written(tmp_path / "lone.csv", "model,task,value", "org/m1,lonely,1")
    done = command("records", "fit", made, lone, "--out", tmp_path / "prior", "--groups", "type")
    assert done.code == 3
    assert done.out.startswith("12 models, ")
    assert "'lonely' has one model only" in done.err
    assert len(done.err.splitlines()) == 1


def test_a_fit_that_dies_leaves_the_old_prior_or_none(
    command: Command, prior: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is whole before it is renamed: stopped there, nothing has changed."""
    before = {path: path.read_bytes() for path in prior.rglob("*.*")}

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    known = load_prior(prior)
    with monkeypatch.context() as patch:
        patch.setattr("spider_jax.storage.files.os.rename", die)
        patch.setattr("spider_jax.storage.files.os.replace", die)
        for out in (prior, tmp_path / "new"):
            with pytest.raises(KeyboardInterrupt):
                save_prior(known, out)
    assert {path: path.read_bytes() for path in prior.rglob("*.*")} == before
    assert not (tmp_path / "new").exists()
    assert command("rank", prior).code == 0


def test_damage_is_found(command: Command, prior: Path) -> None:
    array = prior / "arrays" / "z.npy"
    array.write_bytes(array.read_bytes()[:-1] + b"\0")
    one_line(command("rank", prior), "z.npy", "fit the prior again")


# ---- rank --------------------------------------------------------------------------------------


def test_a_described_task_is_ranked_by_tasks_like_it(command: Command, prior: Path) -> None:
    def order(*words: str) -> list[str]:
        done = command("rank", prior, *words, "--json")
        assert done.code == 0, done.err
        return [model["model"] for model in json.loads(done.out)["models"]]

    legal, medical = order("--fact", "type=legal"), order("--fact", "type=medical")
    assert sorted(legal) == sorted(MODELS)
    assert legal != medical
    assert order("--describe", "a legal task") == order("--describe", "a legal task")
    like = order("--like", "task 1")
    assert _agreement(like, legal) > _agreement(like, medical)


def test_the_ranking_comes_in_its_own_forms(command: Command, prior: Path, tmp_path: Path) -> None:
    path = tmp_path / "ranking.csv"
    done = command("rank", prior, "--describe", "legal", "--top", "2", "--csv", path)
    assert done.code == 0
    assert "task: legal" in done.out
    assert "10 more not shown" in done.out
    assert len(list(csv.DictReader(path.read_text().splitlines()))) == 12
    found = content(command("rank", prior, "--top", "2", "--json"))
    assert found["format"] == "spider_jax/ranking"
    assert len(found["models"]) == 2  # type: ignore[arg-type]


# ---- next --------------------------------------------------------------------------------------


def test_next_says_whom_why_and_when_to_stop(command: Command, prior: Path, tmp_path: Path) -> None:
    nothing = command("next", prior, "--json")
    assert len(rows_of(nothing, "next_runs")) == 4
    assert content(nothing)["best"] is None
    assert "none, no run has a result yet" in command("next", prior).out
    mine = results(tmp_path, "org/m1,3.5,", "org/m2,failed,", "org/m3,7.25,0.1")
    asked = ("next", prior, "--fact", "type=legal", "--results", mine, "--batch", "20")
    done = command(*asked)
    assert (done.code, done.err) == (0, "spider-jax: skipped: org/m2: failed\n")
    assert "best so far: org/m3 with 7.25; it is the best of all with probability" in done.out
    assert "is expected to lose" in done.out
    assert "spent: 3 in 3 runs" in done.out
    path = tmp_path / "next.csv"
    rows = rows_of(command(*asked, "--json", "--csv", path), "next_runs")
    assert tuple(rows[0]) == COLUMNS
    assert sorted(row["model"] for row in rows) == sorted(
        {*MODELS} - {f"org/m{i}" for i in (1, 2, 3)}
    )
    assert [row["model"] for row in csv.DictReader(path.read_text().splitlines())] == [
        row["model"] for row in rows
    ]


def test_the_numbers_are_those_of_the_search(command: Command, prior: Path, tmp_path: Path) -> None:
    mine = results(tmp_path, "org/m1,3.5,", "org/m3,7.25,0.1")
    search = RunSearch(load_prior(prior), "legal").tell("org/m1", 3.5)
    search = search.tell("org/m3", 7.25, standard_error=0.1)
    done = command("next", prior, "--describe", "legal", "--results", mine, "--json")
    said = content(done)
    assert said["expected_loss"] == search.expected_loss
    assert said["probability_best"] == search.probability_best
    assert said["stop"] == search.done
    assert [tuple(row.values())[1:] for row in rows_of(done, "next_runs")] == [
        (r.model, r.gain, r.best, r.expected, r.sd, r.cost) for r in search.ask(4)
    ]
    markdown = NextRuns.of(search, 2).to_markdown()
    assert "| rank | model | gain |" in markdown
    assert "- spent: 2 in 2 runs" in markdown


def test_it_stops_where_little_is_lost(command: Command, prior: Path, tmp_path: Path) -> None:
    mine = results(tmp_path, "org/m1,3.5,", "org/m3,7.25,")
    for words, said in [
        (("--enough", "100"), "stop: the best so far is expected to lose"),
        (("--enough", "0"), "go on: the best so far is expected to lose"),
        (("--enough", "100", "--goal", "order"), "the order is the goal"),
        (("--budget", "2"), "stop: 0 is left to spend"),
    ]:
        assert said in command("next", prior, "--results", mine, *words).out
    every = results(tmp_path, *(f"{model},{i}," for i, model in enumerate(MODELS)))
    done = command("next", prior, "--results", every, "--budget", "99", "--enough", "0")
    assert "every model was run" in done.out or "stop: the best so far" in done.out


def test_a_failed_model_is_no_loss(command: Command, prior: Path, tmp_path: Path) -> None:
    lines = [f"{model},{'OOM' if i else 1}," for i, model in enumerate(MODELS)]
    found = content(command("next", prior, "--results", results(tmp_path, *lines), "--json"))
    assert (found["probability_best"], found["expected_loss"]) == (1.0, 0.0)
    assert (found["rows"], found["stop"], found["runs"]) == ([], True, 12)


def test_a_failure_has_a_column_too(command: Command, prior: Path, tmp_path: Path) -> None:
    lines = ("org/m1,1,no", "org/m2,,out of memory", "org/m3,,yes", "org/m4,2,")
    mine = results(tmp_path, *lines, columns="model,value,failed")
    found = content(command("next", prior, "--results", mine, "--json"))
    assert found["skipped"] == ["org/m2: out of memory", "org/m3: failed"]
    assert found["spent"] == 4


def test_a_dear_model_must_gain_more(command: Command, prior: Path, tmp_path: Path) -> None:
    first = rows_of(command("next", prior, "--json"), "next_runs")[0]["model"]
    lines = (f"{m},{1000 if m == first else 1}" for m in MODELS[:11])
    costs = written(tmp_path / "costs.csv", "model,cost", *lines, f"{MODELS[11]},")
    done = command("next", prior, "--costs", costs, "--json")
    assert rows_of(done, "next_runs")[0]["model"] != first
    spent = content(command("next", prior, "--costs", costs, "--budget", "0.5", "--json"))
    assert (spent["rows"], spent["stop"]) == ([], True)


def test_smaller_is_better_where_it_is_said(command: Command, prior: Path, tmp_path: Path) -> None:
    up = results(tmp_path, "org/m1,3.5,", "org/m3,7.25,")
    larger = content(command("next", prior, "--results", up, "--json"))
    down = results(tmp_path, "org/m1,-3.5,", "org/m3,-7.25,")
    found = content(command("next", prior, "--results", down, "--direction", "smaller", "--json"))
    assert found["best"] == {"model": "org/m3", "result": -7.25}
    assert found["expected_loss"] == larger["expected_loss"]
    rows, mirrored = found["rows"], larger["rows"]
    assert [r["expected"] for r in rows] == [-r["expected"] for r in mirrored]  # type: ignore[attr-defined]


def test_a_state_goes_on(command: Command, prior: Path, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    asked = ("next", prior, "--describe", "legal", "--state", state, "--json")
    content(command(*asked, "--results", results(tmp_path, "org/m1,3.5,", "org/m2,lost,")))
    found = content(command(*asked, "--results", results(tmp_path, "org/m5,4.5,", "org/m2,4,")))
    assert (found["spent"], found["skipped"]) == (3, [])
    assert content(command("next", prior, "--state", state, "--json")) == found
    more = content(command("next", prior, "--state", state, "--budget", "3", "--json"))
    assert (more["budget"], more["rows"]) == (3, [])
    before = state.read_bytes()
    for words, mentions in [
        (
            ("--results", results(tmp_path, "org/m5,4.5,", "org/m1,3.75,")),
            ("line 3", "3.5 already"),
        ),
        (("--describe", "medical"), ("state.json", "'legal'", "'medical'")),
        (("--fact", "type=legal"), ("state.json", "--fact")),
        (("--like", "task 1"), ("state.json", "--like")),
        (("--direction", "smaller"), ("state.json", "--direction")),
        (("--batch", "0"), ("batch",)),
    ]:
        one_line(command("next", prior, "--state", state, *words), *mentions)
        assert state.read_bytes() == before
    lost = results(tmp_path, "org/m1,crashed,")
    one_line(command("next", prior, "--state", state, "--results", lost), "line 2", "crashed")
    state.write_text(state.read_text().replace("org/m1", "org/gone"))
    one_line(command("next", prior, "--state", state), "state.json", "org/gone")
    state.write_text("{")
    one_line(command("next", prior, "--state", state), "state.json")


# ---- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "mentions"),
    [
        (["org/new,1,"], ["line 2", "'org/new'", "fit again"]),
        (["org/M1,1,"], ["line 2", "did you mean 'org/m1'"]),
        (["org/m1,inf,"], ["line 2", "finite"]),
        (["org/m1,nan,"], ["line 2", "finite"]),
        (["org/m1,1,-1"], ["line 2", "stderr", "-1"]),
        (["org/m1,1,much"], ["line 2", "stderr", "much"]),
        (["org/m1,1,", "org/m1,2,"], ["line 3", "1 already"]),
    ],
    ids=lambda given: given[0] if "," in given[0] else "",
)
def test_bad_results_are_one_line(
    command: Command, prior: Path, tmp_path: Path, lines: list[str], mentions: list[str]
) -> None:
    one_line(command("next", prior, "--results", results(tmp_path, *lines)), "mine.csv", *mentions)


@pytest.mark.parametrize(
    ("lines", "mentions"),
    [
        (["model,price", "org/m1,1"], ["columns model, cost", "'price'"]),
        (["model,cost", "org/m1,0"], ["line 2", "positive"]),
        (["model,cost", "org/m1,dear"], ["line 2", "'dear'"]),
        (["model,cost", "org/new,1"], ["line 2", "'org/new'"]),
        (["model,cost", "org/m1,1", "org/m1,2"], ["line 3", "1 already"]),
        ([""], ["columns model, cost"]),
    ],
    ids=lambda given: given[-1],
)
def test_bad_costs_are_one_line(
    command: Command, prior: Path, tmp_path: Path, lines: list[str], mentions: list[str]
) -> None:
    costs = written(tmp_path / "costs.csv", *lines)
    one_line(command("next", prior, "--costs", costs), "costs.csv", *mentions)


@pytest.mark.parametrize(
    ("words", "mentions"),
    [
        ("records fit --out NEW", ["FOLDER"]),
        ("records fit RECORDS --out FULL", ["not empty"]),
        ("records fit RECORDS --out NEW --groups colour", ["'colour'"]),
        ("records fit RECORDS --out NEW --hold-out nope", ["'nope'"]),
        ("records fit MISSING --out NEW", ["missing"]),
        ("rank PRIOR zoo", ["prior from records", "ZOO"]),
        ("rank PRIOR zoo task", ["ZOO", "TASK", "--describe"]),
        ("rank PRIOR --rerank 3", ["--rerank"]),
        ("rank PRIOR --rerank auto", ["--rerank"]),
        ("rank PRIOR --data csv:x", ["--data"]),
        ("rank PRIOR --extractor timm:x", ["--extractor"]),
        ("rank PRIOR --by logme", ["--by"]),
        ("rank PRIOR --clusters 3", ["--clusters"]),
        ("rank PRIOR --top 0", ["top"]),
        ("rank PRIOR --like nope", ["'nope'"]),
        ("rank PRIOR --fact nope", ["COLUMN=TEXT"]),
        ("rank PRIOR --fact colour=red", ["'colour'", "type"]),
        ("rank PRIOR --fact type=a type=b", ["twice"]),
        ("rank RECORDS --describe x", ["--describe", "records fit"]),
        ("next RECORDS", ["prior.json"]),
        ("next PRIOR --results none.csv", ["none.csv", "missing"]),
        ("next PRIOR --results RECORDS", ["records", "CSV"]),
        ("next PRIOR --results RECORDS/tasks.csv", ["columns model, value"]),
        ("next PRIOR --costs none.csv", ["none.csv", "missing"]),
        ("next PRIOR --batch 0", ["batch"]),
        ("next PRIOR --budget nan", ["budget"]),
        ("next PRIOR --budget 0", ["budget"]),
        ("next PRIOR --enough -1", ["enough"]),
        ("next PRIOR --fact colour=red", ["'colour'"]),
        ("next PRIOR --state RECORDS", ["records"]),
        ("next PRIOR --state PRIOR/prior.json", ["prior.json"]),
    ],
)
def test_bad_input_is_one_line(
    command: Command, prior: Path, made: Path, tmp_path: Path, words: str, mentions: list[str]
) -> None:
    (tmp_path / "full").mkdir()
    written(tmp_path / "full" / "note.txt", "mine")
    places = {"RECORDS": made, "PRIOR": prior, "FULL": tmp_path / "full", "NEW": tmp_path / "new"}
    places["MISSING"] = tmp_path / "missing"
    for name, path in places.items():
        words = words.replace(name, str(path))
    one_line(command(*words.split()), *mentions)
    assert not (tmp_path / "new").exists()
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["note.txt"]


def test_a_pipe_is_refused_and_never_waited_for(
    command: Command, prior: Path, tmp_path: Path
) -> None:
    for option in ("--results", "--costs"):
        pipe = tmp_path / option.strip("-")
        os.mkfifo(pipe)
        done = command("next", prior, option, pipe)
        assert done.code == 2
        assert len(done.err.splitlines()) == 1
        assert "regular file" in done.err
