"""Every way out of every result: frames, notebooks, pages, pictures, and back from JSON."""

import importlib
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from report.test_web import ATTRIBUTES, TAGS, Elements
from spider_jax.errors import InputError
from spider_jax.ranking.ranking import Ranking
from spider_jax.report.frames import to_frame
from spider_jax.report.notebook import ROWS
from spider_jax.report.result import Result
from support.toy_results import RESULTS

BACK = ("ranking", "rankings", "scores", "comparison", "selected-models", "tuned-students")
PICTURES = ("ranking", "rankings", "scores", "comparison", "selected-models", "demo")
every = pytest.mark.parametrize("kind", RESULTS)


# ---- back from JSON --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", BACK)
def test_a_result_comes_back_from_its_json(kind: str, tmp_path: Path) -> None:
    result = RESULTS[kind]()
    result.to_json(tmp_path / "r.json")
    back = type(result).from_json(tmp_path / "r.json")
    assert type(back) is type(result)
    assert back.to_content() == result.to_content()
    assert back.to_text() == result.to_text()
    assert back.to_rows() == result.to_rows()
    back.to_json(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "r.json").read_bytes()


@pytest.mark.parametrize("kind", BACK)
def test_a_spoilt_json_is_one_line(kind: str, tmp_path: Path) -> None:
    """Each entry left out, or of another kind: a result, or a line that names the file."""
    result, path = RESULTS[kind](), tmp_path / "r.json"
    whole = result.to_content()
    refused = 0
    for name in whole:
        for spoilt in (None, 7, "text", [7], {"x": 7}):
            content = whole | {name: spoilt}
            if spoilt is None:
                del content[name]
            path.write_text(json.dumps(content), encoding="utf-8")
            if (said := line_of(type(result), path)) is not None:
                refused += 1
                assert "r.json" in said
                assert said.splitlines() == [said]
    assert refused >= 5


def line_of(kind: type[Result], path: Path) -> str | None:
    """What is wrong with a file; None for a sound one."""
    try:
        kind.from_json(path)
    except InputError as error:
        return str(error)
    return None


@pytest.mark.parametrize("kind", [kind for kind in RESULTS if kind not in BACK])
def test_what_is_not_read_back_says_so(kind: str, tmp_path: Path) -> None:
    result = RESULTS[kind]()
    result.to_json(tmp_path / "r.json")
    with pytest.raises(InputError, match=r"r\.json: .* is not read back: `spider-jax report`"):
        type(result).from_json(tmp_path / "r.json")


# ---- notebooks and pages ---------------------------------------------------------------------


@every
def test_a_notebook_shows_text_only(kind: str) -> None:
    result = RESULTS[kind]()
    found = Elements(result._repr_html_())
    assert found.tags <= {"div", "p", "table", "thead", "tbody", "tr", "th", "td"}
    assert found.attributes <= {"style"}
    words = "".join(found.words)
    assert r"<b>|[x](y)\x1b[31m\x0a`*~" in words
    for said in result.statements():
        assert said.replace("\x1b", r"\x1b").replace("\n", r"\x0a") in words


@pytest.mark.parametrize("models", [1, ROWS, ROWS + 1, 12_345])
def test_a_notebook_shows_the_first_rows_and_how_many_more(models: int) -> None:
    names = [f"model {i}" for i in range(models)]
    html = Ranking.from_scores(names, np.arange(models), resolution=0.5)._repr_html_()
    assert html.count("<tr>") == 1 + min(models, ROWS)
    assert ("more not shown" in html) == (models > ROWS)
    if models > ROWS:
        assert f"<p>{models - ROWS:,} more not shown</p>" in html


@every
def test_the_page_of_a_result_stands_alone(kind: str) -> None:
    found = Elements(RESULTS[kind]().to_html())
    assert found.tags <= {*TAGS}
    assert found.attributes <= {*ATTRIBUTES}
    assert {"src", "srcset"} & found.attributes == set()


# ---- data frames -----------------------------------------------------------------------------


@every
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_has_the_rows(kind: str, library: str) -> None:
    pytest.importorskip(library)
    result = RESULTS[kind]()
    frame = result.to_frame(library)
    assert type(frame).__module__.startswith(library)
    assert list(frame.columns) == list(result.columns)
    assert frame.shape == (len(result.to_rows()), len(result.columns))
    for i, name in enumerate(result.columns):
        for found, wanted in zip(list(frame[name]), [r[i] for r in result.to_rows()], strict=True):
            missing = found is None or found != found
            assert (wanted is None) == missing
            assert missing or found == wanted


def test_without_a_library_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("spider_jax.report.frames.find_spec", lambda name: None)
    real = importlib.import_module

    def absent(name: str, package: str | None = None) -> Any:
        if name in ("pandas", "polars"):
            raise ModuleNotFoundError(name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(InputError, match="a data frame needs pandas: pip install pandas"):
        RESULTS["ranking"]().to_frame()
    with pytest.raises(InputError, match="a data frame needs polars: pip install polars"):
        RESULTS["ranking"]().to_frame("polars")
    with pytest.raises(InputError, match="library must be one of pandas, polars, got 'arrow'"):
        RESULTS["ranking"]().to_frame("arrow")


@pytest.mark.parametrize("rows", [[], [[None, None]], [["a", 1]], [["a", np.float32(0.5)]]])
def test_frames_of_few_rows(rows: Sequence[Sequence[object]]) -> None:
    pytest.importorskip("pandas")
    assert to_frame(["model", "score"], rows).shape == (len(rows), 2)


# ---- pictures --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_is_drawn(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    axes = RESULTS[kind]().plot()
    axes.figure.savefig(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 1000
    _, own = pyplot.subplots()
    assert RESULTS[kind]().plot(own) is own
    pyplot.close("all")


@pytest.mark.parametrize("kind", [kind for kind in RESULTS if kind not in PICTURES])
def test_what_has_no_picture_says_so(kind: str) -> None:
    with pytest.raises(InputError, match=f"{kind} has no picture"):
        RESULTS[kind]().plot()


def test_a_formula_in_a_name_is_text(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot

    from spider_jax.report import plots

    names = [r"$\frac{a}{", "$x^2$", "a_b"]
    values = np.array([[1.0, 2.0], [2.0, np.nan], [0.0, 5.0]])
    made = [
        plots.plot_ranking(names, values[:, 0]),
        plots.plot_pareto(np.array([1.0, 2.0, 300.0]), values[:, 0], names, cost="$c"),
        plots.plot_heat(values, names, ["$t$", "u"]),
        plots.plot_predicted(values[:, 0], values[:, 1], names),
        plots.plot_map(values, names, ["$t$", "u"]),
        plots.plot_methods(names, values[:, 0], values[:, 0] - 1, values[:, 0] + 1, measure="$m"),
    ]
    for axes in made:
        axes.figure.savefig(tmp_path / "plot.png")
        texts = [text.get_text() for text in axes.figure.findobj(pyplot.Text)]
        assert any(name in texts for name in (*names, "$t$"))
    pyplot.close("all")


def test_nothing_heavy_is_imported_before_it_is_used() -> None:
    program = (
        "import sys, spider_jax; from spider_jax.ranking.ranking import Ranking;"
        "Ranking.from_scores(['a'], [1.0], resolution=0.0).to_text();"
        "print({'jinja2', 'markupsafe', 'matplotlib', 'pandas', 'polars'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert shown.stdout.strip() == "set()", shown.stderr
