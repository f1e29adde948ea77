"""The benchmark scripts as a newcomer meets them: they start, say how, and keep their promises."""

import ast
import doctest
import importlib
import re
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "bench"
SCRIPTS = sorted(p for p in BENCH.rglob("*.py") if "__main__" in p.read_text(encoding="utf-8"))
NEEDS_TORCH = {"speed/scoring.py", "speed/tuning.py"}
ANSWERS_ONLY = {"speed/train_processes.py"}  # a part of train.py, without options
NEUTRAL = {"spider_jax.errors", "spider_jax.storage", "spider_jax.zoo"}


def name(path: Path) -> str:
    return path.relative_to(BENCH).as_posix()


@pytest.mark.parametrize("path", SCRIPTS, ids=name)
def test_a_script_shows_how_it_is_used(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"python bench/{name(path)}" in (ast.get_docstring(ast.parse(path.read_text())) or "")
    if name(path) in NEEDS_TORCH:
        pytest.importorskip("torch")
    if name(path) in ANSWERS_ONLY:
        return
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(path), run_name="__main__")
    assert left.value.code == 0
    assert "usage" in capsys.readouterr().out.lower()


@pytest.mark.parametrize("path", [p for p in SCRIPTS if p.parent.name == "quality"], ids=name)
def test_without_its_data_a_script_says_what_is_missing(
    path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SPIDER_JAX_DATA", raising=False)
    monkeypatch.setattr(sys, "argv", [str(path), "--out", str(tmp_path / "page")])
    with pytest.raises(SystemExit, match="SPIDER_JAX_DATA must name the folder"):
        runpy.run_path(str(path), run_name="__main__")
    assert list(tmp_path.glob("page*")) == []


def test_what_pages_and_scripts_name_exists() -> None:
    pages = [*BENCH.rglob("*.py"), *BENCH.rglob("*.md"), *(ROOT / "configs").rglob("*.toml")]
    missing = [
        (path.name, named)
        for path in (*pages, ROOT / "README.md")
        for named in re.findall(r"\b(?:bench|configs)/[\w/.-]+\.(?:py|md|toml)\b", path.read_text())
        if not (ROOT / named).exists()
    ]
    assert missing == []


def test_links_of_the_page_of_pages_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)", (BENCH / "README.md").read_text())
    assert links
    assert [link for link in links if not (BENCH / link).exists()] == []


def test_peers_and_the_synthetic_zoo_know_nothing_of_what_they_are_compared_with() -> None:
    for path in (*(BENCH / "peers").glob("*.py"), BENCH / "zoos" / "make_synthetic.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            ours = [n for n in names if n.split(".")[0] == "spider_jax"]
            assert {".".join(n.split(".")[:2]) for n in ours} <= NEUTRAL, path
            others = [n for n in names if n.split(".")[0] == "bench"]
            assert all(n.startswith("bench.peers.") for n in others), path


@pytest.mark.parametrize("module", ["bench.common", "bench.quality.selection_family"])
def test_examples_hold(module: str) -> None:
    found = doctest.testmod(importlib.import_module(module))
    assert found.attempted > 0
    assert found.failed == 0
