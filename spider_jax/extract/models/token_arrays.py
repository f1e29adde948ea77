"""Texts as arrays of tokens by a tokenizer.json, and vectors of their tokens as one feature."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from spider_jax.errors import InputError, one_line
from spider_jax.extract.data.items import Item, TextPair
from spider_jax.extract.models.hf_texts import CutTexts
from spider_jax.runtime.optional import need

FILE, CONFIG = "tokenizer.json", "tokenizer_config.json"
TOKENS = 512  # of a text, unless an option or a file says otherwise
Arrays = dict[str, Int64[np.ndarray, "b L"]]


class Tokenizer:
    """A tokenizer.json beside a model.

    Attributes:
        cut: counts texts that are longer than the model reads.
        facts: what the manifest says of it.
    """

    def __init__(self, path: Path, tokens: int, prompt: str, what: str) -> None:
        """Read the file.

        Args:
            path: of tokenizer.json.
            tokens: of a text at most; 0: as the files say, else 512.
            prompt: put before every text, or the first of a pair.
            what: "model onnx:...", for errors.

        Raises:
            InputError: it cannot be read.
        """
        tokenizers = need("tokenizers", "tokenizers", what)
        try:
            text = path.read_text(encoding="utf-8")
            self._core = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # of the package's own kind
            raise InputError(f"{path} is no readable tokenizer: {one_line(error)}") from None
        self.cut = CutTexts(tokens or _most_tokens(path.with_name(CONFIG)))
        self._prompt = prompt
        padding = dict(self._core.padding or {})
        known = {k: padding[k] for k in ("pad_id", "pad_token", "pad_type_id") if k in padding}
        self._core.enable_padding(direction="right", **known)
        self._core.enable_truncation(self.cut.most)
        self.facts: dict[str, object] = {
            "tokenizer": hashlib.sha256(text.encode()).hexdigest(),
            "tokens": self.cut.most,
        } | ({"prompt": prompt} if prompt else {})

    def __call__(self, batch: Sequence[Item]) -> Arrays:
        """Tokens of texts or of pairs of texts, padded on the right to the longest.

        Args:
            batch: b texts.

        Returns:
            input_ids, attention_mask and token_type_ids.

        Raises:
            InputError: a text without a token.
        """
        given = [self._asked(item) for item in batch]
        found = self._core.encode_batch(given)
        self.cut.add(batch, [bool(one.overflowing) for one in found])
        mask = np.array([one.attention_mask for one in found], np.int64)
        if not mask.any(1).all():
            text = batch[int(mask.any(1).argmin())]
            raise InputError(f"the text {str(text)[:40]!r} has no tokens: leave its row out")
        ids = np.array([one.ids for one in found], np.int64)
        types = np.array([one.type_ids for one in found], np.int64)
        return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}

    def _asked(self, item: Item) -> Any:
        if isinstance(item, TextPair):
            return self._prompt + item.first, item.second
        return f"{self._prompt}{item}"

    def prompt_tokens(self) -> int:
        """Tokens before the text: those of the prompt, without the one that ends a text."""
        found = self._core.encode(self._prompt)
        return int(sum(found.attention_mask)) - int(found.special_tokens_mask[-1])


def _most_tokens(path: Path) -> int:
    """What tokenizer_config.json says, at most 512: some say that there is no limit."""
    try:
        said = json.loads(path.read_text(encoding="utf-8")).get("model_max_length")
    except (OSError, ValueError, AttributeError):
        return TOKENS
    return min(TOKENS, int(said)) if isinstance(said, int | float) and said >= 1 else TOKENS


def pooled_tokens(
    hidden: Float32[np.ndarray, "b L D"], mask: Int64[np.ndarray, "b L"], pooling: str
) -> Float32[np.ndarray, "b E"]:
    """One vector of the vectors of a text's tokens.

    Args:
        hidden: of every token.
        mask: 1 for tokens of the text, 0 for padding.
        pooling: mean, max, cls or last, with "+" between several that are joined.

    Returns:
        float32 [b, D], or D for each pooling.
    """
    rows, weight = np.arange(len(hidden)), mask[..., None].astype(np.float32)
    ways = {
        "mean": lambda: (hidden * weight).sum(1) / np.maximum(weight.sum(1), 1),
        "max": lambda: np.where(weight > 0, hidden, -np.inf).max(1),
        "cls": lambda: hidden[rows, mask.argmax(1)],
        "last": lambda: hidden[rows, mask.shape[1] - 1 - mask[:, ::-1].argmax(1)],
    }
    return np.concatenate([ways[way]() for way in pooling.split("+")], 1).astype(np.float32)


def unit_rows(features: Float32[np.ndarray, "b D"]) -> Float32[np.ndarray, "b D"]:
    """Rows divided by their length.

    Args:
        features: rows; a row of zeros stays one.
    """
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(length, 1e-12), np.float32)


def product_of(
    u: Float32[np.ndarray, "b D"], v: Float32[np.ndarray, "b D"]
) -> Float32[np.ndarray, "b D4"]:
    """[u, v, |u - v|, u v] of the two texts of a pair.

    Args:
        u: of the first.
        v: of the second.
    """
    return np.concatenate([u, v, np.abs(u - v), u * v], 1)
