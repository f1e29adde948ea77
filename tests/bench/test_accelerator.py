"""The command for a machine with jax and torch alone: it runs there, and finds what is wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
from bench.speed import accelerator_checks, accelerator_run
from bench.speed import accelerator_ours as ours
from bench.speed import accelerator_torch as peer
from bench.speed.accelerator_checks import apart, checks
from bench.speed.accelerator_timing import Report, figures, seconds
from support.quick_compilation import quick_environment

ROOT = Path(__file__).parents[2]
# What a machine has that has jax and torch, with what these need themselves.
THERE = (
    *("jax", "jaxlib", "numpy", "numpy.libs", "scipy", "scipy.libs", "ml_dtypes", "opt_einsum"),
    *("torch", "torchgen", "typing_extensions.py", "mpmath", "sympy", "networkx", "filelock"),
    *("fsspec", "jinja2", "markupsafe"),
)


@pytest.mark.slow
def test_it_runs_from_the_source_tree_with_jax_and_torch_alone(tmp_path: Path) -> None:
    script, out, site = ROOT / "bench/speed/accelerator.py", tmp_path / "page", tmp_path / "site"
    site.mkdir()
    for name in THERE:
        if (path := Path(np.__file__).parents[1] / name).exists():
            (site / name).symlink_to(path)
    done = subprocess.run(
        [sys.executable, "-S", str(script), "--grid", "tiny", "--out", str(out)],
        cwd=tmp_path,
        env=os.environ | quick_environment() | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(out.with_suffix(".json").read_text())
    assert all(gap <= most for gap, most in found["checks"].values())
    assert len(found["rows"]) == 6
    assert all(row["milliseconds"] for row in found["rows"])
    assert [line.split(":")[0] for line in found["left out"]] == ["tiny"] * 3
    assert "has not been run on a GPU" in out.with_suffix(".md").read_text()


def test_a_program_that_is_wrong_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Scores that are moved by a thousandth fail the check, and then nothing is timed."""
    right = ours.scores_of
    monkeypatch.setattr(ours, "scores_of", lambda *given: right(*given) * 1.001)
    found = checks(tiny=True)
    wrong = {name for name, (gap, most) in found.items() if not gap <= most}
    assert wrong == {"scores, many, float32", "scores, few, float32"}
    monkeypatch.setattr(accelerator_run, "checks", lambda tiny: found)
    assert accelerator_run.main(tmp_path / "page", 1, "tiny") == 1
    written = json.loads((tmp_path / "page.json").read_text())
    assert written["rows"] == []
    assert "wrong: scores" in written["left out"][0]


def test_what_is_no_number_is_not_right() -> None:
    true = np.array([1.0, 2.0])
    assert apart(np.array([1.0, np.nan]), true) == np.inf
    assert apart(true, true) == 0


def test_what_fails_or_comes_too_late_is_left_out() -> None:
    def fails() -> object:
        raise MemoryError("so many bytes\nand more")

    report = Report(1)
    report.measure("large", fails)  # type: ignore[arg-type]
    assert list(seconds({"here": lambda: 0, "there": fails}, report, "cell")) == ["here"]
    late = Report(0)
    late.end = late.begun - 1
    late.measure("cell", dict)
    assert report.left_out == [
        "large: MemoryError: so many bytes and more",
        "cell, there: MemoryError: so many bytes and more",
    ]
    assert (report.rows, late.left_out) == ([], ["cell: the time is up"])


def test_a_share_of_the_roofline_is_of_the_slower_bound() -> None:
    call = {"ours": ours.Timed(lambda: None, 1e6, 1e3)}
    rate = {"float32": 1e30, "bytes": 1e30}
    slow = [rate | {"float32": 1.0}, rate | {"bytes": 1.0}]
    shares = [figures(call, {}, "float32", r, Report(1), "")["share of roofline"] for r in slow]
    assert shares[0] > 10 * shares[1] > 1


def test_the_torch_form_of_logme_is_near_the_definition() -> None:
    features, labels = accelerator_checks.zoo_of(2, 200, 20)
    found = peer.logme(features, labels).cpu().numpy()
    true = [peer.logme64(one, labels) for one in features]
    np.testing.assert_allclose(found, true, rtol=0, atol=1e-3)
