"""A number as people write it: percent signs, decimal commas, holes, and what stands after ±."""

import math
import re

HOLES = frozenset(
    ("", "-", "--", "–", "—", "n/a", "na", "#n/a", "nan", "null", "none", "?", "tbd", ".")  # noqa: RUF001
)
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
SPREAD = re.compile(r"\s*(±|\+/-|\+-).*", re.DOTALL)


def read_number(text: str, decimal: str = ".") -> float:
    """The number in a cell; a percent sign makes a fraction of it, what follows ± is left out.

    Args:
        text: of the cell.
        decimal: "." or ",".

    Returns:
        The number, NaN for a hole.

    Raises:
        ValueError: no number.

    >>> read_number("76.5 %"), read_number("0,5", ","), read_number("20.0 ± 1.2")
    (0.765, 0.5, 20.0)
    """
    plain = SPREAD.sub("", text.strip()).replace("\u2212", "-").strip()
    if plain.casefold() in HOLES:
        return math.nan
    percent = plain.endswith("%")
    number = plain.removesuffix("%").strip()
    if decimal == ",":
        number = number.replace(",", ".") if "." not in number else "no number"
    if not NUMBER.fullmatch(number):
        raise ValueError(text)
    return (
        float(number + "e-2")
        if percent and "e" not in number.casefold()
        else (float(number) / 100 if percent else float(number))
    )


def is_number(text: str, decimal: str = ".") -> bool:
    """Whether a cell holds a number and no hole.

    Args:
        text: of the cell.
        decimal: "." or ",".
    """
    try:
        return not math.isnan(read_number(text, decimal))
    except ValueError:
        return False
