"""Charts of a page as inline SVG: places in per cent, so that text keeps its size at any width."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64
from markupsafe import Markup

from spider_jax.report.web.views import UNKNOWN, number, shown

ROW = 24  # pixels of a row of `dots`
CELLS = (48, 27)  # of a density, across and up
NAMED = 12  # points with their names beside them
LABEL = 24  # characters of such a name
LETTER, WIDE, NARROW = 6.6, 450, 260  # pixels of a letter, and of pictures on a screen and a phone


class Row(NamedTuple):
    """A row of `dots`.

    Attributes:
        name: at its left.
        at: where the dot stands; None for none.
        low: where the whisker begins; None for none.
        high: where it ends.
        strong: whether it is of the first group.
        said: at its right; default: the number.
    """

    name: str
    at: float | None
    low: float | None = None
    high: float | None = None
    strong: bool = False
    said: str | None = None


class Point(NamedTuple):
    """A point of `scatter`.

    Attributes:
        name: shown beside it where it is strong, else when it is pointed at.
        x: across.
        y: up.
        low: where a whisker begins; None for none.
        high: where it ends.
        strong: whether it is marked and named.
        square: whether it is a square: of another kind.
    """

    name: str
    x: float
    y: float
    low: float | None = None
    high: float | None = None
    strong: bool = False
    square: bool = False


class Axis(NamedTuple):
    """From values to per cent.

    Attributes:
        low: value at 0.
        high: value at 100.
        log: whether the logarithm is even.
    """

    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        """Where a value stands, in per cent with two decimals."""
        share = float(self.shares(np.array([value]))[0])
        return round(100 * min(1.02, max(-0.02, share)), 2)

    def shares(self, values: Float64[np.ndarray, " N"]) -> Float64[np.ndarray, " N"]:
        """Where values stand, 0 to 1."""
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            return (np.log(np.maximum(values, 1e-300)) - low) / (high - low)
        return (values - self.low) / (self.high - self.low)

    def ticks(self, about: int = 5) -> list[float]:
        """Round values between its ends."""
        if self.log:
            return _log_ticks(self.low, self.high)
        step = _step((self.high - self.low) / about)
        first = math.ceil(self.low / step - 1e-9)
        count = math.floor(self.high / step + 1e-9) - first
        return [(first + i) * step for i in range(count + 1)]


def axis(values: Sequence[float], *, log: bool = False, zero: bool = False) -> Axis:
    """An axis on which all these values stand.

    Args:
        values: at least one, finite; positive for a logarithmic one.
        log: whether the logarithm is even.
        zero: whether it begins at 0.

    Returns:
        The axis, with some air at its ends.
    """
    low, high = min(values), max(values)
    if log:
        air = (high / low) ** 0.05 if high > low else 2.0
        return Axis(low / air, high * air, log=True)
    low = min(low, 0.0) if zero else low
    air = 0.05 * (high - low) or 0.5 * abs(high) or 0.5
    return Axis(low if zero and low == 0 else low - air, high + air)


def dots(
    rows: Sequence[Row], label: str, *, line: float | None = None, bar: bool = False
) -> Markup:
    """Rows of a name, a dot with its whisker (or a bar) and a number.

    Args:
        rows: from top to bottom.
        label: what it shows, for those who do not see it.
        line: a value to compare with, drawn through all rows.
        bar: bars from 0 instead of dots.

    Returns:
        HTML.
    """
    known = [v for r in rows for v in (r.at, r.low, r.high) if v is not None]
    across = axis([*known, *([] if line is None else [line])] or [0.0], zero=bar)
    marks = [_grid_line(across.at(t)) for t in across.ticks()]
    if line is not None:
        at = across.at(line)
        marks.append(Markup('<line class="ref" x1="{0}%" x2="{0}%" y1="0" y2="100%"/>').format(at))
    for i, row in enumerate(rows):
        marks += _bar(row, i, across) if bar else _dot(row, i, across)
    names = Markup("").join(
        Markup('<span class="{}">{}</span>').format("strong" if r.strong else "", shown(r.name))
        for r in rows
    )
    said = Markup("").join(Markup("<span>{}</span>").format(_said(row)) for row in rows)
    return Markup(
        '<div class="dots" role="img" aria-label="{}"><div class="names">{}</div>'
        '<div class="plot"><svg width="100%" height="{}">{}</svg>{}</div>'
        '<div class="said">{}</div></div>'
    ).format(label, names, ROW * len(rows), Markup("").join(marks), _x_ticks(across), said)


def scatter(
    points: Sequence[Point],
    label: str,
    *,
    x: str,
    y: str,
    log: bool = False,
    front: Sequence[tuple[float, float]] = (),
    cloud: Float64[np.ndarray, "N 2"] | None = None,
) -> Markup:
    """Points, the strong ones with their names, on a density of too many to draw.

    Args:
        points: at least one.
        label: what it shows, for those who do not see it.
        x: what is across.
        y: what is up.
        log: whether the logarithm of x is even.
        front: corners of steps, from left to right.
        cloud: x and y of all points where they are counted in cells; None where all are drawn.

    Returns:
        HTML.
    """
    ends = [] if cloud is None else [*cloud.min(0).tolist(), *cloud.max(0).tolist()]
    across = axis([*(p.x for p in points), *ends[::2]], log=log)
    up = axis([*(v for p in points for v in (p.y, p.low, p.high) if v is not None), *ends[1::2]])
    marks = [_grid_line(across.at(t)) for t in across.ticks()]
    for tick in up.ticks():
        at = round(100 - up.at(tick), 2)
        marks.append(Markup('<line class="grid" x1="0" x2="100%" y1="{0}%" y2="{0}%"/>').format(at))
    marks += _steps([(across.at(a), round(100 - up.at(b), 2)) for a, b in front])
    if cloud is not None:
        marks += _density(cloud, across, up)
    places = [(p, across.at(p.x), round(100 - up.at(p.y), 2)) for p in points]
    for point, left, top in places:
        marks += _point(point, left, top, up)
    marks += _labels(places)
    ticks = Markup("").join(
        Markup('<span style="top:{}%">{}</span>').format(round(100 - up.at(t), 2), _tick(t, up))
        for t in up.ticks()
    )
    return Markup(
        '<div class="scatter" role="img" aria-label="{}"><p class="y">{}</p>'
        '<div class="yticks">{}</div><div class="plot"><svg width="100%" height="320">{}</svg>{}'
        '</div><p class="x">{}</p></div>'
    ).format(label, shown(y), ticks, Markup("").join(marks), _x_ticks(across), shown(x))


def histogram(values: Float64[np.ndarray, " N"], label: str, x: str) -> Markup:
    """How many values there are where.

    Args:
        values: finite, at least one.
        label: what it shows, for those who do not see it.
        x: what is across.

    Returns:
        HTML.
    """
    across = axis([float(values.min()), float(values.max())])
    counts, edges = np.histogram(values, bins=60, range=(across.low, across.high))
    marks = [_grid_line(across.at(t)) for t in across.ticks()]
    for count, left in zip(counts.tolist(), edges[:-1].tolist(), strict=True):
        high = round(96 * count / max(1, int(counts.max())), 2)
        if count:
            high = max(high, 1.0)
            marks.append(
                Markup(
                    '<rect class="bar" x="{}%" y="{}%" width="1.5%" height="{}%">'
                    "<title>{:,}</title></rect>"
                ).format(across.at(left), round(100 - high, 2), high, count)
            )
    return Markup(
        '<div class="histogram" role="img" aria-label="{}"><div class="plot">'
        '<svg width="100%" height="140">{}</svg>{}</div><p class="x">{}</p></div>'
    ).format(label, Markup("").join(marks), _x_ticks(across), shown(x))


# ---- marks -----------------------------------------------------------------------------------


def _said(row: Row) -> str:
    if row.said is not None:
        return row.said
    return UNKNOWN if row.at is None else number(row.at)


def _dot(row: Row, i: int, across: Axis) -> list[Markup]:
    middle, kind = ROW * i + ROW // 2, "strong" if row.strong else ""
    marks = []
    if row.low is not None and row.high is not None:
        marks.append(
            Markup('<line class="whisker {}" x1="{}%" x2="{}%" y1="{}" y2="{}"/>').format(
                kind, across.at(row.low), across.at(row.high), middle, middle
            )
        )
    if row.at is not None:
        marks.append(
            Markup('<circle class="dot {}" cx="{}%" cy="{}" r="4.5"/>').format(
                kind, across.at(row.at), middle
            )
        )
    return marks


def _bar(row: Row, i: int, across: Axis) -> list[Markup]:
    if row.at is None:
        return []
    zero, end = sorted((across.at(0.0), across.at(row.at)))
    return [
        Markup('<rect class="bar {}" x="{}%" y="{}" width="{}%" height="10" rx="1"/>').format(
            "strong" if row.strong else "", zero, ROW * i + 7, round(max(end - zero, 0.3), 2)
        )
    ]


def _point(point: Point, left: float, top: float, up: Axis) -> list[Markup]:
    marks, kind = [], "strong" if point.strong else ""
    if point.low is not None and point.high is not None:
        marks.append(
            Markup('<line class="whisker {}" x1="{}%" x2="{}%" y1="{}%" y2="{}%"/>').format(
                kind,
                left,
                left,
                round(100 - up.at(point.low), 2),
                round(100 - up.at(point.high), 2),
            )
        )
    title = Markup("<title>{}</title>").format(shown(point.name))
    if point.square:
        shape = Markup(
            '<svg x="{}%" y="{}%" overflow="visible"><rect class="square" x="-4.5" '
            'y="-4.5" width="9" height="9">{}</rect></svg>'
        )
        return [*marks, shape.format(left, top, title)]
    shape = Markup('<circle class="dot {}" cx="{}%" cy="{}%" r="4">{}</circle>')
    return [*marks, shape.format(kind, left, top, title)]


def _labels(places: Sequence[tuple[Point, float, float]]) -> list[Markup]:
    """Names beside the strong points, but for those that would stand on another name."""
    marks: list[Markup] = []
    taken: list[tuple[float, float, int]] = []
    for point, left, top in places:
        name = shown(point.name)
        name = name if len(name) <= LABEL else f"{name[: LABEL - 1]}…"
        end = left > 62
        at = (left, top, -len(name) if end else len(name))
        if not (point.strong or point.square) or len(marks) >= NAMED or _meets(at, taken, WIDE):
            continue
        kind = "wide" if _meets(at, taken, NARROW) else ""
        taken.append(at)
        text = '<text class="{}" x="{}%" y="{}%" dx="{}" dy="4" text-anchor="{}">{}</text>'
        side = (-9, "end") if end else (9, "start")
        marks.append(Markup(text).format(kind, left, top, *side, name))
    return marks


def _meets(
    at: tuple[float, float, int], taken: Sequence[tuple[float, float, int]], width: int
) -> bool:
    """Whether a name meets another one where a picture has this width."""

    def ends(one: tuple[float, float, int]) -> tuple[float, float]:
        left, right = sorted((one[0], one[0] + 100 * (LETTER * one[2]) / width))
        return left - 4, right + 4

    low, high = ends(at)
    return any(
        abs(at[1] - other[1]) < 5.5 and low < ends(other)[1] and ends(other)[0] < high
        for other in taken
    )


def _density(cloud: Float64[np.ndarray, "N 2"], across: Axis, up: Axis) -> list[Markup]:
    shares = np.stack([across.shares(cloud[:, 0]), 1 - up.shares(cloud[:, 1])], axis=1)
    at = np.clip(shares * CELLS, 0, np.array(CELLS) - 1).astype(np.int64)
    counts = np.bincount(at[:, 0] * CELLS[1] + at[:, 1], minlength=CELLS[0] * CELLS[1])
    counts = counts.reshape(CELLS)
    most = math.log1p(int(counts.max()))
    wide, high = 100 / CELLS[0], 100 / CELLS[1]
    return [
        Markup('<rect class="cell" x="{}%" y="{}%" width="{}%" height="{}%" opacity="{}"/>').format(
            round(i * wide, 2),
            round(j * high, 2),
            round(wide, 2),
            round(high, 2),
            round(0.12 + 0.78 * math.log1p(int(counts[i, j])) / most, 2),
        )
        for i, j in np.argwhere(counts).tolist()
    ]


def _steps(corners: Sequence[tuple[float, float]]) -> list[Markup]:
    line = Markup('<line class="front" x1="{}%" y1="{}%" x2="{}%" y2="{}%"/>')
    marks = []
    for (left, low), (right, high) in pairwise(corners):
        marks += [line.format(left, low, right, low), line.format(right, low, right, high)]
    if corners:
        marks.append(line.format(*corners[-1], 100, corners[-1][1]))
    return marks


def _grid_line(at: float) -> Markup:
    return Markup('<line class="grid" x1="{0}%" x2="{0}%" y1="0" y2="100%"/>').format(at)


def _x_ticks(across: Axis) -> Markup:
    ticks = [(across.at(t), t) for t in across.ticks()]
    return Markup('<div class="xticks">{}</div>').format(
        Markup("").join(
            Markup('<span style="left:{}%">{}</span>').format(at, _tick(t, across))
            for at, t in ticks
            if 1 <= at <= 99
        )
    )


def _tick(value: float, on: Axis) -> str:
    """As few digits as tell it from the next tick."""
    if on.log or abs(value) >= 1e5:
        return number(value).replace(".0 ", " ") if abs(value) >= 1e5 else f"{value:g}"
    step = _step((on.high - on.low) / 5)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:z,.{min(digits, 6)}f}".replace("-", "\N{MINUS SIGN}")


def _step(about: float) -> float:
    """1, 2 or 5 times a power of ten, at least what is asked for."""
    power = 10.0 ** math.floor(math.log10(about))
    return next(n * power for n in (1, 2, 5, 10) if n * power >= about * (1 - 1e-9))


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    decades = len(powers)
    signs = (1, 2, 5) if decades <= 3 else (1,)
    found = [n * 10.0**p for p in powers for n in signs if low <= n * 10.0**p <= high]
    return found[:: max(1, math.ceil(len(found) / 7))]
