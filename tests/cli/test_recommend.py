"""`records fit`, `rank` on a prior, `next`: from records to a decision, by the command line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from spider_jax.recommend import load_prior
from spider_jax.records import Records
from support.command_line import Command

MODELS = [f"org/m{i}" for i in range(12)]


def write_records(folder: Path) -> Path:
    """Twelve models on ten tasks of two types, each type with an order of its own."""
    rng = np.random.default_rng(0)
    order, other = rng.permutation(12), rng.permutation(12)
    rows = [
        (name, f"task {t}", float((order if t % 2 else other)[m] + 0.1 * rng.standard_normal()))
        for m, name in enumerate(MODELS)
        for t in range(10)
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


def results(folder: Path, *lines: str) -> Path:
    path = folder / "mine.csv"
    path.write_text("\n".join(["model,value,stderr", *lines]) + "\n")
    return path


def test_a_described_task_is_ranked_by_tasks_like_it(command: Command, prior: Path) -> None:
    def order(*words: str) -> list[str]:
        done = command("rank", prior, *words, "--json")
        assert done.code == 0, done.err
        return [model["model"] for model in json.loads(done.out)["models"]]

    legal, medical = order("--fact", "type=legal"), order("--fact", "type=medical")
    assert sorted(legal) == sorted(MODELS)
    assert legal != medical
    assert order("--describe", "a legal task") == order("--describe", "a legal task")
    assert order("--like", "task 1")[:4] == legal[:4]


def test_next_says_whom_why_and_when_to_stop(command: Command, prior: Path, tmp_path: Path) -> None:
    nothing = json.loads(command("next", prior, "--batch", "3", "--json").out)
    assert len(nothing["rows"]) == 3
    assert nothing["best"] is None
    mine = results(tmp_path, "org/m1,3.5,", "org/m2,failed,", "org/m3,7.25,0.1", "org/m4,,")
    done = command("next", prior, "--fact", "type=legal", "--results", mine, "--batch", "20")
    assert done.code == 0, done.err
    assert "org/m2: failed" in done.err
    assert "best so far: org/m3 with 7.25" in done.out
    assert "spent 3" in done.out
    found = json.loads(command("next", prior, "--results", mine, "--batch", "20", "--json").out)
    asked = [row["model"] for row in found["rows"]]
    assert sorted(asked) == sorted(set(MODELS) - {"org/m1", "org/m2", "org/m3"})


def test_a_state_goes_on(command: Command, prior: Path, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    first = results(tmp_path, "org/m1,3.5,")
    command("next", prior, "--describe", "legal", "--results", first, "--state", state)
    more = results(tmp_path, "org/m1,3.5,", "org/m5,4.5,")
    found = json.loads(command("next", prior, "--results", more, "--state", state, "--json").out)
    assert found["spent"] == 2
    again = json.loads(command("next", prior, "--state", state, "--json").out)
    assert again == found
    before = state.read_bytes()
    other = results(tmp_path, "org/m1,3.75,")
    refused = command("next", prior, "--results", other, "--state", state)
    assert refused.code == 2
    assert "3.5 already" in refused.err
    assert state.read_bytes() == before


def test_a_dear_model_must_gain_more(command: Command, prior: Path, tmp_path: Path) -> None:
    first = json.loads(command("next", prior, "--json").out)["rows"][0]["model"]
    costs = tmp_path / "costs.csv"
    prices = dict.fromkeys(MODELS, 1) | {first: 1000}
    costs.write_text("model,cost\n" + "".join(f"{m},{c}\n" for m, c in prices.items()))
    found = json.loads(command("next", prior, "--costs", costs, "--json").out)
    assert found["rows"][0]["model"] != first
    spent = json.loads(command("next", prior, "--costs", costs, "--budget", "0.5", "--json").out)
    assert spent["rows"] == []
    assert spent["stop"]


@pytest.mark.parametrize(
    ("line", "mentions"),
    [
        ("org/new,1,", ["line 2", "org/new", "fit again"]),
        ("org/m1,inf,", ["line 2", "finite"]),
        ("org/m1,1,-1", ["line 2", "stderr", "-1"]),
        ("org/m1,1,\norg/m1,2,", ["line 3", "already"]),
    ],
)
def test_bad_results_are_one_line(
    command: Command, prior: Path, tmp_path: Path, line: str, mentions: list[str]
) -> None:
    done = command("next", prior, "--results", results(tmp_path, line))
    assert done.code == 2
    assert len(done.err.splitlines()) == 1
    assert [m for m in [*mentions, "mine.csv"] if m not in done.err] == []


def test_bad_input_is_one_line(command: Command, prior: Path, made: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note.txt").write_text("mine")
    (tmp_path / "costs.csv").write_text("model,cost\norg/m1,0\n")
    for arguments, mention in [
        (("records", "fit", made, "--out", tmp_path / "full"), "not empty"),
        (("records", "fit", made, "--out", tmp_path / "new", "--groups", "colour"), "colour"),
        (("records", "fit", made, "--out", tmp_path / "new", "--hold-out", "nope"), "nope"),
        (("rank", prior, "zoo"), "prior"),
        (("rank", prior, "--rerank", "3"), "prior"),
        (("rank", prior, "--like", "nope"), "nope"),
        (("rank", prior, "--fact", "nope"), "COLUMN=TEXT"),
        (("rank", made, "--describe", "x"), "prior"),
        (("next", made), "prior.json"),
        (("next", prior, "--results", tmp_path / "none.csv"), "none.csv"),
        (("next", prior, "--results", made / "tasks.csv"), "columns model, value"),
        (("next", prior, "--costs", tmp_path / "costs.csv"), "line 2"),
        (("next", prior, "--batch", "0"), "batch"),
    ]:
        done = command(*arguments)
        assert done.code == 2, arguments
        assert len(done.err.splitlines()) == 1, done.err
        assert mention in done.err, done.err
    assert not (tmp_path / "new").exists()


def test_damage_is_found(command: Command, prior: Path) -> None:
    array = prior / "arrays" / "z.npy"
    array.write_bytes(array.read_bytes()[:-1] + b"\0")
    done = command("rank", prior)
    assert done.code == 2
    assert "z.npy" in done.err


def test_what_is_left_out_stays_unread(command: Command, made: Path, tmp_path: Path) -> None:
    out = tmp_path / "prior"
    done = command("records", "fit", made, "--out", out, "--hold-out", "task 3")
    assert done.code == 0, done.err
    scaled = load_prior(out).scaled
    assert 3 not in scaled.task
    assert len(scaled.z) == 108
