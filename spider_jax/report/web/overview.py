"""Many tasks at once: models x tasks as a heat map, and both on a map of two components."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from spider_jax.report.token_map import TokenMap
from spider_jax.report.web import charts
from spider_jax.report.web.charts import Point
from spider_jax.report.web.ranked import Ranked
from spider_jax.report.web.token_figures import related_maps, token_figures
from spider_jax.report.web.views import UNKNOWN, Cell, Figure, Grid, Limits, View, shown

ALIKE = 0.5  # share of models that two rankings have in common to be shown together
MOST_MODELS, MOST_TASKS = 40, 30
MAP = "Map of tasks and models, by scores"
LEAST_MAP = 3  # tasks and models of a map


class Table(NamedTuple):
    """Scores of models on tasks, comparable within a task.

    Attributes:
        models: names.
        tasks: names.
        values: NaN where not known; larger is better.
        first: whether a model may be the best of a task.
    """

    models: list[str]
    tasks: list[str]
    values: Float64[np.ndarray, "M T"]
    first: np.ndarray


def families(rankings: Sequence[Ranked]) -> list[list[Ranked]]:
    """Rankings of largely the same models, together.

    Args:
        rankings: of any tasks.

    Returns:
        Groups in the order in which their first rankings stand.
    """
    groups: list[tuple[frozenset[str], list[Ranked]]] = []
    for ranked in rankings:
        own = frozenset(ranked.names)
        for names, group in groups:
            if len(own & names) >= ALIKE * len(own | names):
                group.append(ranked)
                break
        else:
            groups.append((own, [ranked]))
    return [group for _, group in groups]


def overview(rankings: Sequence[Ranked], limits: Limits, maps: Sequence[TokenMap] = ()) -> View:
    """The section of several rankings.

    Args:
        rankings: of two tasks or more.
        limits: of the page.
        maps: by tokens; without one of the models, both are mapped by the scores.

    Returns:
        The section.
    """
    table = score_table(rankings)
    order = np.argsort(_mean_places(table), kind="stable")
    count = f"{len(table.models):,} models on {len(table.tasks):,} tasks"
    best = table.models[int(order[0])]
    related = related_maps(maps, rankings)
    figures = token_figures(related, rankings, limits)
    if all(one.what != "models" for one in related) and min(table.values.shape) >= LEAST_MAP:
        figures.append(_map(table, limits))
    return View(
        heading="Models and tasks",
        kicker="Overview",
        lead=f"{shown(best)} has the best mean place over {count}.",
        figures=figures,
        grids=[_heat(table, order), _firsts(rankings, limits)],
    )


def score_table(rankings: Sequence[Ranked]) -> Table:
    """Scores of all models on the tasks of all rankings.

    Args:
        rankings: at least one.

    Returns:
        The table.
    """
    models = list(dict.fromkeys(name for ranked in rankings for name in ranked.names))
    at = {name: i for i, name in enumerate(models)}
    values = np.full((len(models), len(rankings)), np.nan)
    first = np.zeros(values.shape, bool)
    for t, ranked in enumerate(rankings):
        rows = [at[name] for name in ranked.names]
        values[rows, t] = ranked.scores
        if ranked.places is not None:
            first[rows, t] = ranked.places[:, 0] == 1
    return Table(models, [ranked.task or UNKNOWN for ranked in rankings], values, first)


def places_of(table: Table) -> Float64[np.ndarray, "M T"]:
    """Places from 1 by score.

    Args:
        table: of scores.

    Returns:
        NaN where not known.
    """
    places = np.full(table.values.shape, np.nan)
    for t, column in enumerate(table.values.T):
        known = np.flatnonzero(np.isfinite(column))
        places[known[np.argsort(-column[known], kind="stable")], t] = np.arange(1, len(known) + 1)
    return places


def _mean_places(table: Table) -> Float64[np.ndarray, " M"]:
    places = places_of(table)
    known = np.isfinite(places)
    worst = known.sum(0) + 1.0  # where a model was not ranked
    return np.where(known, places, worst).mean(1)


def _heat(table: Table, order: np.ndarray) -> Grid:
    places, means = places_of(table), _mean_places(table)
    known = np.isfinite(places).sum(0)
    rows = []
    for i in order[:MOST_MODELS].tolist():
        row = [Cell(shown(table.models[i])), Cell(f"{means[i]:.1f}", float(means[i]))]
        for t in range(min(len(table.tasks), MOST_TASKS)):
            place = places[i, t]
            if math.isnan(place):
                row.append(Cell(UNKNOWN))
                continue
            strong = 1 - (place - 1) / max(1, known[t] - 1)
            mark = " ●" if table.first[i, t] else ""
            row.append(Cell(f"{place:,.0f}{mark}", place, tint=round(float(strong), 2)))
        rows.append(row)
    tasks = [shown(task, 40) for task in table.tasks[:MOST_TASKS]]
    cut = len(table.tasks) - len(tasks)
    more = f", the first {len(tasks)} of {len(table.tasks):,} tasks" if cut else ""
    label = f"Places of models on tasks{more}; ● may be the best"
    columns = ["model", "mean place", *tasks]
    numeric = [False] + [True] * (len(columns) - 1)
    return Grid(label, columns, numeric, rows, len(table.models), heat=True)


def _firsts(rankings: Sequence[Ranked], limits: Limits) -> Grid:
    rows = []
    for ranked in rankings[: limits.rows]:
        best = UNKNOWN if ranked.best is None else f"{ranked.best[0]:.2f}"
        chance = None if ranked.best is None else float(ranked.best[0])
        rows.append(
            [
                Cell(shown(ranked.task or UNKNOWN)),
                Cell(shown(ranked.names[0])),
                Cell(best, chance),
                Cell(f"{ranked.open:,}", ranked.open),
                Cell(f"{len(ranked.names):,}", len(ranked.names)),
            ]
        )
    columns = ["task", "first", "best with", "may be the best", "models"]
    numeric = [False, False, True, True, True]
    return Grid("The first model of every task", columns, numeric, rows, len(rankings))


def biplot(
    values: Float64[np.ndarray, "M T"],
) -> tuple[Float64[np.ndarray, "M 2"], Float64[np.ndarray, "T 2"], float]:
    """Models and tasks by two principal components.

    Scores are standardised by task; then the mean of every model is taken off, so that a model lies
    in the direction of the tasks on which it is better than elsewhere: Z = U S V^T, models U S,
    tasks V S on the models' scale.

    Args:
        values: at least two models on two tasks; NaN where not known, counted as the mean.

    Returns:
        Places of the models, of the tasks, and the share of the variance that both components hold.
    """
    known = np.isfinite(values)
    count = np.maximum(known.sum(0), 1)
    middle = np.where(known, values, 0.0).sum(0) / count
    centred = np.where(known, values - middle, 0.0)
    spread = np.sqrt((centred**2).sum(0) / count)
    z = centred / np.where(spread > 0, spread, 1.0)
    z = z - z.mean(1, keepdims=True)
    left, sizes, right = np.linalg.svd(z, full_matrices=False)
    models, tasks = left[:, :2] * sizes[:2], right[:2].T * sizes[:2]
    most = float(np.abs(tasks).max())
    scale = float(np.abs(models).max()) / most if most > 0 else 1.0
    share = float((sizes[:2] ** 2).sum()) / max(float((sizes**2).sum()), 1e-300)
    return models, tasks * scale, share


def _map(table: Table, limits: Limits) -> Figure:
    models, tasks, share = biplot(table.values)
    far = np.argsort(-np.abs(models).sum(1))[:6].tolist()
    many = len(models) > limits.points
    points = [
        Point(table.models[i], float(models[i, 0]), float(models[i, 1]), strong=i in far)
        for i in (far if many else range(len(models)))
    ]
    squares = [
        Point(task, x, y, square=True)
        for task, (x, y) in zip(table.tasks, tasks.tolist(), strict=True)
    ]
    body = charts.scatter(
        [*squares[:MOST_TASKS], *points],
        MAP,
        x="first component",
        y="second component",
        cloud=models if many else None,
    )
    words = (
        "Principal components of the scores (tokens of the models are not at hand), standardised "
        "by task, after the mean of every model: a model (dot) lies in the direction of the tasks "
        "(squares) on which it is better than elsewhere. The two components hold "
        f"{100 * share:.0f} % of the variance."
    )
    return Figure(MAP, body, words)
