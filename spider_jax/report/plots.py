"""Pictures of results with matplotlib, which is imported where one is drawn.

Each function draws on `axes`, or on new ones, and returns them; `axes.figure.savefig(path)` keeps a
picture. Names are text: no formula of TeX begins in one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.report.web.overview import biplot, places_of, score_table
from spider_jax.report.web.ranked import Ranked, read_ranked
from spider_jax.report.web.ranking_section import pareto_front
from spider_jax.report.web.sections import CONSTANT, kind_of, method_rows, rankings_in
from spider_jax.report.web.views import shown
from spider_jax.runtime.optional import need

if TYPE_CHECKING:
    from matplotlib.axes import Axes
else:
    Axes = object

STRONG, PALE, INK, SOFT = "#0b6158", "#74a9a1", "#1b1d21", "#8b9096"
NAME = 32  # characters of a name beside an axis
MOST = 40  # rows with a name


def plot_ranking(
    names: Sequence[str],
    scores: Float[np.ndarray, " M"],
    *,
    reach: Float[np.ndarray, " M"] | None = None,
    first: Bool[np.ndarray, " M"] | None = None,
    axes: Axes | None = None,
) -> Axes:
    """Scores with their intervals, best first.

    Args:
        names: of the models; the first 40 are drawn.
        scores: one per name.
        reach: half of each interval; None for none.
        first: which models may be the best; they are filled.
        axes: matplotlib's; default: new ones.

    Returns:
        The axes.
    """
    count = min(len(names), MOST)
    axes = _axes(axes, height=0.28 * count + 1)
    strong = np.zeros(count, bool) if first is None else np.asarray(first[:count], bool)
    half = None if reach is None else np.asarray(reach[:count], float)
    _dots(axes, np.asarray(scores[:count], float), half, strong)
    _names(axes, names[:count])
    axes.set_xlabel("score")
    return axes


def plot_pareto(
    costs: Float[np.ndarray, " M"],
    scores: Float[np.ndarray, " M"],
    names: Sequence[str],
    *,
    cost: str = "cost",
    axes: Axes | None = None,
) -> Axes:
    """Scores against a cost, and the models that none beats in both.

    Args:
        costs: smaller is better; NaN where not known.
        scores: larger is better.
        names: of the models; those on the front are written.
        cost: what it is.
        axes: matplotlib's; default: new ones.

    Returns:
        The axes.

    Raises:
        InputError: no cost is known.
    """
    known = np.flatnonzero(np.isfinite(costs) & np.isfinite(scores))
    if len(known) == 0:
        raise InputError(f"{cost} must be known for at least one model")
    front = known[pareto_front(costs[known].astype(float), scores[known].astype(float))]
    axes = _axes(axes)
    _points(axes, costs[known], scores[known])
    axes.step(costs[front], scores[front], where="post", color=PALE, linewidth=1)
    axes.plot(costs[front], scores[front], "o", color=STRONG)
    for i in front.tolist():
        _label(axes, names[i], float(costs[i]), float(scores[i]))
    if costs[known].min() > 0 and costs[known].max() > 30 * costs[known].min():
        axes.set_xscale("log")
    _words(axes, shown(cost, 60), "score")
    return axes


def plot_heat(
    values: Float[np.ndarray, "M T"],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    label: str = "",
    place: bool = False,
    axes: Axes | None = None,
) -> Axes:
    """A table of numbers as a heat map: the better, the darker.

    Args:
        values: NaN where not known.
        rows: names, from top to bottom.
        columns: names.
        label: what the numbers are.
        place: whether they are places: smaller is darker.
        axes: matplotlib's; default: new ones.

    Returns:
        The axes.
    """
    axes = _axes(axes, height=0.26 * len(rows) + 1.6)
    image = axes.imshow(
        values, aspect="auto", cmap="GnBu_r" if place else "GnBu", interpolation="nearest"
    )
    bar = axes.figure.colorbar(image, ax=axes)
    bar.set_label(shown(label, 60), parse_math=False)
    _names(axes, rows, invert=False)
    axes.set_xticks(range(len(columns)), [shown(c, NAME) for c in columns], parse_math=False)
    axes.tick_params(axis="x", rotation=30)
    return axes


def plot_predicted(
    scores: Float[np.ndarray, " M"],
    truth: Float[np.ndarray, " M"],
    names: Sequence[str],
    *,
    axes: Axes | None = None,
) -> Axes:
    """True results against scores; the best by either is named.

    Args:
        scores: of the models.
        truth: aligned; NaN where not known.
        names: of the models.
        axes: matplotlib's; default: new ones.

    Returns:
        The axes.

    Raises:
        InputError: no truth is known.
    """
    known = np.flatnonzero(np.isfinite(truth) & np.isfinite(scores))
    if len(known) == 0:
        raise InputError("truth must be known for at least one model")
    axes = _axes(axes)
    _points(axes, scores[known], truth[known])
    for i in {int(known[scores[known].argmax()]), int(known[truth[known].argmax()])}:
        axes.plot(scores[i], truth[i], "o", color=STRONG)
        _label(axes, names[i], float(scores[i]), float(truth[i]))
    _words(axes, "score", "true result")
    return axes


def plot_map(
    values: Float[np.ndarray, "M T"],
    models: Sequence[str],
    tasks: Sequence[str],
    *,
    axes: Axes | None = None,
) -> Axes:
    """Models and tasks by two principal components of a table of both.

    Args:
        values: scores or results, comparable within a task; NaN where not known.
        models: names.
        tasks: names, written.
        axes: matplotlib's; default: new ones.

    Returns:
        The axes.

    Raises:
        InputError: fewer than two models or two tasks.
    """
    if min(values.shape) < 2:
        raise InputError(f"a map needs two models and two tasks, got {list(values.shape)}")
    dots, squares, share = biplot(np.asarray(values, np.float64))
    axes = _axes(axes)
    _points(axes, *dots.T)
    axes.plot(*squares.T, "s", color=INK)
    for task, (x, y) in zip(tasks, squares.tolist(), strict=True):
        _label(axes, task, x, y)
    _words(axes, "first component", f"second component (both: {100 * share:.0f} % of variance)")
    return axes


def plot_methods(
    names: Sequence[str],
    means: Float[np.ndarray, " K"],
    low: Float[np.ndarray, " K"],
    high: Float[np.ndarray, " K"],
    *,
    measure: str = "weighted tau",
    axes: Axes | None = None,
) -> Axes:
    """Methods with their intervals; the constant order as a line through all.

    Args:
        names: of the methods.
        means: of the measure; NaN where not known.
        low: lower ends.
        high: upper ends.
        measure: what it is.
        axes: matplotlib's; default: new ones.

    Returns:
        The axes.
    """
    axes = _axes(axes, height=0.28 * len(names) + 1)
    strong = np.array([n != CONSTANT and not n.startswith("random") for n in names], bool)
    half = np.stack([means - low, high - means])
    _dots(axes, means, np.where(np.isfinite(half), np.maximum(half, 0), 0.0), strong)
    if CONSTANT in names:
        axes.axvline(means[list(names).index(CONSTANT)], color=SOFT, linestyle="--", linewidth=1)
    _names(axes, names)
    axes.set_xlabel(shown(measure, 60), parse_math=False)
    return axes


def plot_content(content: Mapping[str, Any], axes: Axes | None = None) -> Axes:
    """The picture of a result.

    Args:
        content: of its JSON.
        axes: matplotlib's; default: new ones.

    Returns:
        The axes.

    Raises:
        InputError: results of this kind have no picture.
    """
    rankings = [read_ranked(found) for _, found in rankings_in(content)]
    if len(rankings) == 1:
        return _ranking(rankings[0], axes)
    if rankings:
        return _rankings(rankings, axes)
    draw = PLOTS.get(kind_of(content))
    if draw is None:
        known = ", ".join(("ranking", "rankings", *PLOTS))
        raise InputError(
            f"{kind_of(content)} has no picture, {known} have one: to_html() makes a page of it"
        )
    return draw(content, axes)


# ---- kinds -----------------------------------------------------------------------------------


def _ranking(ranked: Ranked, axes: Axes | None) -> Axes:
    first = None if ranked.places is None else ranked.places[:, 0] == 1
    axes = plot_ranking(ranked.names, ranked.scores, reach=ranked.reach(), first=first, axes=axes)
    if ranked.task:
        axes.set_title(shown(ranked.task, 60), loc="left", parse_math=False)
    return axes


def _rankings(rankings: Sequence[Ranked], axes: Axes | None) -> Axes:
    table = score_table(rankings)
    places = places_of(table)
    order = np.argsort(np.nan_to_num(places, nan=len(table.models)).mean(1), kind="stable")[:MOST]
    models = [table.models[i] for i in order.tolist()]
    return plot_heat(places[order], models, table.tasks, label="place", place=True, axes=axes)


def _scores(content: Mapping[str, Any], axes: Axes | None) -> Axes:
    rows, metrics = content["rows"][:MOST], content["metrics"]
    values = np.array([[row[metric] for metric in metrics] for row in rows], np.float64)
    known = np.flatnonzero(np.isfinite(values).any(0)).tolist()
    values, kept = values[:, known], [metrics[i] for i in known]
    low, high = np.nanmin(values, 0), np.nanmax(values, 0)
    shares = (values - low) / np.where(high > low, high - low, 1.0)
    label = "from the least to the largest of a metric"
    return plot_heat(shares, [row["model"] for row in rows], kept, label=label, axes=axes)


def _comparison(content: Mapping[str, Any], axes: Axes | None) -> Axes:
    rows = method_rows(content["rows"])
    means, low, high = np.array([(r.at, r.low, r.high) for r in rows], np.float64).T
    return plot_methods([r.name for r in rows], means, low, high, axes=axes)


def _selection(content: Mapping[str, Any], axes: Axes | None) -> Axes:
    rows = [row for row in content["rows"] if row["epochs"]][:MOST]
    axes = _axes(axes, height=0.28 * len(rows) + 1)
    colors = [STRONG if row["fate"] == "won" else PALE for row in rows]
    axes.barh(range(len(rows)), [row["epochs"] for row in rows], color=colors, height=0.5)
    _names(axes, [row["model"] for row in rows])
    axes.set_xlabel("epochs")
    return axes


PLOTS: dict[str, Callable[[Mapping[str, Any], Axes | None], Axes]] = {
    "scores": _scores,
    "comparison": _comparison,
    "selected-models": _selection,
}


# ---- drawing ---------------------------------------------------------------------------------


def _axes(axes: Axes | None, *, height: float = 4.5) -> Axes:
    if axes is None:
        pyplot = need("matplotlib.pyplot", "matplotlib", "a plot")
        _, axes = pyplot.subplots(figsize=(7, min(height, 14)), layout="constrained")
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def _dots(
    axes: Axes,
    at: NDArray[np.floating],
    half: NDArray[np.floating] | None,
    strong: NDArray[np.bool_],
) -> None:
    rows = np.arange(len(at))
    for kind, color in ((~strong, PALE), (strong, STRONG)):
        error = None if half is None else half[..., kind]
        face = color if color == STRONG else "white"
        axes.errorbar(
            at[kind], rows[kind], xerr=error, fmt="o", color=color, mfc=face, ms=5, lw=1.4
        )
    axes.grid(axis="x", color="#dcdedf", linewidth=0.8)
    axes.set_axisbelow(True)


def _points(axes: Axes, x: NDArray[np.floating], y: NDArray[np.floating]) -> None:
    axes.plot(x, y, "o", color=PALE, mfc="white", ms=5, zorder=1)


def _label(axes: Axes, name: str, x: float, y: float) -> None:
    axes.annotate(
        shown(name, NAME), (x, y), (6, 3), textcoords="offset points", fontsize=8, parse_math=False
    )


def _names(axes: Axes, names: Sequence[str], *, invert: bool = True) -> None:
    axes.set_yticks(range(len(names)), [shown(n, NAME) for n in names], parse_math=False)
    axes.tick_params(axis="y", length=0)
    if invert:
        axes.set_ylim(len(names) - 0.5, -0.5)


def _words(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, parse_math=False)
    axes.set_ylabel(y, parse_math=False)
