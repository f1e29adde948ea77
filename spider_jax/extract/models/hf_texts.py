"""How texts, pairs of texts, and words in their sentences become inputs of a transformers model."""

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import Any

from spider_jax.errors import InputError
from spider_jax.extract.data.items import Item, TextPair, Word
from spider_jax.extract.models.foreign_classes import PreTrainedTokenizerBase, Tensor

Inputs = Mapping[str, Tensor]
TOKENS_OF_WORDS = 2  # times that a batch of words is tokenised: whole, and from where it was cut


class CutTexts:
    """Texts that are longer than a model reads, each counted once.

    Attributes:
        most: tokens that the model reads of a text.
    """

    def __init__(self, most: int) -> None:
        """Begin at none.

        Args:
            most: tokens that the model reads of a text.
        """
        self.most = most
        self._seen: set[int] = set()
        self._lock = Lock()

    def add(self, items: Sequence[Item], cut: Sequence[bool]) -> None:
        """Count those that were cut.

        Args:
            items: of a batch.
            cut: whether each was.
        """
        with self._lock:
            self._seen |= {
                hash(item) for item, too_long in zip(items, cut, strict=True) if too_long
            }

    def report(self) -> str:
        """How many there were since the last report; "" for none."""
        with self._lock:
            count = len(self._seen)
            self._seen.clear()
        said = f"{count} texts are longer than the {self.most} tokens that it reads, and are cut"
        return said if count else ""


def text_item(item: Item) -> Item:
    """A text, a pair or a word with something in it: an empty one is a missing one.

    Args:
        item: of the data.

    Returns:
        The same.

    Raises:
        InputError: no text, or an empty one.
    """
    parts: tuple[object, ...] = (item,)
    if isinstance(item, Word):
        parts = (item.sentence[item.place],)
    elif isinstance(item, TextPair):
        parts = item
    if not all(isinstance(part, str) and part.strip() for part in parts):
        raise InputError("has an empty text, which has no features: leave the row out")
    return item


def of_texts(
    tokenizer: PreTrainedTokenizerBase,
    cut: CutTexts,
    taken: Callable[[Any], Inputs],
    prompt: str = "",
) -> Callable[[Sequence[Item], str], Inputs]:
    """Inputs of whole texts, or of pairs with the model's own separator between them.

    Args:
        tokenizer: of the model.
        cut: counts texts that are too long.
        taken: keeps what the model knows of the inputs.
        prompt: put before every text, or the first of a pair.

    Returns:
        Items and a device -> inputs.
    """

    def inputs_of(batch: Sequence[Item], where: str) -> Inputs:
        pairs = [item for item in batch if isinstance(item, TextPair)]
        texts = [list(side) for side in zip(*pairs, strict=True)] if pairs else [list(batch)]
        texts[0] = [f"{prompt}{text}" for text in texts[0]] if prompt else texts[0]
        inputs = tokenizer(*texts, **_options(cut.most))
        if inputs.encodings:  # of a fast tokenizer
            cut.add(batch, [bool(one.overflowing) for one in inputs.encodings])
        lengths = inputs["attention_mask"].sum(1).tolist()
        if not all(lengths):
            text = batch[lengths.index(0)]
            raise InputError(f"the text {str(text)[:40]!r} has no tokens: leave its row out")
        return taken(inputs.to(where))

    return inputs_of


# The row of a word's sentence among the inputs, and the tokens of the word there.
Place = tuple[int, list[int]]


def of_words(
    tokenizer: PreTrainedTokenizerBase, cut: CutTexts, taken: Callable[[Any], Inputs]
) -> Callable[[Sequence[Word], str], tuple[Inputs, list[Place]]]:
    """Inputs of sentences, each once, and where the words of a batch stand in them.

    A word beyond the tokens that the model reads begins a sentence of its own, the rest behind it.

    Args:
        tokenizer: of the model, a fast one.
        cut: counts words that are too far behind.
        taken: keeps what the model knows of the inputs.

    Returns:
        Words and a device -> inputs, and one place a word.
    """

    def inputs_of(batch: Sequence[Word], where: str) -> tuple[Inputs, list[Place]]:
        starts = [0] * len(batch)
        for _ in range(TOKENS_OF_WORDS):
            parts = [(w.sentence, start) for w, start in zip(batch, starts, strict=True)]
            rows = {part: row for row, part in enumerate(dict.fromkeys(parts))}
            texts = [list(sentence[start:]) for sentence, start in rows]
            inputs = tokenizer(texts, is_split_into_words=True, **_options(cut.most))
            ids = [inputs.word_ids(row) for row in range(len(rows))]
            places = []
            for word, part in zip(batch, parts, strict=True):
                at = word.place - part[1]
                tokens = [i for i, found in enumerate(ids[rows[part]]) if found == at]
                places.append((rows[part], tokens))
            lost = [not tokens for _, tokens in places]
            if not any(lost):
                return taken(inputs.to(where)), places
            cut.add(batch, lost)
            starts = [
                w.place if gone else start
                for w, gone, start in zip(batch, lost, starts, strict=True)
            ]
        word = batch[lost.index(True)]
        raise InputError(f"the word {word.sentence[word.place]!r} has no tokens: leave its row out")

    return inputs_of


def _options(most: int) -> dict[str, object]:
    return {
        "padding": True,
        "truncation": True,
        "max_length": most,
        "return_attention_mask": True,
        "return_tensors": "pt",
    }
