"""What all commands share: exit codes, the log on stderr, data on stdout."""

import json
import logging
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from spider_jax.report.escape import escape_terminal
from spider_jax.report.page import Section, page_text
from spider_jax.report.result import Result

DONE, FAILED, BAD_INPUT, SKIPPED = range(4)


@dataclass(frozen=True)
class Messages:
    """What goes to stderr.

    Attributes:
        quiet: Only errors, no progress bars.
        verbose: Every step.
    """

    quiet: Annotated[bool, tyro.conf.arg(aliases=["-q"])] = False
    verbose: Annotated[bool, tyro.conf.arg(aliases=["-v"])] = False

    def start(self) -> bool:
        """Set the level of the log.

        Returns:
            Whether progress is shown.
        """
        level = logging.ERROR if self.quiet else logging.INFO if self.verbose else logging.WARNING
        logging.basicConfig(level=logging.ERROR, format="spider-jax: %(message)s")
        logging.getLogger("spider_jax").setLevel(level)
        return not self.quiet


@dataclass(frozen=True)
class Output:
    """How data is written.

    Attributes:
        json: JSON on stdout instead of a table.
        csv: Also write the table to this CSV file.
    """

    json: bool = False
    csv: Path | None = None

    def write(
        self,
        result: Result,
        page: Sequence[Section] | None = None,
        *,
        beside: Sequence[object] = (),
        **more: object,
    ) -> int:
        """Write a result: its page or its JSON to stdout, its table as CSV where that is asked for.

        A table that is wider than the terminal is shown in parts; in a file or a pipe it is whole.

        Args:
            result: any result.
            page: what is shown in a terminal; default: the result's own page.
            beside: what else was skipped, as the problems of a zoo; nothing is listed twice.
            more: entries of the JSON, beside or instead of the result's own.

        Returns:
            The exit code: SKIPPED where something was skipped, which is listed on stderr.
        """
        skipped = list(dict.fromkeys([*result.skipped, *map(str, beside)]))
        if self.csv is not None:
            result.to_csv(self.csv)
        if self.json:
            content = result.to_content() | {"skipped": skipped} | more
            print(json.dumps(content, indent=1, ensure_ascii=False))
        else:
            width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
            print(page_text(result.page() if page is None else page, width=width))
        return report_skipped(skipped)


Flat: Any = tyro.conf.OmitArgPrefixes

# Positional arguments, by the words that the help shows for them.
Zoo = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="ZOO")]
SpiderFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SPIDER")]
IndexFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="INDEX")]
Task = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TASK")]
Models = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL...")]


def keep_stdout() -> None:
    """Keep stdout for data: what libraries below Python write there goes to stderr."""
    if sys.stdout is not sys.__stdout__ or sys.stdout is None:
        return  # a caller in this process has its own already
    sys.stdout.flush()
    sys.stdout = os.fdopen(os.dup(1), "w", encoding=sys.stdout.encoding)
    os.dup2(2, 1)


def report_skipped(problems: Iterable[object]) -> int:
    """List on stderr what was skipped, a line each.

    Args:
        problems: what was skipped and why.

    Returns:
        The exit code: SKIPPED where there is any, else DONE.
    """
    code = DONE
    for problem in dict.fromkeys(map(str, problems)):
        print(f"spider-jax: skipped: {escape_terminal(problem)}", file=sys.stderr)
        code = SKIPPED
    return code
