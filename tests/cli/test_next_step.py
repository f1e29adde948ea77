"""The last line of a command: what to do next, for people on a terminal and for nobody else."""

from pathlib import Path

import pytest

from spider_jax.cli import app, index, records
from spider_jax.cli.next_step import NEXT_STEPS
from support.command_line import DONE, Command

NAMES = [
    *(name for name in app.COMMANDS if name not in ("index", "records")),
    *(f"index {name}" for name in index.COMMANDS),
    *(f"records {name}" for name in records.COMMANDS),
]


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_a_line(name: str) -> None:
    assert len(NEXT_STEPS[name]) <= 160
    assert NEXT_STEPS[name].splitlines() == [NEXT_STEPS[name]]


def test_the_line_is_for_terminals_only(
    small_zoo: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("inspect", small_zoo).err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    found = command("inspect", small_zoo)
    assert found.code == DONE
    assert found.err.endswith(f"\nspider-jax: next: {NEXT_STEPS['inspect']}\n")  # after the bar
    assert command("inspect", small_zoo, "-q").err == ""
    assert "next:" not in command("inspect", small_zoo, "--json").err
    assert "next:" not in command("inspect", small_zoo / "nothing").err
