"""`spider-jax records`: check, import, add to and learn from records of results that exist."""

from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from spider_jax.cli.output import BAD_INPUT, Flat, Messages, Output, note
from spider_jax.cli.recommend import fit
from spider_jax.records.importers.gathered import ImportOptions

Folder = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
Folders = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER...")]
Sources = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE...")]
Kind = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="KIND")]


def check(
    folders: Folders,
    output: Annotated[Output, Flat] = Output(),
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Read records folders, count what they hold, and list every fault; exit 2 where there is one.

    Args:
        folders: records folders, zoos, or files with columns model, task and value; of two results
            for one pair the first counts.
        output: how data is written.
        messages: what goes to stderr.
    """
    messages.start()
    from spider_jax.records.inspection import check_records

    found = check_records(folders)
    code = output.write(found)
    if found.fault_count:
        note(f"{found.fault_count} faults: the records are refused until they are mended")
        return BAD_INPUT
    return code


def import_(
    kind: Kind,
    sources: Sources,
    out: Path,
    prefer: Literal["known", "imported"] = "known",
    reading: Annotated[ImportOptions, Flat] = ImportOptions(),
    output: Annotated[Output, Flat] = Output(),
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Add results of another format to a records folder.

    Kinds: wide (a spreadsheet of models x tasks as CSV), mteb (its results folder), lm-eval (JSON
    of lm-evaluation-harness), model-card (README.md of Hugging Face), timm (its result tables),
    folder (records folders).

    Args:
        kind: format of the sources.
        sources: files and folders.
        out: records folder, or a new one.
        prefer: which value counts of a result that both have.
        reading: what the files do not say.
        output: how data is written.
        messages: what goes to stderr.
    """
    messages.start()
    from spider_jax.records.changes import import_records

    return output.write(import_records(kind, sources, out, prefer=prefer, options=reading))


def add(
    folder: Folder,
    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")],
    task: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TASK")],
    value: Annotated[float, tyro.conf.Positional, tyro.conf.arg(metavar="VALUE")],
    stderr: float = float("nan"),
    replace: bool = False,
    output: Annotated[Output, Flat] = Output(),
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Add one result to a records folder.

    Args:
        folder: records folder, or a new one.
        model: its name.
        task: its name.
        value: the result, in the task's measure.
        stderr: its standard error; default: not known.
        replace: take the place of a known result.
        output: how data is written.
        messages: what goes to stderr.
    """
    messages.start()
    from spider_jax.records.changes import add_result

    return output.write(add_result(folder, model, task, value, stderr, replace=replace))


COMMANDS: dict[str, Any] = {"check": check, "import": import_, "add": add, "fit": fit}
