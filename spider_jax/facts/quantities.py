"""Numbers as people write them: 25.6M, 7B, 86,567,656, 1_000, 3e9, 512 MiB, 12ms."""

import math
import re

# "m" is a million: no fact of a model is counted in thousandths.
COUNTS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
UNITS = (
    COUNTS
    | {"bn": 1e9, "mn": 1e6, "million": 1e6, "billion": 1e9}
    | {f"{letter}b": COUNTS[letter] for letter in "kmgt"}
    | {f"{letter}ib": 1024.0**power for power, letter in enumerate("kmgt", 1)}
    | {f"{letter}flops": COUNTS[letter] for letter in ("", "k", "m", "g", "t")}
    | {f"{letter}macs": 2 * COUNTS[letter] for letter in ("", "k", "m", "g", "t")}
    | {"s": 1.0, "ms": 1e-3, "us": 1e-6, "px": 1.0}
)
NUMBER = re.compile(
    r"(?P<number>[+-]?(?:\d{1,3}(?:,\d{3})+|\d+(?:_\d+)*)?(?:\.\d*)?(?:e[+-]?\d{1,4})?)"
    r"\s*(?P<unit>[a-z]*)",
    re.IGNORECASE,
)
LONGEST = 60  # characters of a number


def read_quantity(text: str) -> float | None:
    """The number that a text says; None where it says none, or none that is finite.

    Args:
        text: digits, maybe with commas or underscores between thousands, an exponent, and a unit
            from `UNITS` in any case of letters.

    >>> [read_quantity(t) for t in ("25.6M", "86,567,656", "1_000", "7B", "12 ms", "mit")]
    [25600000.0, 86567656.0, 1000.0, 7000000000.0, 0.012, None]
    """
    stripped = text.strip()
    found = NUMBER.fullmatch(stripped) if len(stripped) <= LONGEST else None
    if found is None or not any(c.isdigit() for c in found["number"]):
        return None
    scale = UNITS.get(found["unit"].lower())
    try:
        value = float(found["number"].replace(",", "").replace("_", ""))
    except ValueError:
        return None
    if scale is None or not math.isfinite(value * scale):
        return None
    whole = round(value * scale)
    exact = scale >= 1 and math.isclose(value * scale, whole, rel_tol=1e-15, abs_tol=0)
    return float(whole) if exact else value * scale  # 7.242B is 7242000000, without a rest


def short_quantity(value: int | float) -> str:
    """A number for a reader: three digits and a letter from a thousand on.

    Args:
        value: finite.

    >>> [short_quantity(x) for x in (25_600_000, 7e9, 224, 0.0123, 0)]
    ['25.6M', '7B', '224', '0.0123', '0']
    """
    for letter, scale in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= scale * 0.9995 and abs(value) >= 9_999.5:
            return f"{float(f'{value / scale:.3g}'):g}{letter}"
    return f"{value:.4g}"
