"""What a user names on the command line: [NAME=]READER:WHAT[?option=value&option=value]."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import unquote

from spider_jax.errors import InputError
from spider_jax.storage.files import name_to_component

NAMED = re.compile(r"(?P<name>[^:=?]+)=(?P<rest>[a-z_]+:.*)", re.DOTALL)


@dataclass(frozen=True)
class Spec:
    """A model or data as a user names it.

    Attributes:
        reader: the word before the colon.
        what: what stands after the colon, without the options.
        options: what stands after "?", by name.
        name: what stands before "=", or None.
    """

    reader: str
    what: str
    options: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None

    def __str__(self) -> str:
        return f"{self.reader}:{self.what}"

    def known(self, options: Collection[str]) -> None:
        """Refuse an option that the reader does not have.

        Args:
            options: names of those that it has.

        Raises:
            InputError: there is another one.
        """
        for option in self.options:
            if option not in options:
                near = get_close_matches(option, options, 1)
                raise InputError(
                    f"{self}: unknown option {option!r}, it has {', '.join(options) or 'none'}"
                    + (f": did you mean {near[0]}?" if near else "")
                )

    def number(self, option: str, default: int, least: int = 1) -> int:
        """A whole number among the options.

        Args:
            option: its name.
            default: where the option is not given.
            least: the smallest number that is allowed.

        Returns:
            The number.

        Raises:
            InputError: no whole number, or a smaller one than `least`.
        """
        text = self.options.get(option, str(default))
        if not text.isdecimal() or int(text) < least:
            raise InputError(f"{self}: {option} must be a whole number >= {least}, got {text!r}")
        return int(text)

    def choice(self, option: str, among: Collection[str], default: str) -> str:
        """One of a few words among the options.

        Args:
            option: its name.
            among: the words that are allowed.
            default: where the option is not given.

        Returns:
            The word.

        Raises:
            InputError: another word.
        """
        text = self.options.get(option, default)
        if text not in among:
            raise InputError(f"{self}: {option} must be one of {', '.join(among)}, got {text!r}")
        return text


def parse_spec(text: str, readers: Collection[str], what: str) -> Spec:
    """Read [NAME=]READER:WHAT[?option=value&...].

    Args:
        text: as the user wrote it.
        readers: names of the known readers.
        what: "model" or "data", for errors.

    Returns:
        The spec.

    Raises:
        InputError: another form, an unknown reader, or a name that cannot stand on disk.

    >>> parse_spec("pets=folder:photos/pets?size=64", ("folder",), "data")
    Spec(reader='folder', what='photos/pets', options={'size': '64'}, name='pets')
    """
    named = NAMED.fullmatch(text)
    name, rest = (named["name"], named["rest"]) if named else (None, text)
    reader, colon, target = rest.partition(":")
    if not colon or reader not in readers:
        guess = _guess(rest, readers)
        raise InputError(
            f"{what} {text!r} must be READER:WHAT with READER one of {', '.join(sorted(readers))}"
            + (f": did you mean {guess}?" if guess else "")
        )
    target, _, options = target.rpartition("?") if "?" in target else (target, "", "")
    if not target:
        raise InputError(f"{what} {text!r} names nothing after {reader}:")
    if name is not None:
        name_to_component(name)
    return Spec(reader, target, _options(options, text), name)


SUFFIXES = {  # of files, and who reads them, the first that is among the readers
    **dict.fromkeys((".npy", ".npz"), ("arrays", "features")),
    **dict.fromkeys((".csv", ".tsv"), ("csv", "features")),
    **{".parquet": ("parquet", "features"), ".safetensors": ("features",), ".onnx": ("onnx",)},
}


def _guess(text: str, readers: Collection[str]) -> str:
    """What was probably meant by a spec without a reader, or with a misspelt one; "" if unknown."""
    reader, colon, rest = text.partition(":")
    near = get_close_matches(reader.lower(), readers, 1, 0.7)
    if colon and near and rest:
        return f"{near[0]}:{rest}"
    path = Path(text.partition("?")[0])
    fits = [r for r in SUFFIXES.get(path.suffix.lower(), ()) if r in readers]
    if "folder" in readers and path.is_dir():
        fits = ["folder"]
    if not fits and not colon:
        hub = re.fullmatch(r"[\w.-]+/[\w.-]+", text)
        named = ("hf",) if hub else ("timm", "tfds") if re.fullmatch(r"[\w.-]+", text) else ()
        fits = [r for r in named if r in readers]
    tail = ":train" if fits and fits[0] in ("tfds", "hf") and "tfds" in readers else ""
    return f"{fits[0]}:{text}{tail}" if fits else ""


def _options(text: str, whole: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in filter(None, text.split("&")):
        key, equals, value = part.partition("=")
        if not equals or not key or key in found:
            raise InputError(f"{whole!r}: options are key=value&key=value, each once, got {part!r}")
        found[key] = unquote(value)
    return found
