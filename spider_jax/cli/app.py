"""The command line: each command a few lines over one public function.

Data on stdout, messages and progress on stderr. Exit 0 done, 1 unexpected failure, 2 bad input or
a file that cannot be read or written, 3 done but some models were skipped (listed).
"""

import contextlib
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import tyro

from spider_jax.cli import extract as cli_extract
from spider_jax.cli import interrupt
from spider_jax.cli import selection as cli_select
from spider_jax.cli import tuning as cli_tune
from spider_jax.cli.combine import combine
from spider_jax.cli.compare import compare
from spider_jax.cli.explain import explain
from spider_jax.cli.models import add, remove, rename
from spider_jax.cli.next_step import say_next
from spider_jax.cli.output import (
    BAD_INPUT,
    DONE,
    FAILED,
    Flat,
    Messages,
    Output,
    note,
    open_streams,
    say,
)
from spider_jax.cli.recommend import next_
from spider_jax.cli.report import report
from spider_jax.cli.spider import rank, train
from spider_jax.cli.zoo import inspect, score
from spider_jax.errors import InputError
from spider_jax.storage.cache import default_folder
from spider_jax.storage.compiled import keep_compiled_programs
from spider_jax.storage.own_files import refuse_own_file
from spider_jax.storage.private import make_private


def demo(
    out: Path | None = None,
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Train on the embedded zoos, rank their models for held-out tasks, compare with baselines.

    Args:
        out: folder for the spiders, the rankings as CSV and JSON, a Markdown summary, and the
            report, a page for a browser; default: the report alone, in the user's cache.
        messages: what goes to stderr.
    """
    show = messages.start()
    from spider_jax.demo import run_demo

    found = run_demo(show_progress=show)
    code = Output().write(found)
    if out is None:
        folder = default_folder("demo")
        make_private(folder)
        page = found.report(folder)
    else:
        found.save(out)
        page = out / "report.html"
        note(f"written: {out}")
    note(f"the report, for a browser: {page}")
    return code


def index() -> int:
    """Build, change, check and search an index of many models: `spider-jax index --help`."""
    return _run(["index", "--help"])


def records() -> int:
    """Check, import and learn from records of results that exist: `spider-jax records --help`."""
    return _run(["records", "--help"])


COMMANDS: dict[str, Any] = {
    "demo": demo,
    "compare": compare,
    "inspect": inspect,
    "score": score,
    "train": train,
    "rank": rank,
    "add": add,
    "remove": remove,
    "rename": rename,
    "index": index,
    "records": records,
    "next": next_,
    "report": report,
    "explain": explain,
    "extract": cli_extract.extract,
    "select": cli_select.select,
    "tune": cli_tune.tune,
    "combine": combine,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit code."""
    code: Any = FAILED
    open_streams()
    try:
        interrupt.answer_again()
        if interrupt.is_command_line():
            keep_compiled_programs()
        try:
            given = list(sys.argv[1:] if arguments is None else arguments)
            code = _run(given)
            say_next(given, code)
        finally:
            _flush()
    except KeyboardInterrupt:
        interrupt.leave_at_once()
        _interrupted()
    except BrokenPipeError:  # the reader has seen enough, as in `| head`
        code = DONE
    except (InputError, OSError) as error:  # OSError: no permission, a full disk
        note(" ".join(str(error).split()) if isinstance(error, OSError) else str(error))
        code = BAD_INPUT
    if interrupt.is_command_line():
        interrupt.leave_at_once()  # threads are joined yet
    sys.exit(code)


def _interrupted() -> None:
    """As `interrupt` leaves, once stderr has what was written there."""
    with contextlib.suppress(OSError, ValueError):
        note("interrupted: the same command goes on or begins anew")
        sys.stderr.flush()
    os._exit(interrupt.INTERRUPTED)


def _run(arguments: list[str]) -> Any:
    """The exit code of a command, or of a command of `index` or `records`."""
    from spider_jax.cli import index as cli_index
    from spider_jax.cli import records as cli_records

    if arguments == ["--version"]:
        say(f"spider-jax {version('spider_jax')}")
        return DONE
    for option, name in pairwise([part for given in arguments for part in given.split("=", 1)]):
        if option == "--csv":  # before the work, not after it
            refuse_own_file(Path(name))
    commands, prog, about = COMMANDS, "spider-jax", __doc__
    groups: dict[str, Any] = {"index": cli_index, "records": cli_records}
    if len(arguments) > 1 and arguments[0] in groups:
        group = groups[arguments[0]]
        commands, prog, about = group.COMMANDS, f"spider-jax {arguments[0]}", group.__doc__
        arguments = arguments[1:]
    _refuse_unknown(arguments, commands, prog, groups)
    return tyro.extras.subcommand_cli_from_dict(
        commands, prog=prog, args=arguments, description=about
    )


def _refuse_unknown(
    arguments: list[str], commands: dict[str, Any], prog: str, groups: dict[str, Any]
) -> None:
    """Refuse a command that there is not, and name the one that was probably meant."""
    given = arguments[0] if arguments else "-"
    if given in commands or given.startswith("-"):
        return
    known = {name: f"{prog} {name}" for name in commands}
    if commands is COMMANDS:  # `build` is a command of `index`
        known |= {n: f"{prog} {g} {n}" for g, group in groups.items() for n in group.COMMANDS}
    near = get_close_matches(given.lower(), known, 1)
    guess = f"did you mean `{known[near[0]]}`?" if near else f"known are {', '.join(commands)}"
    raise InputError(f"unknown command {given!r}: {guess}")


def _flush() -> None:
    """Write what stdout still holds; drop it where that fails, or Python would fail on leaving."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError):  # a stream without a descriptor
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise
