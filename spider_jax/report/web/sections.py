"""From the JSON of any result to sections: known kinds with pictures, others as tables."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from spider_jax.report.web import charts
from spider_jax.report.web.charts import Row
from spider_jax.report.web.ranked import Ranked, read_ranked
from spider_jax.report.web.views import (
    UNKNOWN,
    Cell,
    Figure,
    Grid,
    Limits,
    View,
    cell,
    grid,
    number,
    shown,
)

Content = Mapping[str, Any]
HEADINGS = {
    "ranking": "Ranking",
    "rankings": "Rankings",
    "scores": "Training-free metrics",
    "comparison": "Comparison of methods",
    "selected-models": "Selection",
    "selection": "State of a selection",
    "next_runs": "What to run next",
    "tuned-students": "Tuned students",
    "inspection": "The zoo",
    "records_check": "The records",
    "records_change": "Records changed",
    "demo": "Demo",
    "explanation": "Why a model stands where it stands",
    "standing": "Where a model stands",
}
LABELS = {
    "scores": "Models, best first",
    "comparison": "Methods",
    "demo": "Methods",
    "selected-models": "Models",
    "next_runs": "Runs that are worth it",
    "tuned-students": "Methods",
    "inspection": "Models",
    "records_check": "Measures",
    "explanation": "Evidence",
    "standing": "Models beside it",
}
LEAST_SECONDS = 1.0  # less is not worth a picture
SHORT = 24  # characters of a value that stands large
HEADER = ("format", "version", "created_with", "checksum")
# What only `from_json` needs.
HIDDEN = {
    "scores": ("metrics", "problems", "left_out", "computed"),
    "comparison": ("models", "tasks", "truth", "methods", "said"),
    "selected-models": ("problems", "said", "selector"),
    "tuned-students": ("problems", "said", "tuned"),
    "standing": ("missing", "cannot_tell_from"),  # which its notes say
}
OF_A_MODEL = ("standing", "explanation")
INTERVAL = re.compile(r"\[\s*([-+0-9.e]+), ([-+0-9.e]+)\]")
CONSTANT = "constant order"
DRAWN = 30
MOST_POINTS = 300
MOST_NOTES, MOST_SKIPPED = 40, 100


def kind_of(content: Content) -> str:
    """The kind of a JSON, as its header says."""
    return str(content["format"]).removeprefix("spider_jax/")


def heading_of(content: Content) -> str:
    """A title for a result of this kind."""
    kind = kind_of(content)
    return HEADINGS.get(kind) or shown(kind.replace("_", " ").replace("-", " ").capitalize(), 60)


def rankings_in(content: Content) -> list[tuple[str, Content]]:
    """Every ranking that a result is or holds, with the names of the parts above it.

    Args:
        content: of a JSON.

    Returns:
        Names, joined, and the content of each ranking.
    """
    if _is_ranking(content):
        return [("", content)]
    return [
        found for key in ("ranking", "rankings") if key in content for found in _below(content[key])
    ]


def other_view(content: Content, limits: Limits) -> View | None:
    """The section of what is not a ranking in a result; None where there is nothing else.

    Args:
        content: of a JSON.
        limits: of the page.

    Returns:
        The section.
    """
    if _is_ranking(content):
        return None
    hidden = (*HEADER, "ranking", "rankings", *HIDDEN.get(kind_of(content), ()))
    rest = {key: value for key, value in content.items() if key not in hidden}
    if not rest:
        return None
    rows = _objects(rest.pop("rows", []))
    picture = PICTURES.get(kind_of(content), _no_picture)
    said, skipped = _lines(rest.pop("notes", [])), _lines(rest.pop("skipped", []))
    heading, task = heading_of(content), rest.pop("task", None)
    subject, lead = _subject(content, rest, task)
    facts, grids, figures = _rest(rest, limits)
    long = [f"{name}: {value}" for name, value in facts if len(value) > SHORT]
    if rows:
        label = LABELS.get(kind_of(content), "Rows")
        grids.insert(0, _rows_grid(label, rows, limits.rows, tint=kind_of(content) == "scores"))
    return View(
        heading=heading if subject is None else shown(subject),
        kicker="" if subject is None else heading,
        lead=lead,
        facts=[fact for fact in facts if len(fact[1]) <= SHORT],
        figures=[*picture(rows), *figures],
        grids=grids,
        notes=_most([*long, *(shown(line, 600) for line in said)], MOST_NOTES),
        skipped=_most([f"skipped: {shown(line, 600)}" for line in skipped], MOST_SKIPPED),
    )


def _subject(content: Content, rest: dict[str, Any], task: object) -> tuple[str | None, str]:
    """What a section is about, and its answer: a model and its place, or a task."""
    task = task if isinstance(task, str) else None
    model, place, count = (content.get(key) for key in ("model", "place", "of"))
    if kind_of(content) not in OF_A_MODEL or not isinstance(model, str):
        return task, ""
    for key in ("model", "place", "of"):
        rest.pop(key, None)
    of = "" if task is None else f" for {shown(task)}"
    return model, f"Place {cell(place).text} of {cell(count).text}{of}."


def read_rankings(content: Content) -> list[tuple[str, Ranked]]:
    """Every ranking that a result is or holds, with what stands above its title.

    Args:
        content: of a JSON.

    Returns:
        Their words and the rankings.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: one is not sound.
    """
    return [
        (shown(f"Ranking · {part}" if part else "Ranking"), read_ranked(found))
        for part, found in rankings_in(content)
    ]


# ---- what a JSON holds -----------------------------------------------------------------------


def _is_ranking(content: object) -> bool:
    return isinstance(content, dict) and {"models", "resolution", "task", "notes"} <= set(content)


def _below(found: object) -> list[tuple[str, Content]]:
    if isinstance(found, list):
        return [one for inner in found for one in _below(inner)]
    if not isinstance(found, dict):
        raise TypeError(f"a ranking must be an object, got {found!r:.60}")
    if _is_ranking(found):
        return [("", found)]
    return [
        (name if not part or part == inner.get("task") else f"{name}, {part}", inner)
        for name, value in found.items()
        for part, inner in _below(value)
        for name in ([name] if name != inner.get("task") else [""])
    ]


def _objects(rows: object) -> list[Content]:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise TypeError("rows must be a list of objects")
    return rows


def _lines(lines: object) -> list[str]:
    if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
        raise TypeError("notes and what was skipped must be lists of texts")
    return lines


def _most(lines: list[str], most: int) -> list[str]:
    more = len(lines) - most
    return lines if more <= 0 else [*lines[:most], f"and {more:,} more"]


def _rest(
    rest: Mapping[str, Any], limits: Limits
) -> tuple[list[tuple[str, str]], list[Grid], list[Figure]]:
    """What the other entries of a result say: single values, tables, seconds as bars."""
    facts: list[tuple[str, str]] = []
    grids: list[Grid] = []
    figures: list[Figure] = []
    for key, value in rest.items():
        name = shown(key.replace("_", " "), 60)
        if value is None or value in ([], {}):
            continue
        if isinstance(value, dict) and key == "seconds" and _all_numbers(value):
            if sum(value.values()) < LEAST_SECONDS:
                continue
            rows = [Row(phase, float(s), said=f"{s:.1f} s") for phase, s in value.items()]
            body = charts.dots(rows[:DRAWN], "Seconds by phase", bar=True)
            figures.append(Figure("Time by phase", body, "Seconds on the machine that wrote this."))
        elif isinstance(value, dict) and len(value) <= 4 and not _holds_more(value.values()):
            facts += [(f"{name}, {shown(key, 60)}", cell(one).text) for key, one in value.items()]
        elif isinstance(value, dict):
            grids.append(_mapping_grid(name[:1].upper() + name[1:], value, limits.rows))
        elif isinstance(value, list) and all(isinstance(one, dict) for one in value):
            grids.append(_rows_grid(name[:1].upper() + name[1:], value, limits.rows))
        elif isinstance(value, list):
            facts.append((name, shown(", ".join(map(str, value[:50])), 200)))
        else:
            facts.append((name, cell(value).text))
    return facts, grids, figures


def _all_numbers(value: Mapping[str, Any]) -> bool:
    return all(isinstance(one, int | float) and abs(one) < 1e9 for one in value.values())


def _holds_more(values: Iterable[object]) -> bool:
    return any(isinstance(value, dict | list) for value in values)


def _mapping_grid(name: str, value: Mapping[str, Any], most: int) -> Grid:
    """An object as a table: of objects a row each, else two columns."""
    if all(isinstance(one, dict) for one in value.values()):
        inner = list(dict.fromkeys(key for one in value.values() for key in one))
        rows = [[key, *map(one.get, inner)] for key, one in value.items()]
        return _tinted(grid(name, ["name", *inner], rows, most=most), together=True)
    return grid(name, ["name", "value"], [list(pair) for pair in value.items()], most=most)


def _rows_grid(name: str, rows: Sequence[Content], most: int, *, tint: bool = False) -> Grid:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    found = [[row.get(column) for column in columns] for row in rows[:most]]
    table = grid(name, columns, found, most=most, total=len(rows))
    return _tinted(table) if tint else table


def _tinted(table: Grid, *, together: bool = False) -> Grid:
    """A table with a ground as strong as its numbers are large, by column or in all."""
    columns = [
        [value for row in table.rows if (value := row[i].value) is not None]
        for i in range(len(table.columns))
    ]
    if together:
        columns = [[v for column in columns for v in column]] * len(columns)
    ends = [(min(column), max(column)) if column else (0.0, 0.0) for column in columns]

    def ground(one: Cell, low: float, high: float) -> Cell:
        if one.value is None or high <= low or high - low > 1e300:
            return one
        return one._replace(tint=round((one.value - low) / (high - low), 2))

    rows = [[ground(c, *end) for c, end in zip(row, ends, strict=True)] for row in table.rows]
    return table._replace(rows=rows, heat=True)


# ---- pictures of known kinds -----------------------------------------------------------------


def _no_picture(rows: Sequence[Content]) -> list[Figure]:
    return []


def _methods(rows: Sequence[Content]) -> list[Figure]:
    """Every method of a comparison with its interval, the constant order as a line."""
    figures = []
    for zoo in dict.fromkeys(row.get("zoo") for row in rows):
        own = [row for row in rows if row.get("zoo") == zoo]
        drawn = method_rows(own)
        line = next((row.at for row in drawn if row.name == CONSTANT), None)
        of = f": {shown(zoo, 60)}" if zoo is not None else ""
        title = f"Weighted tau of every method{of}"
        words = (
            "Dot: mean over held-out tasks; whisker: 95 % bootstrap interval over them. Dashed "
            "line: the constant order, which never looks at the task; hollow: what needs no "
            "knowledge of it."
        )
        figures.append(Figure(title, charts.dots(drawn[:DRAWN], title, line=line), words))
    return figures


def method_rows(rows: Sequence[Content]) -> list[Row]:
    """Methods of a comparison, each with its mean and the interval that its row shows.

    Args:
        rows: of its JSON.

    Returns:
        A row each; what needs knowledge of the task is strong.
    """
    return [_method(row) for row in rows]


def _method(row: Content) -> Row:
    name, found = str(row["method"]), INTERVAL.search(str(row.get("95 % interval")))
    low, high = (float(found[1]), float(found[2])) if found else (None, None)
    strong = name != CONSTANT and not name.startswith("random")
    return Row(name, _value(row.get("weighted tau")), low, high, strong)


def _expected(rows: Sequence[Content]) -> list[Figure]:
    drawn = []
    for row in rows[:DRAWN]:
        at, sd = _value(row.get("expected")), _value(row.get("+-"))
        low, high = (None, None) if at is None or sd is None else (at - sd, at + sd)
        drawn.append(Row(str(row["model"]), at, low, high, row.get("rank") == 1))
    words = "Dot: expected result; whisker: one standard deviation. Filled: the first choice."
    return (
        [Figure("Expected results", charts.dots(drawn, "Expected results"), words)] if drawn else []
    )


def _epochs(rows: Sequence[Content]) -> list[Figure]:
    drawn = [
        Row(
            str(row["model"]),
            _value(row.get("epochs")),
            strong=row.get("fate") == "won",
            said=_with_best(row),
        )
        for row in rows
        if row.get("epochs")
    ][:DRAWN]
    words = "Epochs that each model was given; at the right its best validation score."
    body = charts.dots(drawn, "Epochs by model", bar=True)
    return [Figure("What was spent", body, words)] if drawn else []


def _with_best(row: Content) -> str:
    best = _value(row.get("best validation"))
    return UNKNOWN if best is None else number(best)


def _combined(rows: Sequence[Content]) -> list[Figure]:
    """Metrics against the truth, where that is known."""
    truth = "true accuracy"
    by = [key for row in rows[:1] for key in row if key not in ("model", truth)]
    if not by or not any(truth in row for row in rows):
        return []
    points = [
        charts.Point(str(row.get("model")), x, y, strong=i == 0)
        for i, row in enumerate(rows[:MOST_POINTS])
        for x, y in [(_value(row.get(by[-1])), _value(row.get(truth)))]
        if x is not None and y is not None
    ]
    if len(points) < 3:
        return []
    x, title = shown(by[-1], 60), "Predicted against true"
    body = charts.scatter(points, title, x=x, y=truth)
    return [Figure(title, body, f"{len(points)} models with a known accuracy, by {x}.")]


def _value(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e100:
        return None
    return float(value)


PICTURES: dict[str, Callable[[Sequence[Content]], list[Figure]]] = {
    "comparison": _methods,
    "demo": _methods,
    "next_runs": _expected,
    "selected-models": _epochs,
    "scores": _combined,
}
