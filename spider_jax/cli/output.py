"""What all commands share: exit codes, the log on stderr, data on stdout."""

import json
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

DONE, FAILED, BAD_INPUT, SKIPPED = range(4)


@dataclass(frozen=True)
class Messages:
    """What goes to stderr."""

    quiet: Annotated[bool, tyro.conf.arg(aliases=["-q"])] = False
    """Only errors, no progress bars."""
    verbose: Annotated[bool, tyro.conf.arg(aliases=["-v"])] = False
    """Every step."""

    def start(self) -> bool:
        """Set the level of the log; whether progress is shown."""
        level = logging.ERROR if self.quiet else logging.INFO if self.verbose else logging.WARNING
        logging.basicConfig(level=logging.ERROR, format="spider-jax: %(message)s")
        logging.getLogger("spider_jax").setLevel(level)
        return not self.quiet


@dataclass(frozen=True)
class Output:
    """How data is written."""

    json: bool = False
    """JSON on stdout instead of a table."""
    csv: Path | None = None
    """Also write the table to this CSV file."""

    def write(
        self, kind: str, columns: Sequence[str], rows: list[list[Any]], text: str, **more: Any
    ) -> None:
        """Print the table or its JSON (with `more` beside it), and write the CSV if asked for."""
        from spider_jax.report.tables import to_csv
        from spider_jax.storage.files import versioned, write_text

        if self.csv is not None:
            write_text(self.csv, to_csv(columns, rows))
        if self.json:
            entries = [dict(zip(columns, map(_json_value, row), strict=True)) for row in rows]
            print(
                json.dumps(versioned(kind, {"rows": entries} | more), indent=1, ensure_ascii=False)
            )
        else:
            print(text)


Flat: Any = tyro.conf.OmitArgPrefixes

# Positional arguments, by the words that the help shows for them.
Zoo = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="ZOO")]
SpiderFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SPIDER")]
IndexFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="INDEX")]
Task = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TASK")]
Models = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL...")]


def _json_value(value: Any) -> Any:
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else None
    return value


def keep_stdout() -> None:
    """Keep stdout for data: what libraries below Python write there goes to stderr."""
    if sys.stdout is not sys.__stdout__ or sys.stdout is None:
        return  # a caller in this process has its own already
    sys.stdout.flush()
    sys.stdout = os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding)
    os.dup2(2, 1)


def report_skipped(problems: Sequence[object]) -> int:
    for problem in problems:
        print(f"spider-jax: skipped: {problem}", file=sys.stderr)
    return SKIPPED if problems else DONE
