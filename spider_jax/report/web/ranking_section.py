"""The section of a ranking: the answer, scores with intervals, costs, truth and a table."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64

from spider_jax.report.groups import group_starts
from spider_jax.report.web import charts
from spider_jax.report.web.charts import Point, Row
from spider_jax.report.web.ranked import HUGE, Ranked
from spider_jax.report.web.views import (
    MINUS,
    UNKNOWN,
    Cell,
    Figure,
    Grid,
    Limits,
    View,
    cell,
    number,
    shown,
    stands_right,
)

DRAWN = 30  # models with a line of their own in the picture
LEAST_GROUP = 3  # models of a group in the mean, for a line between groups
LEAST_TRUE = 3  # models with a known truth for a picture
TINY = 1e-100  # below it a picture cannot tell a cost from 0


def ranking_view(ranked: Ranked, kicker: str, limits: Limits) -> View:
    """The section of a ranking.

    Args:
        ranked: the ranking.
        kicker: what stands above its title.
        limits: of the page.

    Returns:
        The section.
    """
    figures = [_places_figure(ranked), *_rest_figure(ranked)]
    figures += _cost_figures(ranked, limits)
    figures += _truth_figure(ranked, limits)
    return View(
        heading=shown(ranked.task) if ranked.task else "Ranking",
        kicker=kicker,
        lead=_lead(ranked),
        facts=_numbers(ranked),
        figures=figures,
        grids=[_table(ranked, limits.rows)],
        notes=[shown(note, 600) for note in ranked.notes],
        skipped=[f"not looked at: {shown(why, 600)}" for why in ranked.skipped],
    )


# ---- words -----------------------------------------------------------------------------------


def _lead(ranked: Ranked) -> str:
    first, count = shown(ranked.names[0]), len(ranked.names)
    if ranked.places is None:
        return f"{first} stands first; the resolution is not known, so no two models are separated."
    others = ranked.open - 1
    if others == 0:
        return f"{first} stands first, apart from all others."
    return f"{first} stands first; {others:,} of {count - 1:,} others cannot be separated from it."


def _numbers(ranked: Ranked) -> list[tuple[str, str]]:
    found = [("models", f"{len(ranked.names):,}"), ("may be the best", f"{ranked.open:,}")]
    if ranked.best is not None:
        found.append(("first is the best with", f"{100 * ranked.best[0]:.0f} %"))
        found.append(("orders count from", f"{100 * ranked.level:.0f} %"))
    elif math.isfinite(ranked.resolution):
        found.append(("resolution", number(ranked.resolution)))
    if np.isfinite(ranked.truth[0]):
        found.append(("true accuracy of the first", number(float(ranked.truth[0]))))
        found.append(("of the best known", number(float(np.nanmax(ranked.truth)))))
    if ranked.looked:
        found.append(("models looked at", f"{len(ranked.looked):,}"))
    return found


def _whisker_words(ranked: Ranked) -> str:
    unit = f" in {shown(ranked.unit)}" if ranked.unit else ""
    if ranked.sd is not None:
        return (
            f"Dot: expected performance{unit}. Whisker: the interval that holds the performance "
            f"with {100 * ranked.level:.0f} % by the posterior. Filled: may be the best."
        )
    if math.isfinite(ranked.resolution):
        return (
            "Dot: score. Whiskers overlap where two scores cannot be separated. Filled: may be "
            "the best."
        )
    return "Dot: score. Its resolution is not known."


# ---- pictures --------------------------------------------------------------------------------


def _places_figure(ranked: Ranked) -> Figure:
    reach, first = ranked.reach(), ranked.places
    rows = []
    for i, name in enumerate(ranked.names[:DRAWN]):
        at = float(ranked.scores[i])
        low, high = (None, None) if reach is None else (at - float(reach[i]), at + float(reach[i]))
        rows.append(Row(name, at, low, high, first is not None and bool(first[i, 0] == 1)))
    count = len(ranked.names)
    title = "Scores" if count <= DRAWN else f"Scores of the first {DRAWN} of {count:,}"
    label = f"{title}, best first, with intervals"
    return Figure(title, charts.dots(rows, label), _whisker_words(ranked))


def _rest_figure(ranked: Ranked) -> list[Figure]:
    if len(ranked.names) <= 2 * DRAWN:
        return []
    title = f"All {len(ranked.names):,} scores"
    body = charts.histogram(ranked.scores, f"{title} as a histogram", "score")
    return [Figure(title, body, "How many models have which score.")]


def _cost_figures(ranked: Ranked, limits: Limits) -> list[Figure]:
    """Score against each numeric fact: who is better than all that are cheaper."""
    figures: list[Figure] = []
    for name, values in ranked.facts.items():
        costs = _drawable(values)
        known = np.flatnonzero(np.isfinite(costs))
        if len(known) < 2 or len(np.unique(costs[known])) < 2:
            continue
        if len(figures) < limits.pictures:
            figures.append(_cost_figure(ranked, name, costs, known, limits.points))
    return figures


def _cost_figure(
    ranked: Ranked,
    name: str,
    costs: Float64[np.ndarray, " M"],
    known: Int64[np.ndarray, " K"],
    most: int,
) -> Figure:
    front = pareto_front(costs[known], ranked.scores[known])
    on, reach = {int(known[i]) for i in front}, ranked.reach()
    points = []
    many = len(known) > most
    for i in known[front].tolist() if many else known.tolist():
        at, strong = float(ranked.scores[i]), i in on
        half = float(reach[i]) if strong and reach is not None else None
        low, high = (None, None) if half is None else (at - half, at + half)
        points.append(Point(ranked.names[i], float(costs[i]), at, low, high, strong))
    corners = [(float(costs[k]), float(ranked.scores[k])) for k in known[front].tolist()]
    least, dearest = float(costs[known].min()), float(costs[known].max())
    heading = shown(name, 60)
    body = charts.scatter(
        points,
        f"Score against {heading}",
        x=f"{heading} (less is cheaper)",
        y="score",
        log=least > 0 and dearest / least > 30,
        front=corners,
        cloud=np.stack([costs[known], ranked.scores[known]], axis=1) if many else None,
    )
    unknown = len(ranked.names) - len(known)
    words = "Filled: no model that is as cheap has a higher score; whiskers as above."
    if unknown:
        words += f" Not known for {unknown:,} model{'s' * (unknown > 1)}."
    return Figure(f"Score against {heading}", body, words)


def pareto_front(costs: Float64[np.ndarray, " N"], scores: Float64[np.ndarray, " N"]) -> list[int]:
    """Points that no other beats: none is as cheap and as good, and better in one of both.

    Args:
        costs: smaller is better.
        scores: larger is better.

    Returns:
        Their numbers, the cheapest first.

    >>> pareto_front(np.array([1.0, 2.0, 3.0, 3.0]), np.array([0.5, 0.4, 0.9, 0.8]))
    [0, 2]
    """
    front: list[int] = []
    for i in np.lexsort((-scores, costs)).tolist():
        if not front or scores[i] > scores[front[-1]]:
            front.append(i)
    return front


def _truth_figure(ranked: Ranked, limits: Limits) -> list[Figure]:
    known = np.flatnonzero(np.isfinite(ranked.truth))
    if len(known) < LEAST_TRUE:
        return []
    marked = {0, int(known[ranked.truth[known].argmax()])}
    many = len(known) > limits.points
    drawn = [i for i in sorted(marked) if i in known] if many else known.tolist()
    points = [
        Point(ranked.names[i], float(ranked.scores[i]), float(ranked.truth[i]), strong=i in marked)
        for i in drawn
    ]
    words = f"{len(known):,} models with a known accuracy. Filled: the first, and the truly best."
    label = "Predicted against true"
    cloud = np.stack([ranked.scores[known], ranked.truth[known]], axis=1) if many else None
    body = charts.scatter(points, label, x="score", y="true accuracy", cloud=cloud)
    return [Figure(label, body, words)]


# ---- table -----------------------------------------------------------------------------------


def _table(ranked: Ranked, most: int) -> Grid:
    count = len(ranked.names)
    columns: list[tuple[str, list[Cell]]] = [
        ("rank", [Cell(f"{i + 1:,}", i + 1) for i in range(min(most, count))]),
        ("cannot tell from", [_place(ranked, i) for i in range(min(most, count))]),
        ("model", [Cell(shown(name)) for name in ranked.names[:most]]),
        ("score", [cell(float(score)) for score in ranked.scores[:most]]),
    ]
    for heading, values in ((f"+{MINUS}", ranked.sd), ("best with", ranked.best)):
        if values is not None:
            columns.append((heading, [cell(float(v)) for v in values[:most]]))
    if ranked.looked:
        looked = [Cell("yes" if name in ranked.looked else UNKNOWN) for name in ranked.names[:most]]
        columns.append(("looked at", looked))
    columns += [(shown(h, 60), [cell(v) for v in vs[:most]]) for h, vs in ranked.facts.items()]
    if np.isfinite(ranked.truth).any():
        columns.append(("true accuracy", [cell(float(v)) for v in ranked.truth[:most]]))
    return Grid(
        "Models, best first",
        [heading for heading, _ in columns],
        [heading != "cannot tell from" and stands_right(cells) for heading, cells in columns],
        list(zip(*(cells for _, cells in columns), strict=True)),
        count,
        breaks=_groups(ranked, min(most, count)),
    )


def _place(ranked: Ranked, i: int) -> Cell:
    if ranked.places is None:
        return Cell("?")
    first, last = ranked.places[i].tolist()
    text = "alone" if first == last else f"{first:,}{UNKNOWN}{last:,}"
    count = len(ranked.names)
    return Cell(text, first, ((first - 1) / count, last / count))


def _groups(ranked: Ranked, rows: int) -> frozenset[int]:
    """Rows of the table that begin a group; none where most models stand alone."""
    starts = [] if ranked.places is None else group_starts(ranked.places)
    drawn = [row for row in starts if row < rows]
    return frozenset(drawn if len(drawn) * LEAST_GROUP <= rows else ())


def _drawable(values: Sequence[object]) -> Float64[np.ndarray, " N"]:
    """Positive numbers and 0 that a picture can hold; NaN for all else."""
    plain = [v if isinstance(v, int | float) and 0 <= v < HUGE else math.nan for v in values]
    truths = [isinstance(v, bool) for v in values]
    found = np.array(plain, np.float64)
    return np.where(truths | ((found > 0) & (found < TINY)), math.nan, found)
