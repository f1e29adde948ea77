"""Maps of tokens as pictures, in which the tasks or models of the page are filled."""

from collections.abc import Sequence

import numpy as np

from spider_jax.report.token_map import TokenMap
from spider_jax.report.web import charts
from spider_jax.report.web.charts import Point
from spider_jax.report.web.ranked import Ranked
from spider_jax.report.web.views import Figure, Limits, View

NAMED = 12  # the strong ones, whose names stand beside them


def related_maps(maps: Sequence[TokenMap], rankings: Sequence[Ranked]) -> list[TokenMap]:
    """The maps that share a task or a model with rankings.

    Args:
        maps: of tasks or of models.
        rankings: of a page, or of a part of it.
    """
    tasks = {ranked.task for ranked in rankings}
    models = {name for ranked in rankings for name in ranked.names}
    own = {"tasks": tasks, "models": models}
    return [one for one in maps if own[one.what] & set(one.names)]


def token_figures(
    maps: Sequence[TokenMap], rankings: Sequence[Ranked], limits: Limits
) -> list[Figure]:
    """A picture of every map.

    Args:
        maps: of tasks or of models.
        rankings: whose tasks and first models are marked.
        limits: of the page.
    """
    marked = {
        "tasks": dict.fromkeys(ranked.task for ranked in rankings if ranked.task is not None),
        "models": dict.fromkeys(ranked.names[0] for ranked in rankings),
    }
    return [_figure(one, list(marked[one.what]), limits) for one in maps]


def token_view(maps: Sequence[TokenMap], rankings: Sequence[Ranked], limits: Limits) -> View | None:
    """The section of maps where a page has no overview to hold them.

    Args:
        maps: of tasks or of models.
        rankings: of the page.
        limits: of the page.

    Returns:
        The section; None where no map has to do with the page.
    """
    figures = token_figures(related_maps(maps, rankings), rankings, limits)
    if not figures:
        return None
    return View("Tasks and models by their tokens", "Map", figures=figures)


def _figure(one: TokenMap, marked: Sequence[str], limits: Limits) -> Figure:
    strong = set(marked[:NAMED])
    many = len(one.names) > limits.points
    points = [
        Point(name, x, y, strong=name in strong)
        for name, (x, y) in zip(one.names, one.places.tolist(), strict=True)
        if not many or name in strong
    ]
    if not points:  # a density needs a point that stands for the rest
        name, (x, y) = one.names[0], one.places[0].tolist()
        points = [Point(name, x, y)]
    title = f"Map of {one.what}, by tokens"
    body = charts.scatter(
        points,
        title,
        x="first component",
        y="second component",
        cloud=np.asarray(one.places) if many else None,
    )
    said = "tasks of this page" if one.what == "tasks" else "first on a task of this page"
    words = (
        f"Principal components of tokens, not of scores: {one.of}. {one.what.capitalize()} near "
        f"each other are alike in them. Filled: {said}. The two components hold "
        f"{100 * one.share:.0f} % of the variance."
    )
    return Figure(title, body, words)
