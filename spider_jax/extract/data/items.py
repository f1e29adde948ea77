"""What an item of a dataset is: a picture, a text, a pair of texts, or a word of a sentence."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Shaped


@runtime_checkable
class Picture(Protocol):
    """What is used of a `PIL.Image.Image`. Pillow is optional, so its class is not named."""

    @property
    def mode(self) -> str:
        """Name of the kind of pixels, for instance "RGB"."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        ...

    @property
    def info(self) -> Mapping[str | tuple[int, int], object]:
        """What the file says beside the pixels."""
        ...

    def convert(self, mode: str) -> "Picture":
        """The picture with another kind of pixels.

        Args:
            mode: name of that kind.
        """
        ...

    def resize(self, size: tuple[int, int], resample: int) -> "Picture":
        """The picture with other sides.

        Args:
            size: width and height in pixels.
            resample: Pillow's number of an interpolation.
        """
        ...

    def crop(self, box: tuple[int, int, int, int]) -> "Picture":
        """A part of the picture.

        Args:
            box: left, top, right and bottom in pixels.
        """
        ...


class TextPair(NamedTuple):
    """Two texts that have one label.

    Attributes:
        first: for instance a premise.
        second: for instance a hypothesis.
    """

    first: str
    second: str


class Word(NamedTuple):
    """A word that has a label, in its sentence.

    Attributes:
        sentence: all its words.
        place: of the word, from 0.
    """

    sentence: tuple[str, ...]
    place: int


# Pixels as an array are uint8 [H, W] or [H, W, C] in a dataset, and float32 once they are prepared.
Item = Picture | Shaped[np.ndarray, "..."] | str | TextPair | Word
