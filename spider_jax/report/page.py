"""What a reader sees of a result: tables and sentences in order, for a terminal and in Markdown."""

import textwrap
from collections.abc import Sequence
from typing import NamedTuple

from spider_jax.report.escape import escape_markdown, escape_terminal
from spider_jax.report.tables import to_markdown, to_text


class Table(NamedTuple):
    """A table of a page.

    Attributes:
        columns: one heading per column.
        rows: one cell per column in every row.
        groups: rows that begin a group of their own; a terminal shows them apart.
        strong: how many of the first rows a terminal shows in colour.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    groups: Sequence[int] = ()
    strong: int = 0


class Notes(NamedTuple):
    """Sentences of a page: a line each in a terminal, a list in Markdown.

    Attributes:
        lines: the sentences.
    """

    lines: Sequence[str]


Block = Table | Notes | str  # a string is a paragraph


class Section(NamedTuple):
    """What belongs together on a page.

    Attributes:
        blocks: tables, notes and paragraphs.
        heading: shown above them in Markdown; a terminal has none.
    """

    blocks: Sequence[Block]
    heading: str | None = None


def page_text(page: Sequence[Section], *, width: int | None = None, colour: bool = False) -> str:
    """A page for a terminal: blocks below one another, an empty line between sections.

    Args:
        page: its sections.
        width: cells in a line of a terminal: wider tables are given in parts, see
            `tables.to_text`, longer sentences in lines. Default: all as it is.
        colour: whether headings are bold and the first rows of some tables green.

    Returns:
        Lines without control characters but those of colours, no newline at the end.

    >>> print(page_text([Section([Table(["model"], [["vgg"]]), Notes(["one", "two"])])]))
    model
    vgg
    one
    two
    """
    sections = [
        [line for b in section.blocks for line in _lines(b, width, colour)] for section in page
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def page_markdown(page: Sequence[Section]) -> str:
    """A page in GitHub's Markdown.

    Args:
        page: its sections.

    Returns:
        Blocks with an empty line between them, no newline at the end.

    >>> print(page_markdown([Section([Notes(["one", "two"]), "three"], heading="Numbers")]))
    ## Numbers
    <BLANKLINE>
    - one
    - two
    <BLANKLINE>
    three
    """
    blocks = []
    for section in page:
        if section.heading is not None:
            blocks.append(f"## {escape_markdown(section.heading)}")
        blocks += map(_markdown, section.blocks)
    return "\n\n".join(filter(None, blocks))


def _lines(block: Block, width: int | None, colour: bool) -> list[str]:
    if isinstance(block, Table):
        groups = () if width is None else block.groups
        strong = block.strong if colour else None
        return [to_text(block.columns, block.rows, width=width, groups=groups, strong=strong)]
    lines = map(escape_terminal, [block] if isinstance(block, str) else block.lines)
    return [part for line in lines for part in _folded(line, width)]


def _folded(line: str, width: int | None) -> list[str]:
    """A sentence in lines of whole words, the later ones set in."""
    if width is None or len(line) <= width:
        return [line]
    return textwrap.wrap(
        line,
        max(width, 20),
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )


def _markdown(block: Block) -> str:
    if isinstance(block, Table):
        return to_markdown(block.columns, block.rows)
    if isinstance(block, str):
        return escape_markdown(block)
    return "\n".join(f"- {escape_markdown(line)}" for line in block.lines)
