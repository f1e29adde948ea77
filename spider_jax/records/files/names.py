"""Names of models and tasks while a file streams by: each text becomes a position."""

import unicodedata
from collections.abc import Iterable
from typing import Any

BLANK, BROKEN = -1, -2


class NameTable(dict[Any, int]):
    """The position of every text that a column holds; a new name gets the next one.

    A name is taken without surrounding space and in Unicode normal form NFC, so that two ways to
    write it are one name. An empty one is BLANK, one with a control character is BROKEN.

    Attributes:
        names: every name once, in order.
        changed: how many different texts were not written as the name is.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        """Start with names that are known.

        Args:
            known: names, each once.
        """
        super().__init__()
        self.names: list[str] = []
        self.changed = 0
        self._place: dict[str, int] = {}
        for name in known:
            self[name]

    def __missing__(self, text: object) -> int:
        place = self._find(text if isinstance(text, str) else "" if text is None else str(text))
        self[text] = place
        return place

    def _find(self, text: str) -> int:
        name = clean_name(text)
        if not name:
            return BLANK
        if is_broken(name):
            return BROKEN
        self.changed += name != text
        place = self._place.setdefault(name, len(self.names))
        if place == len(self.names):
            self.names.append(name)
        return place


def clean_name(text: str) -> str:
    """A name as tables of this package have it.

    Args:
        text: as it is written.

    Returns:
        The text without surrounding space, in normal form NFC.

    >>> clean_name(" vgg ")
    'vgg'
    """
    return unicodedata.normalize("NFC", text).strip()


def is_broken(name: str) -> bool:
    """Whether a name has a control character, as binary garbage and cell breaks have.

    Args:
        name: as `clean_name` gives it.
    """
    return not name.isprintable() and any(unicodedata.category(c) in ("Cc", "Cs") for c in name)
