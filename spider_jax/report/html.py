"""Results, or the files they were written to, as one self-contained HTML page."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spider_jax.report.result import Result
from spider_jax.report.token_map import TokenMap
from spider_jax.storage.files import read_json, write_text
from spider_jax.storage.opening import open_regular


def write_report(
    results: Sequence[Result],
    path: Path,
    *,
    command: str | None = None,
    maps: Sequence[TokenMap] = (),
) -> Path:
    """Write one self-contained HTML page of results, all or nothing.

    The page needs no network and no JavaScript to be read, follows the reader's light or dark
    theme, and prints.

    Args:
        results: any results of this package, at least one.
        path: the file; one that exists is replaced.
        command: what was typed, for the provenance at its end.
        maps: of tasks and models by their tokens; without them the map is one of scores.

    Returns:
        The path.

    Raises:
        InputError: no results, or a folder or a link in the place of the file.
    """
    from spider_jax.report.web.page import memory_source, page_of  # jinja2 only where it is used

    sources = [
        memory_source(f"{result.kind} (in memory)", result.to_content()) for result in results
    ]
    write_text(path, page_of(sources, command=command, maps=maps))
    return path


def write_report_of_files(
    files: Sequence[Path],
    path: Path,
    *,
    command: str | None = None,
    maps: Sequence[TokenMap] = (),
) -> Path:
    """Write one self-contained HTML page of results that lie in JSON files.

    Args:
        files: JSON files of this package, of any kind, at least one.
        path: the file; one that exists is replaced.
        command: what was typed, for the provenance at its end.
        maps: of tasks and models by their tokens; without them the map is one of scores.

    Returns:
        The path.

    Raises:
        InputError: no files; one that is missing, no JSON of this package, or not sound.
    """
    from spider_jax.report.web.page import Source, page_of

    sources = [Source(*_read(Path(file))) for file in files]
    write_text(path, page_of(sources, command=command, maps=maps))
    return path


def _read(path: Path) -> tuple[str, str, dict[str, Any]]:
    """Name, checksum and content of a JSON."""
    content = read_json(path, None)
    with open_regular(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return str(path), digest, content
