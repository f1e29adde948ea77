"""Tables in a terminal: colours where they are wanted, and groups that stand apart."""

import re

import numpy as np
import pytest

from spider_jax.cli.output import Output
from spider_jax.ranking.ranking import Ranking
from spider_jax.report.page import page_text


def test_a_terminal_has_colours_unless_they_are_not_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    apart = Ranking(("a", "b", "c"), np.float32([3, 2.9, 1]), 0.5)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    Output().write(apart)
    bold, green, *others = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"\x1b\[1mrank .* score\x1b\[0m", bold)
    assert re.fullmatch(r"\x1b\[32m   1  1-2 .* a +3\.000\x1b\[0m", green)
    assert others[0].startswith("\x1b[32m")
    assert not any("\x1b" in line for line in others[1:])
    for name, value in (("NO_COLOR", "1"), ("TERM", "dumb")):
        with monkeypatch.context() as other:
            other.setenv(name, value)
            Output().write(apart)
            assert "\x1b" not in capsys.readouterr().out
    monkeypatch.setattr("sys.stdout.isatty", lambda: False)
    Output().write(apart)
    assert capsys.readouterr().out == apart.to_text() + "\n"


@pytest.mark.parametrize("models", [3, 6, 30])
def test_groups_that_are_told_apart_stand_apart_in_a_terminal(models: int) -> None:
    scores = np.repeat(np.arange(models // 3, 0, -1), 3).astype(np.float32)
    ranking = Ranking(tuple(f"m{i}" for i in range(models)), scores, 0.5)
    lines = page_text(ranking.page(), width=120).splitlines()
    gaps = [i for i, line in enumerate(lines) if not line]
    assert gaps == [4 * group for group in range(1, models // 3)]
    assert [line for line in lines if line] == page_text(ranking.page()).splitlines()
    alone = Ranking(("a", "b", "c"), np.float32([3, 2, 1]), 0.5)
    assert "" not in page_text(alone.page(), width=120).splitlines()
