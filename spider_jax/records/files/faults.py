"""Faults of a file: where each stands, the first few in one line, and how many there are."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from spider_jax.errors import InputError

SHOWN = 3  # in one line of an error
KEPT = 200  # of one file; the rest is counted


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong in a file.

    Attributes:
        file: where.
        place: "line 12" of a text file as an editor counts it, "row 12" of another, or "".
        what: the rule, the value, and what to do.
    """

    file: Path
    place: str
    what: str

    def __str__(self) -> str:
        place = f", {self.place}" if self.place else ""
        return f"{self.file}{place}: {self.what}"


@dataclass
class Faults:
    """The faults that are found in one file, by the row of its data.

    Attributes:
        file: whose faults.
        count: how many there are.
        rows: of those that are kept: the row of the data from 0, and what is wrong. "{0}" in the
            text stands for the place of `other`.
        limit: how many are kept.
    """

    file: Path
    count: int = 0
    rows: list[tuple[int, str, int | None]] = field(default_factory=list)
    limit: int = KEPT

    def add(self, row: int, what: str, other: int | None = None) -> None:
        """Note a fault.

        Args:
            row: of the data, from 0.
            what: the rule, the value, and what to do.
            other: another row of the same file that it speaks of.
        """
        self.count += 1
        if len(self.rows) < self.limit:
            self.rows.append((row, what, other))

    def located(self, places: Callable[[set[int]], Mapping[int, str]]) -> list[Fault]:
        """The faults that are kept, with their places.

        Args:
            places: gives the place of every row that it is asked for; the file is read for that.

        Returns:
            Faults in the order of the rows.
        """
        wanted = {row for row, _, _ in self.rows} | {o for *_, o in self.rows if o is not None}
        where = places(wanted) if wanted else {}
        return [
            Fault(
                self.file,
                where.get(row, ""),
                what if other is None else what.replace("{0}", where.get(other, "another row")),
            )
            for row, what, other in sorted(self.rows, key=lambda fault: fault[0])
        ]


def refuse_faults(faults: Iterable[Fault], count: int) -> None:
    """Raise where there are any.

    Args:
        faults: those that are known by their place.
        count: of all.

    Raises:
        InputError: there are faults; one line has the first few and the count.
    """
    shown = list(faults)[:SHOWN]
    if not shown:
        return
    more = f" (and {count - len(shown)} more faults)" if count > len(shown) else ""
    raise InputError("; ".join(map(str, shown)) + more)
