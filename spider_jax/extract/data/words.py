"""Token tasks: sentences whose words have a label each; a row of the task is a word."""

from collections.abc import Callable, Sequence

import numpy as np

from spider_jax.errors import InputError
from spider_jax.extract.data.content import Content
from spider_jax.extract.data.dataset import NO_LABELS, BrokenItemError, Dataset
from spider_jax.extract.data.items import Word
from spider_jax.extract.data.label_values import labels_of


def words_of(value: object) -> list[object]:
    """The words of a sentence, or their labels.

    Args:
        value: a list, or a text with blanks between them; None is an empty one.
    """
    if isinstance(value, str):
        return list(value.split())
    if value is None:
        return []
    return list(value) if isinstance(value, Sequence | np.ndarray) else [value]


def word_dataset(
    name: str,
    source: str,
    sentences: Sequence[object],
    tags: Sequence[object] | None,
    kind: str | None,
    file: str,
    row_name: Callable[[int], str],
) -> Dataset:
    """The words of sentences as the rows of a task; those of a sentence are a group.

    Args:
        name: of the task.
        source: where the data are from.
        sentences: the words of each, see `words_of`.
        tags: the labels of each, one a word; None where there are none.
        kind: of the labels, or None to see it from them.
        file: that they are from, for errors.
        row_name: sentence -> how errors call it.

    Returns:
        The data.

    Raises:
        InputError: no word, a sentence with more or fewer labels than words, or labels of no kind.
    """
    words = [tuple("" if word is None else str(word) for word in words_of(s)) for s in sentences]
    counts = np.array([len(sentence) for sentence in words], np.int64)
    if not counts.sum():
        raise InputError(f"{file} has no words: name the column that holds them with ?words=")
    groups = np.repeat(np.arange(len(words)), counts)
    place = np.arange(len(groups)) - np.repeat(np.cumsum(counts) - counts, counts)

    def called(row: int) -> str:
        return f"{row_name(int(groups[row]))}, word {place[row] + 1}"

    def where(row: int) -> str:
        return f"{file} ({called(row)})"

    def item(row: int) -> Word:
        sentence, at = words[groups[row]], int(place[row])
        if not sentence[at].strip():
            raise BrokenItemError(f"{where(row)} is empty")
        return Word(sentence, at)

    labels, classes, found = NO_LABELS
    if tags is not None:
        each = [words_of(value) for value in tags]
        for i, (sentence, marks) in enumerate(zip(words, each, strict=True)):
            if len(sentence) != len(marks):
                raise InputError(
                    f"{file}: {row_name(i)} has {len(sentence)} words and {len(marks)} labels, "
                    "there must be one a word"
                )
        labels, classes, found = labels_of([t for m in each for t in m], kind, file, called)
    return Dataset(
        name=name,
        source=source,
        modality="word",
        rows=len(groups),
        item=item,
        where=where,
        labels=labels,
        kind=found,
        classes=classes,
        fingerprint=None,
        content=Content(len(groups), lambda row: "\0".join([*words[groups[row]], str(place[row])])),
        groups=groups,
    )
