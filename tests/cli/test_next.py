"""`next` where runs are on a part of the rows, or done by a probe on a zoo's features."""

import json
from pathlib import Path

import numpy as np
import pytest

from support.command_line import Command, Result, one_line, rows_of
from support.small_zoo import SMALL_MODELS, write_small_zoo


def content(result: Result) -> dict[str, object]:
    rows_of(result, "next_runs")
    found: dict[str, object] = json.loads(result.out)
    return found


def test_a_probe_runs_what_is_asked(command: Command, prior: Path, tmp_path: Path) -> None:
    zoo, state = write_small_zoo(tmp_path / "zoo"), tmp_path / "state.json"
    asked = ("next", prior, "--probe", zoo, "birds", "--state", state, "--enough", "0")
    first = content(command(*asked, "--batch", "2", "--json"))
    assert first["runs"] == 2
    found = content(command(*asked, "--batch", "9", "--json"))
    assert (found["runs"], found["stop"], found["rows"]) == (4, True, [])
    assert len(json.loads(state.read_text())["results"]) == 4
    one_line(command(*asked[:4], "nowhere"), "nowhere")


def test_rows_say_the_doubt_and_more_rows_take_their_place(
    command: Command, prior: Path, tmp_path: Path
) -> None:
    def shares(*lines: str) -> Path:
        path = tmp_path / "shares.csv"
        path.write_text("\n".join(["model,value,rows", *lines, ""]))
        return path

    state = tmp_path / "state.json"
    asked = ("next", prior, "--state", state, "--parts", "--json")
    found = content(command(*asked, "--results", shares("psi,0.6,25", "wide,0.64,25")))
    rows = found["rows"]
    assert isinstance(rows, list)
    assert {row["model"] for row in rows} == set(SMALL_MODELS)
    notes = found["notes"]
    assert isinstance(notes, list)
    assert any("once more" in note and "wide" in note for note in notes)
    content(command(*asked, "--results", shares("wide,0.55,100")))
    kept = json.loads(state.read_text())["results"]
    assert kept["wide"] == [0.55, pytest.approx(np.sqrt(0.55 * 0.45 / 100))]
    for line in ("wide,0.5,50", "wide,7,50", "psi,0.5,none", "psi,0.5,0"):
        one_line(command(*asked, "--results", shares(line)), "line 2", line.split(",")[0])
