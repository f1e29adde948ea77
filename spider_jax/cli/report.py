"""`spider-jax report`: any results of this package as one page."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from spider_jax.cli.output import DONE, Flat, Messages, note
from spider_jax.errors import InputError

if TYPE_CHECKING:
    from spider_jax.report.token_map import TokenMap

Files = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILE...")]


def report(
    files: Files,
    out: Path,
    spider: Path | None = None,
    zoo: Path | None = None,
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Write one self-contained HTML page of results: rankings, scores, comparisons, selections.

    It holds intervals, costs against performance, models x tasks, what was spent, and where all of
    it comes from; its tables can be sorted and filtered. No network, light and dark, printable.

    Args:
        files: JSON of any command (--json, or to_json in Python).
        out: HTML file; one that exists is replaced.
        spider: folder of a spider: models are mapped by their tokens instead of their scores.
        zoo: folder of a zoo with a general extractor: tasks are mapped by their class centres.
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
    command = shlex.join(["spider-jax", *sys.argv[1:]])
    write_report_of_files(files, out, command=command, maps=_maps(spider, zoo))
    if show:
        note(f"written: {out}")
    return DONE


def _maps(spider: Path | None, zoo: Path | None) -> "tuple[TokenMap, ...]":
    """Maps by the tokens of what is at hand."""
    if spider is None and zoo is None:
        return ()
    from spider_jax.evaluation.token_maps import known_maps, map_of_models, map_of_zoo
    from spider_jax.spider.spider import Spider
    from spider_jax.zoo.store import FeatureStore

    loaded = None if spider is None else Spider.load(spider)
    tasks = None if zoo is None else map_of_zoo(FeatureStore(zoo), loaded)
    return known_maps([tasks, None if loaded is None else map_of_models(loaded)])
