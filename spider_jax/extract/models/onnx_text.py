"""Text encoders as ONNX graphs, with the tokenizer.json that lies beside them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from spider_jax.errors import InputError
from spider_jax.extract.data.items import Item, TextPair
from spider_jax.extract.models.encoder import Encoded
from spider_jax.extract.models.hf_texts import text_item
from spider_jax.extract.models.sentence_files import MODULES, SentenceFiles, sentence_files
from spider_jax.extract.models.token_arrays import (
    FILE,
    Arrays,
    Tokenizer,
    pooled_tokens,
    product_of,
    unit_rows,
)
from spider_jax.extract.spec import Spec

OPTIONS = ("pooling", "tokens", "pairs", "prompt")
POOLINGS, PAIRS = ("mean", "max", "cls", "last"), ("joined", "product")
INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
# Outputs of usual exports, the one that is read first; another is named behind "#".
USUAL = ("sentence_embedding", "last_hidden_state", "token_embeddings")
TYPES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}


class TextGraph(NamedTuple):
    """What a text encoder adds to an `Encoder`.

    Attributes:
        prepare: an item -> what `encode` takes.
        encode: a batch of texts or pairs -> features.
        preprocessing: facts of the tokenizer.
        pooling: how tokens become a feature, for the manifest.
        report: how many texts were cut.
    """

    prepare: Callable[[Item], Item]
    encode: Callable[[Sequence[Item], int | None], Encoded]
    preprocessing: Mapping[str, object]
    pooling: str
    report: Callable[[], str]


def takes_texts(inputs: Sequence[Any]) -> bool:
    """Whether inputs of a graph are tokens.

    Args:
        inputs: of an `InferenceSession`.
    """
    return any(one.name == INPUTS[0] for one in inputs)


def text_graph(spec: Spec, session: Any, path: Path, tensor: str) -> TextGraph:
    """A graph whose inputs are tokens.

    Args:
        spec: onnx:FILE#tensor with the options pooling, tokens, pairs and prompt.
        session: that runs it.
        path: of the file; tokenizer.json lies beside it, or in the folder above.
        tensor: name of the output that is read.

    Returns:
        How it encodes texts.

    Raises:
        InputError: no tokenizer.json, or an input that is none of a text encoder's.
    """
    inputs = session.get_inputs()
    strange = [i.name for i in inputs if i.name not in INPUTS or i.type not in TYPES]
    if strange:
        raise InputError(
            f"model {spec} takes {', '.join(i.name for i in inputs)}: a text encoder takes only "
            f"{', '.join(INPUTS)}: export it without {strange[0]}"
        )
    folder = next((f for f in (path.parent, path.parent.parent) if (f / FILE).is_file()), None)
    if folder is None:
        raise InputError(f"model {spec} takes tokens: put its {FILE} beside {path.name}")
    said = _sentence(spec, path)
    tokens = spec.number("tokens", said.tokens) if "tokens" in spec.options else said.tokens
    tokenizer = Tokenizer(folder / FILE, tokens, said.prompt, f"model {spec}")
    pooling = said.pooling
    unpooled = 0 if said.include_prompt or not said.prompt else tokenizer.prompt_tokens()
    types = {one.name: TYPES[one.type] for one in inputs}

    def encode(batch: Sequence[Item]) -> Float32[np.ndarray, "b D"]:
        given = tokenizer(batch)
        hidden = np.asarray(session.run([tensor], _feeds(given, types))[0], np.float32)
        if hidden.ndim == 3:
            mask = given["attention_mask"].copy()
            mask[:, :unpooled] = 0
            hidden = pooled_tokens(hidden, mask, pooling)
        return unit_rows(hidden) if said.normalize else hidden

    product = spec.choice("pairs", PAIRS, PAIRS[0]) == "product"
    how = f"pooling {pooling}" + ", divided by their length" * said.normalize
    return TextGraph(
        prepare=text_item,
        encode=lambda batch, _: Encoded(encoded_pairs(encode, batch, product), None),
        preprocessing=tokenizer.facts,
        pooling=how + ", product of pairs" * product,
        report=tokenizer.cut.report,
    )


def encoded_pairs(
    encode: Callable[[Sequence[Item]], Float32[np.ndarray, "b D"]],
    batch: Sequence[Item],
    product: bool,
) -> Float32[np.ndarray, "b E"]:
    """Features of texts, or of pairs: of the joined texts, or the product of both alone.

    Args:
        encode: texts or pairs -> features.
        batch: of one kind.
        product: whether the texts of a pair are encoded alone.
    """
    pairs = [item for item in batch if isinstance(item, TextPair)]
    if not (product and pairs):
        return encode(batch)
    first, second = (encode(list(side)) for side in zip(*pairs, strict=True))
    return product_of(first, second)


def _sentence(spec: Spec, path: Path) -> SentenceFiles:
    """What sentence-transformers files beside the graph, or in the folder above, say."""
    root = next((f for f in (path.parent, path.parent.parent) if (f / MODULES).is_file()), None)
    pooling = spec.choice("pooling", POOLINGS, "") if "pooling" in spec.options else None
    found = sentence_files(root or path.parent, spec.options.get("prompt"), pooling)
    return found or SentenceFiles(str(path.parent), pooling or "mean", normalize=False)


def _feeds(given: Arrays, types: Mapping[str, Any]) -> Arrays:
    """The inputs that the graph takes; places count the tokens before, without padding."""
    mask = given["attention_mask"]
    every = given | {"position_ids": np.maximum(mask.cumsum(1) - 1, 0)}
    return {name: every[name].astype(kind) for name, kind in types.items()}
