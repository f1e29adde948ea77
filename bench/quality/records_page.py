"""What was measured of priors from records, as Markdown; see records.py."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from bench.common import bounds
from bench.quality.records_rivals import CONSTANT
from spider_jax.ranking.measures import paired_difference
from spider_jax.report.tables import to_markdown

EVALUATED = (0, 1, 3, 5, 10, 20)
OURS = "posterior"
ADAPTIVE, BEST_OF_CONSTANT = "adaptive", "best of the constant order"

Found = dict[tuple[str, str, int], list[float]]  # (what, method, p) -> a value per target


def mean_of(found: Found, key: tuple[str, str, int]) -> str:
    """A mean, or nothing.

    Args:
        found: what was measured.
        key: which of it.
    """
    values = found.get(key)
    return f"{np.mean(values):.3f}" if values else ""


def by_p(found: Found, what: str, title: str) -> str:
    """Methods by p as Markdown.

    Args:
        found: what was measured.
        what: "tau" or "lost".
        title: of the first column.
    """
    methods = list(dict.fromkeys(name for w, name, _ in found if w == what))
    ps = [p for p in EVALUATED if any((what, m, p) in found for m in methods)]
    rows = [[m, *(mean_of(found, (what, m, p)) for p in ps)] for m in methods]
    return to_markdown([title, *(f"p = {p}" for p in ps)], rows)


def paired(found: Found, what: str, method: str, other: str) -> str:
    """Paired differences with intervals as one line.

    Args:
        found: what was measured.
        what: "tau" or "lost".
        method: the first.
        other: that it is compared with.
    """
    parts = []
    for p in EVALUATED:
        a, b = found.get((what, method, p)), found.get((what, other, p))
        if a and b:
            parts.append(f"p = {p}: {bounds(paired_difference(a, b), '+.3f')}")
    return f"{method} less {other} (95 % over tasks): {'; '.join(parts)}."


def section(table: str, groups: str, found: Found, seconds: float, targets: int) -> str:
    """The page's part on one table.

    Args:
        table: the leaderboard.
        groups: what was held out together.
        found: what was measured.
        seconds: that it took.
        targets: how many.
    """
    covered = ", ".join(f"p = {p}: {mean_of(found, ('covered', OURS, p))}" for p in EVALUATED[2:])
    best = ", ".join(
        f"p = {p}: said {mean_of(found, ('best', 'said', p))}, was "
        f"{mean_of(found, ('best', 'was', p))}"
        for p in EVALUATED[1:]
    )
    stops = len(found.get(("stopped", "after", 0), []))
    stop = (
        f"{stops} of {targets} searches stopped within {max(EVALUATED)} evaluations, after "
        f"{mean_of(found, ('stopped', 'after', 0))}, and lost "
        f"{mean_of(found, ('stopped', 'lost', 0))}"
    )
    return "\n\n".join(
        [
            f"## {table}, {groups} held out ({targets} tasks, {seconds:.0f} s)",
            by_p(found, "tau", "weighted tau, p at random"),
            paired(found, "tau", OURS, CONSTANT),
            by_p(found, "lost", "lost by the best of p"),
            paired(found, "lost", ADAPTIVE, BEST_OF_CONSTANT),
            f"90 % intervals of results not yet known hold: {covered}. The best so far is the best "
            f"of all: {best}. Stopping at an expected loss of .1: {stop}.",
        ]
    )


def summary(tables: Sequence[Mapping[str, Any]]) -> str:
    """What holds over all tables as Markdown, a row per p.

    Args:
        tables: name, groups and what was measured, as in the JSON.
    """

    def means(what: str, method: str, p: int) -> Float64[np.ndarray, " T"]:
        return np.array([np.mean(t["found"].get(f"{what}/{method}/{p}", np.nan)) for t in tables])

    def worst(values: Float64[np.ndarray, " T"], largest: bool) -> str:
        i = int(np.nanargmax(values) if largest else np.nanargmin(values))
        return f"{values[i]:+.3f} ({tables[i]['table']}, {tables[i]['groups']})"

    rows = []
    for p in EVALUATED:
        others = sorted({k.split("/")[1] for t in tables for k in t["found"] if k[:4] == "tau/"})
        rivals = np.array([means("tau", m, p) for m in others if m != OURS])
        ahead = means("tau", OURS, p) - np.nanmax(rivals, 0)
        row = [f"{p}", worst(means("tau", OURS, p) - means("tau", CONSTANT, p), False)]
        row += [f"{ahead.mean():+.3f}", worst(ahead, False)]
        if p:
            ours, theirs = (means("lost", m, p) for m in (ADAPTIVE, BEST_OF_CONSTANT))
            sure = means("best", "said", p) - means("best", "was", p)
            row += [f"{ours.mean():.3f} / {theirs.mean():.3f}"]
            row += [f"{ours.mean() / theirs.mean() - 1:+.0%}", worst(ours - theirs, True)]
            row += [f"{sure.mean():+.3f}", worst(sure, True)]
        rows.append([*row, *[""] * (9 - len(row))])
    head = ["p", "tau less constant order, least", "tau less best rival, mean", "least"]
    head += ["lost, adaptive / best of the constant order", "mean", "most above"]
    head += ["sure of the best, said less was", "most"]
    return f"## All {len(tables)} tables\n\n{to_markdown(head, rows)}"
