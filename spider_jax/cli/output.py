"""What all commands share: exit codes, the log on stderr, data on stdout."""

import io
import json
import logging
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from spider_jax.errors import InputError
from spider_jax.report.escape import escape_terminal
from spider_jax.report.page import Section, page_text
from spider_jax.report.result import Result
from spider_jax.storage.own_files import refuse_own_file

LONGEST = 2000  # characters of a line: a value of a file may be any length
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
        handler = logging.StreamHandler()
        handler.setFormatter(_OneLine())
        logging.basicConfig(level=logging.ERROR, handlers=[handler])
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
            refuse_own_file(self.csv)
            result.to_csv(self.csv)
        if self.json:
            content = result.to_content() | more
            if beside:
                content["skipped"] = skipped
            _refuse_closed()
            ascii_only = not str(sys.stdout.encoding).lower().startswith("utf")
            print(json.dumps(content, indent=1, ensure_ascii=ascii_only))
        else:
            _refuse_closed()
            width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
            colour = width is not None and may_colour()
            shown = result.page() if page is None else page
            print(page_text(shown, width=width, colour=colour))
        return report_skipped(skipped)


Flat: Any = tyro.conf.OmitArgPrefixes

# Positional arguments, by the words that the help shows for them.
Zoo = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="ZOO")]
SpiderFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SPIDER")]
IndexFolder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="INDEX")]
Task = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TASK")]
Models = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MODEL...")]


class _Closed(io.StringIO):
    """Stands for a stdout that was closed before the program began."""


class _OneLine(logging.Formatter):
    """A line of the log, whatever stands in the names that it speaks of."""

    def format(self, record: logging.LogRecord) -> str:
        """The message of a record, escaped for a terminal."""
        return f"spider-jax: {escape_terminal(record.getMessage())}"


def open_streams() -> None:
    """Make stdout and stderr ready for any name, also where they are ASCII, closed or missing."""
    for number, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            _fill(number)
            setattr(sys, name, _Closed())
        elif number and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _fill(number: int) -> None:
    """Occupy a closed descriptor, or the next file that is opened would get it."""
    try:
        os.fstat(number)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)
        if null != number:
            os.dup2(null, number)
            os.close(null)


def _refuse_closed() -> None:
    if isinstance(sys.stdout, _Closed):
        raise InputError("stdout is closed: a table cannot be shown, --csv FILE writes it")


def may_colour() -> bool:
    """Whether a terminal may be given colours, as https://no-color.org has it."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def say(text: str) -> None:
    """Write a line of data to stdout, escaped for a terminal.

    Args:
        text: what names from files may stand in.
    """
    print(escape_terminal(text))


def note(text: str) -> None:
    """Write a line to stderr, escaped for a terminal.

    Args:
        text: what names from files may stand in.
    """
    shown = text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
    print(f"spider-jax: {escape_terminal(shown)}", file=sys.stderr)


@contextmanager
def messages_only() -> Iterator[None]:
    """Inside the block whatever is printed goes to stderr: code of others may print anything."""
    with redirect_stdout(sys.stderr):
        yield


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
        note(f"skipped: {problem}")
        code = SKIPPED
    return code
