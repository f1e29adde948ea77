"""Labelled items, in order: what every reader of data returns."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Int32, Int64, Shaped
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.extract.data.content import Content
from spider_jax.extract.data.items import Item, TextPair
from spider_jax.zoo.files import KINDS, refuse_unlabelled

log = logging.getLogger("spider_jax")

Modality = Literal["image", "text", "pair", "word", "none"]


class BrokenItemError(InputError):
    """Items of the data cannot be read, by no model.

    Attributes:
        messages: one an item.
    """

    def __init__(self, *messages: str) -> None:
        """Keep the messages.

        Args:
            messages: one an item, at least one.
        """
        super().__init__("; ".join(messages))
        self.messages = messages


class Labelling(NamedTuple):
    """The labels of all rows.

    Attributes:
        labels: numbers [N] or [N, K], None where there are none.
        classes: names of the classes 0..C-1, None where they have no names.
        kind: "classification", "regression" or "multi-label".
    """

    labels: Shaped[np.ndarray, "N ..."] | None
    classes: tuple[str, ...] | None
    kind: str


NO_LABELS = Labelling(None, None, "classification")


@dataclass(frozen=True)
class Dataset:
    """N items of one kind and their labels.

    Attributes:
        name: of the task.
        source: where the data are from, without the folder.
        modality: what an item is.
        rows: N.
        item: row -> picture (Pillow's, or uint8 [H, W] or [H, W, C]), text, pair of texts, or word.
        where: row -> the file and row to name in errors.
        labels: numbers [N] or [N, K] as a zoo keeps them, None where there are none.
        kind: "classification", "regression" or "multi-label".
        classes: names of the classes 0..C-1, None where they have no names.
        fingerprint: SHA-256 of what tells these data from others, from whoever made them; None
            where `content` tells it, or where only labels are known.
        content: what the items hold, None where only labels are known.
        left_out: rows that no model reads, in ascending order: they were broken when a zoo was
            made of the rest.
        groups: [N] rows of one group are never split, as the words of a sentence; None: there are
            no groups.
    """

    name: str
    source: str
    modality: Modality
    rows: int
    item: Callable[[int], Item]
    where: Callable[[int], str]
    labels: Shaped[np.ndarray, "N ..."] | None
    kind: str
    classes: tuple[str, ...] | None
    fingerprint: str | None
    content: Content | None = None
    left_out: tuple[int, ...] = ()
    groups: Int64[np.ndarray, " N"] | None = None

    @property
    def kept(self) -> Int64[np.ndarray, " n"]:
        """The rows that are not left out."""
        return np.delete(np.arange(self.rows), list(self.left_out))

    @property
    def kept_labels(self) -> Shaped[np.ndarray, "n ..."] | None:
        """Labels of the rows that are not left out."""
        return self.labels if self.labels is None or not self.left_out else self.labels[self.kept]

    def identity(self) -> Mapping[str, str]:
        """What tells these data from others, as a manifest keeps it; {} where nothing does.

        Rows that are left out do not count, so that mending them makes no other data.
        """
        if self.fingerprint is not None:
            return {"data_sha256": self.fingerprint}
        if self.content is None:
            return {}
        parts = [self.kind, self.classes, self.content.digests[self.kept], self.kept_labels]
        return {"content_sha256": data_fingerprint(parts)}


def data_fingerprint(parts: Iterable[object]) -> str:
    """SHA-256 of names, sizes and labels.

    Args:
        parts: what is hashed, in order. An array counts with dtype, shape and bytes, anything else
            with its `repr`.

    Returns:
        The digest in hexadecimal.
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(repr((part.dtype.str, part.shape)).encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        else:
            digest.update(repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def no_items(path: Path) -> Callable[[int], Item]:
    """The `item` of data that are labels only.

    Args:
        path: of the data, for the error.

    Returns:
        A function that raises InputError for every row.
    """

    def item(row: int) -> Item:
        raise InputError(f"{path} holds labels only: a model needs pictures or texts")

    return item


def text_of(value: object, where: str) -> str:
    """The text of an item; a missing and an empty one are the same: broken.

    Args:
        value: what the reader has for it.
        where: the file and row, for errors.

    Returns:
        The text.

    Raises:
        BrokenItemError: there is none.
    """
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    if value is None or value != value or not text.strip():
        raise BrokenItemError(f"{where} has no text")
    return text


def pair_of(first: object, second: object, where: str) -> TextPair:
    """The two texts of an item; where one is missing it is broken.

    Args:
        first: what the reader has for the first.
        second: what it has for the other.
        where: the file and row, for errors.

    Returns:
        The texts.

    Raises:
        BrokenItemError: one of them is not there.
    """
    return TextPair(text_of(first, where), text_of(second, f"the pair of {where}"))


def kind_of_labels(labels: Shaped[np.ndarray, "..."], declared: str | None, where: str) -> str:
    """The kind that is declared, else the kind that dtype and shape show.

    Floats are regression targets, whole numbers [N] are classes, whole numbers [N, K] are
    multi-label.

    Args:
        labels: numbers [N] or [N, K].
        declared: a kind, or None.
        where: the file that the labels are from, for errors.

    Returns:
        "classification", "regression" or "multi-label".

    Raises:
        InputError: labels of no kind, or not of the one declared.
    """
    if declared is not None and declared not in KINDS:
        raise InputError(f"{where}: kind must be one of {', '.join(KINDS)}, got {declared!r}")
    if labels.dtype.kind not in "biuf" or labels.ndim not in (1, 2):
        raise InputError(
            f"{where}: labels must be numbers [N] or [N, K], got {labels.dtype} {labels.shape}"
        )
    said = "regression" if labels.dtype.kind == "f" else "classification"
    kind = declared or ("multi-label" if labels.ndim == 2 and said != "regression" else said)
    if kind == "classification" and (labels.ndim != 1 or labels.dtype.kind == "f"):
        raise InputError(f"{where}: classes must be int [N], got {labels.dtype} {labels.shape}")
    if kind == "classification":
        refuse_unlabelled(labels, where)
    if kind == "multi-label" and (labels.ndim != 2 or not np.isin(labels, (0, 1)).all()):
        raise InputError(f"{where}: multi-label must be 0/1 [N, K]")
    if kind == "regression":
        _check_targets(labels, where)
        if declared is None and labels.ndim == 1 and (labels == np.round(labels)).all():
            log.warning(
                "%s: float labels make a regression: if they are classes, save them as integers",
                where,
            )
    return kind


def _check_targets(labels: NDArray[np.generic], where: str) -> None:
    bad = ~np.isfinite(labels.reshape(len(labels), -1)).all(1)
    if bad.any():
        raise InputError(f"{where}: label of row {int(np.flatnonzero(bad)[0])} is not finite")


def check_rows(labels: Shaped[np.ndarray, "N ..."], rows: int, where: str) -> None:
    """Refuse labels that are not one a row.

    Args:
        labels: numbers [N] or [N, K].
        rows: how many rows the data have.
        where: the file that the labels are from, for errors.

    Raises:
        InputError: fewer or more labels than rows.
    """
    if len(labels) != rows:
        first = min(len(labels), rows)
        raise InputError(
            f"{where}: labels must have one entry per row (N={rows}), got {len(labels)}: "
            f"row {first} is the first without its other half"
        )


def classes_of_names(names: Sequence[str]) -> tuple[Int32[np.ndarray, " N"], tuple[str, ...]]:
    """Classes from words.

    Args:
        names: the name of every row's class.

    Returns:
        int32 [N] labels 0..C-1 in sorted order of the names, and the C names.
    """
    found, labels = np.unique(np.array(names, dtype=str), return_inverse=True)
    return labels.astype(np.int32), tuple(map(str, found))


def drop_unused(
    labels: Shaped[np.ndarray, " N"], names: Sequence[str], where: str
) -> tuple[Int32[np.ndarray, " N"], tuple[str, ...]]:
    """Leave out the classes without a row; the log names them.

    Args:
        labels: int [N], an index into `names`.
        names: of all classes.
        where: the data that the labels are from, for errors.

    Returns:
        int32 [N] labels 0..C-1 of the classes that occur, and their C names.

    Raises:
        InputError: a label that is no index into `names`.
    """
    refuse_unlabelled(labels, where)
    found, encoded = np.unique(labels, return_inverse=True)
    if found.size and not 0 <= found[0] <= found[-1] < len(names):
        row = int(np.flatnonzero((labels < 0) | (labels >= len(names)))[0])
        raise InputError(
            f"{where}: label of row {row} is {labels[row]}, classes are 0..{len(names) - 1}"
        )
    if len(found) < len(names):
        unused = [name for i, name in enumerate(names) if i not in found]
        log.warning("%s: %d classes have no row and are left out: %s", where, len(unused), unused)
    return encoded.astype(np.int32), tuple(names[i] for i in found)
