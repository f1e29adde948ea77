"""Escape by kind: a plain string is data and may hold anything, `Own` marks words of this package.

Names, notes and reasons come from users and from files: none of them may move a cursor, open a link
or break a table. What this package writes itself, like an interval, is safe and stays readable.
"""

import unicodedata

MARKDOWN_SIGNS = str.maketrans({sign: f"&#{ord(sign)};" for sign in "&<>|`[]\\*~"})


class Own(str):
    """A text written by this package, without anything of a user in it.

    Only a bar is escaped in Markdown, as it would end a table's cell. Control characters are
    escaped as in any text. What is made from an Own (`+`, `format`) is a plain string again.

    >>> escape_markdown("[0.1, 0.2]"), escape_markdown(Own("[0.1, 0.2]"))
    ('&#91;0.1, 0.2&#93;', '[0.1, 0.2]')
    """

    __slots__ = ()


def interval(low: float, high: float, form: str = ".3f") -> Own:
    """An interval as our tables show it.

    Args:
        low: its lower end.
        high: its upper end.
        form: how a number is written, as `format` takes it.

    Returns:
        The text, for a cell of a table.

    >>> interval(0.6, 0.75), interval(-0.1, 0.2, "+.2f")
    ('[0.600, 0.750]', '[-0.10, +0.20]')
    """
    return Own(f"[{low:{form}}, {high:{form}}]")


def escape_terminal(text: str) -> str:
    r"""A text with control, format and line-breaking characters written \xNN (or \uNNNN).

    Args:
        text: any text.

    Returns:
        One line that a terminal shows as it stands.

    >>> print(escape_terminal("\x1b[31mred\n"))
    \x1b[31mred\x0a
    """
    if text.isprintable():  # most texts: no control, format or line-breaking character
        return str(text)
    return "".join(_code(c) if _is_control(c) else c for c in text)


def escape_markdown(text: str) -> str:
    """A text that Markdown shows as it is: no cell, link, code, HTML or emphasis can begin in it.

    Signs become numeric entities and not backslash escapes, because inside a table the readers of
    Markdown disagree on what a backslash before a bar means.

    Args:
        text: any text; of an `Own` only bars and control characters are escaped.

    Returns:
        One line of Markdown.

    >>> escape_markdown("<b>|`x`")
    '&#60;b&#62;&#124;&#96;x&#96;'
    """
    shown = escape_terminal(text)
    if isinstance(text, Own):
        return shown.replace("|", "&#124;")
    return shown.translate(MARKDOWN_SIGNS)


def _is_control(char: str) -> bool:
    # Format characters (Cf) too: they can turn the direction of a line or hide in a name.
    category = unicodedata.category(char)
    return category.startswith("C") or category in ("Zl", "Zp")


def _code(char: str) -> str:
    number = ord(char)
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
