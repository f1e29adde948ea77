"""The document: sources in, sections in order, one HTML text out."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, NamedTuple

from markupsafe import Markup

from spider_jax.errors import InputError, one_line
from spider_jax.report.token_map import TokenMap
from spider_jax.report.web.overview import families, overview
from spider_jax.report.web.ranked import Ranked
from spider_jax.report.web.ranking_section import ranking_view
from spider_jax.report.web.sections import (
    heading_of,
    kind_of,
    other_view,
    read_rankings,
)
from spider_jax.report.web.token_figures import token_view
from spider_jax.report.web.views import Limits, View, shown

MOST_BYTES = 4_800_000  # of a page; a browser and a mail take it
FULL = 40  # rankings with a section of their own; the others stand in the overview
MOST_FILES = 200  # of the list of sources
SOUND = (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError)


class Source(NamedTuple):
    """A JSON that a page is made from.

    Attributes:
        name: of the file.
        sha256: of its bytes.
        content: what it holds.
    """

    name: str
    sha256: str
    content: Mapping[str, Any]


def page_of(
    sources: Sequence[Source], *, command: str | None = None, maps: Sequence[TokenMap] = ()
) -> str:
    """One self-contained HTML page of results.

    Args:
        sources: at least one, with content of any JSON of this package.
        command: what was typed.
        maps: of tasks and models by their tokens.

    Returns:
        The document: no network, readable without JavaScript, below `MOST_BYTES`.

    Raises:
        InputError: no source, or content that is not sound.
    """
    if not sources:
        raise InputError("a report needs at least one result")
    read = [_rankings(source) for source in sources]
    for limits in _limits(len(sources), sum(map(len, read))):
        page = _render(sources, read, limits, command, maps)
        if len(page.encode()) <= MOST_BYTES:
            break
    return page


def memory_source(name: str, content: Mapping[str, Any]) -> Source:
    """A result that lies in no file: its checksum is that of the file it would write.

    Args:
        name: what it is called in the list of sources.
        content: what `Result.to_content` gives.

    Returns:
        The source.
    """
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return Source(name, digest, json.loads(text))


# ---- from sources to sections ----------------------------------------------------------------


def _limits(sources: int, rankings: int) -> list[Limits]:
    """What fits as a rule, then less and less."""
    count = max(1, sources, min(rankings, FULL))
    rows = min(1000, max(15, 3000 // count))
    points = min(1200, max(60, 3000 // count))
    usual = Limits(rows, points, 3 if count <= 3 else 1 if count <= 12 else 0)
    return [usual, Limits(max(15, rows // 4), 60, 0), Limits(5, 10, 0), Limits(1, 1, 0)]


def _rankings(source: Source) -> list[tuple[str, Ranked]]:
    with _Named(source):
        return read_rankings(source.content)


def _views(
    sources: Sequence[Source],
    read: Sequence[list[tuple[str, Ranked]]],
    limits: Limits,
    maps: Sequence[TokenMap],
) -> list[View]:
    rankings = [ranked for own in read for _, ranked in own]
    views = [overview(group, limits, maps) for group in families(rankings) if len(group) > 1]
    if not views and (found := token_view(maps, rankings, limits)) is not None:
        views = [found]
    left = FULL
    for source, own in zip(sources, read, strict=True):
        with _Named(source):
            other = other_view(source.content, limits)
            views += [] if other is None else [other]
            views += [ranking_view(ranked, words, limits) for words, ranked in own[:left]]
            left -= len(own[:left])
    if len(rankings) > FULL:
        more = f"{len(rankings) - FULL:,} more rankings have no section of their own."
        views.append(View("More rankings", "Left out", lead=more))
    return views


class _Named:
    """Says which source is not sound, in one line."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, InputError) or not isinstance(error, SOUND):
            return
        what = f"{error} is missing" if isinstance(error, KeyError) else one_line(error)
        name, kind_ = self.source.name, kind_of(self.source.content)
        raise InputError(f"{name} is not a sound {kind_}: {what}") from None


# ---- from sections to HTML -------------------------------------------------------------------


def _render(
    sources: Sequence[Source],
    read: Sequence[list[tuple[str, Ranked]]],
    limits: Limits,
    command: str | None,
    maps: Sequence[TokenMap],
) -> str:
    from jinja2 import Environment, PackageLoader

    loader = PackageLoader("spider_jax.report", "web")
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    folder = resources.files("spider_jax.report") / "web"
    style, script = ((folder / name).read_text("utf-8") for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    title, subtitle = _title(sources, [ranked for own in read for _, ranked in own])
    views = _views(sources, read, limits, maps)
    if len(views) == 1 and views[0].kicker:  # its title is that of the page
        views = [views[0]._replace(heading=views[0].kicker, kicker="")]
    return environment.get_template("page.html.j2").render(
        title=title,
        subtitle=subtitle,
        views=views,
        sources=[_listed(source) for source in sources[:MOST_FILES]],
        more_sources=max(0, len(sources) - MOST_FILES),
        versions=_versions(sources),
        command=None if command is None else shown(command, 2000),
        style=Markup(style),
        script=Markup(script),
        script_hash=digest,
    )


def _title(sources: Sequence[Source], rankings: Sequence[Ranked]) -> tuple[str, str]:
    models = len({name for ranked in rankings for name in ranked.names})
    if len(rankings) == 1 and len(sources) == 1:
        task = rankings[0].task
        return (
            f"Models for {shown(task, 60)}" if task else "Models, best first",
            f"{models:,} models",
        )
    if rankings:
        tasks = len({ranked.task for ranked in rankings})
        return f"Models for {tasks:,} task{'s' * (tasks > 1)}", f"{models:,} models"
    titles = list(dict.fromkeys(heading_of(source.content) for source in sources))
    count = f"{len(sources):,} result{'s' * (len(sources) > 1)}"
    return (titles[0] if len(titles) == 1 else "Results"), count


def _listed(source: Source) -> tuple[str, str, str]:
    return shown(source.name, 200), shown(kind_of(source.content), 60), source.sha256


def _versions(sources: Sequence[Source]) -> list[tuple[str, str]]:
    """Packages that wrote the sources; several versions of one beside one another."""
    found: dict[str, dict[str, None]] = {}
    for source in sources:
        written = source.content.get("created_with")
        for package, version in written.items() if isinstance(written, dict) else ():
            found.setdefault(shown(package, 40), {})[shown(version, 40)] = None
    return [(package, ", ".join(list(seen)[:5])) for package, seen in list(found.items())[:40]]
