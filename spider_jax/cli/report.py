"""`spider-jax report`: any results of this package as one page."""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import tyro

from spider_jax.cli.output import DONE, Flat, Messages, note
from spider_jax.errors import InputError

Files = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILE...")]


def report(
    files: Files,
    out: Path,
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Write one self-contained HTML page of results: rankings, scores, comparisons, selections.

    It holds intervals, costs against performance, models x tasks, what was spent, and where all of
    it comes from; its tables can be sorted and filtered. No network, light and dark, printable.

    Args:
        files: JSON of any command (--json, or to_json in Python).
        out: HTML file; one that exists is replaced.
        messages: what goes to stderr.
    """
    show = messages.start()
    from spider_jax.report.html import write_report_of_files
    from spider_jax.storage.own_files import refuse_own_file

    if not files:
        raise InputError("report needs at least one FILE: write one with --json on any command")
    refuse_own_file(out)
    if any(out.absolute() == file.absolute() for file in files):
        raise InputError(f"--out {out} is one of the results: name another file")
    write_report_of_files(files, out, command=shlex.join(["spider-jax", *sys.argv[1:]]))
    if show:
        note(f"written: {out}")
    return DONE
