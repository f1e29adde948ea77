"""The formats that can be imported: a new one is a module and a line here."""

from collections.abc import Callable, Sequence
from pathlib import Path

from spider_jax.errors import InputError
from spider_jax.records.content import Content
from spider_jax.records.importers.gathered import Gathered, ImportOptions
from spider_jax.records.importers.lm_eval import import_lm_eval
from spider_jax.records.importers.model_card import import_model_cards
from spider_jax.records.importers.mteb import import_mteb
from spider_jax.records.importers.timm import import_timm
from spider_jax.records.importers.wide import import_wide
from spider_jax.records.reading import read_records

Importer = Callable[[Sequence[Path], ImportOptions], Gathered]

IMPORTERS: dict[str, Importer] = {
    "wide": import_wide,
    "mteb": import_mteb,
    "lm-eval": import_lm_eval,
    "model-card": import_model_cards,
    "timm": import_timm,
}
KINDS = (*IMPORTERS, "folder")


def import_content(
    kind: str, sources: Sequence[str | Path], options: ImportOptions = ImportOptions()
) -> Content:
    """The records that files of another format hold.

    Args:
        kind: one of KINDS; "folder" reads records folders.
        sources: files and folders.
        options: what the files do not say.

    Returns:
        The table; its problems name what was left out.

    Raises:
        InputError: an unknown kind, no source, a source that is not there, or nothing in it.
    """
    if kind not in KINDS:
        raise InputError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    if not sources:
        raise InputError("an import needs at least one file or folder")
    paths = [Path(source) for source in sources]
    if kind == "folder":
        return read_records(paths).whole()
    content = IMPORTERS[kind](paths, options).content(options)
    if not len(content.value):
        why = f": {content.problems[0]}" if content.problems else ""
        raise InputError(f"no result was found in {', '.join(map(str, paths[:3]))}{why}")
    return content
