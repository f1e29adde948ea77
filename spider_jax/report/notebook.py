"""What a notebook shows of a result: its tables, cut to the first rows, and its sentences."""

from collections.abc import Sequence

from markupsafe import Markup

from spider_jax.report.page import Block, Section, Table
from spider_jax.report.web.views import grid, shown

ROWS = 50  # of a table
TABLE = "border-collapse:collapse;font-variant-numeric:tabular-nums"
CELL = "padding:2px 12px 2px 0;text-align:{}"


def notebook_html(page: Sequence[Section]) -> str:
    """A page as HTML to stand inside another one.

    Args:
        page: its sections.

    Returns:
        Tables and paragraphs; every name is text.

    >>> from spider_jax.report.page import Notes
    >>> print(notebook_html([Section([Notes(["a < b"])])]))
    <div><p>a &lt; b</p></div>
    """
    blocks = [_block(block) for section in page for block in section.blocks]
    return str(Markup("<div>{}</div>").format(Markup("").join(blocks)))


def _block(block: Block) -> Markup:
    if isinstance(block, Table):
        return _table(block)
    lines = [block] if isinstance(block, str) else block.lines
    return Markup("").join(Markup("<p>{}</p>").format(shown(line, 600)) for line in lines)


def _table(table: Table) -> Markup:
    cells = grid("", table.columns, table.rows, most=ROWS)
    sides = [CELL.format("right" if right else "left") for right in cells.numeric]
    head = _row("th", sides, cells.columns)
    body = Markup("").join(_row("td", sides, [c.text for c in row]) for row in cells.rows)
    more = cells.total - len(cells.rows)
    rest = Markup("<p>{:,} more not shown</p>").format(more) if more else Markup("")
    html = '<table style="{}"><thead>{}</thead><tbody>{}</tbody></table>{}'
    return Markup(html).format(TABLE, head, body, rest)


def _row(tag: str, sides: Sequence[str], texts: Sequence[str]) -> Markup:
    # tag is one of two words of this module, never of a user
    html = Markup(f'<{tag} style="{{}}">{{}}</{tag}>')
    return Markup("<tr>{}</tr>").format(
        Markup("").join(html.format(side, text) for side, text in zip(sides, texts, strict=True))
    )
