"""How items become the inputs of a transformers model: its own processor or tokenizer."""

import inspect
import json
from collections.abc import Callable, ItemsView, Mapping, Sequence
from types import ModuleType
from typing import Any, NamedTuple, Protocol, runtime_checkable

from spider_jax.extract.data.images import to_rgb
from spider_jax.extract.data.items import Item, Word
from spider_jax.extract.models.foreign_classes import (
    Module,
    PretrainedConfig,
    PreTrainedTokenizerBase,
    Tensor,
)
from spider_jax.extract.models.hf_loading import TEXT, Loaded
from spider_jax.extract.models.hf_texts import CutTexts, Place, of_texts, of_words, text_item
from spider_jax.extract.models.sentence_files import SentenceFiles
from spider_jax.extract.spec import Spec
from spider_jax.runtime.optional import need

TOKENS = 512  # of a text, unless an option says otherwise
LAST_TOKEN_READERS = ("xlnet",)  # their head reads the last place, and positions are relative


@runtime_checkable
class Inputs(Protocol):
    """What a tokenizer or an image processor gives for a batch."""

    def items(self) -> ItemsView[str, Tensor]: ...


class Preparation(NamedTuple):
    """How items are prepared.

    Attributes:
        item: an item of the data -> what `batch` takes; runs in threads.
        batch: prepared items and a device -> the inputs of the model.
        facts: what the manifest says of it.
        words: the same as `batch` for words in their sentences, and where they stand; None where
            the tokenizer cannot tell.
        report: words for the log when a task is done, "" for none.
        unpooled: tokens before a text that are not pooled: a prompt's.
    """

    item: Callable[[Item], Item]
    batch: Callable[[Sequence[Item], str], Mapping[str, Tensor]]
    facts: dict[str, object]
    words: Callable[[Sequence[Word], str], tuple[Mapping[str, Tensor], list[Place]]] | None = None
    report: Callable[[], str] = lambda: ""
    unpooled: int = 0


def preparation(
    transformers: ModuleType,
    spec: Spec,
    loaded: Loaded,
    config: PretrainedConfig,
    sentence: SentenceFiles | None = None,
) -> Preparation:
    """The preparation that belongs to a model.

    Args:
        transformers: the module.
        spec: hf:NAME, with the option tokens.
        loaded: the model.
        config: of its checkpoint.
        sentence: what a sentence-transformers folder says.

    Returns:
        The preparation.
    """
    if loaded.modality == TEXT:
        return _of_texts(transformers, spec, loaded, config, sentence)
    processor = transformers.AutoImageProcessor.from_pretrained(
        spec.what, trust_remote_code=False, backend="pil"
    )
    takes = _arguments(loaded.runs)
    order = _kept_order(loaded.encoder)

    def of_pictures(batch: Sequence[Item], where: str) -> Mapping[str, Tensor]:
        inputs = processor(images=list(batch), return_tensors="pt").to(where)
        return order(_taken(inputs, takes, "pixel_values"))

    facts = json.loads(json.dumps(processor.to_dict(), default=str))
    return Preparation(to_rgb, of_pictures, facts)


def _of_texts(
    transformers: ModuleType,
    spec: Spec,
    loaded: Loaded,
    config: PretrainedConfig,
    sentence: SentenceFiles | None,
) -> Preparation:
    tokenizer = transformers.AutoTokenizer.from_pretrained(spec.what, trust_remote_code=False)
    usual = (0 if sentence is None else sentence.tokens) or TOKENS
    most = min(spec.number("tokens", usual), int(tokenizer.model_max_length))
    most = min(most, _places(loaded.encoder) or most)
    _pad_so_that_nothing_moves(tokenizer, loaded, config)
    takes = _arguments(loaded.runs)

    cut = CutTexts(most)

    def taken(inputs: Inputs) -> dict[str, Tensor]:
        return _taken(inputs, takes, "input_ids")

    words = None
    if tokenizer.is_fast:
        words = of_words(_for_words(transformers, spec, tokenizer), cut, taken)
    facts = {"tokenizer": type(tokenizer).__name__, "tokens": most}
    prompt, unpooled = "", 0
    if sentence is not None and sentence.prompt:
        prompt = sentence.prompt
        facts |= {"prompt": prompt}
        unpooled = 0 if sentence.include_prompt else _prompt_tokens(tokenizer, prompt)
    return Preparation(
        text_item, of_texts(tokenizer, cut, taken, prompt), facts, words, cut.report, unpooled
    )


def _prompt_tokens(tokenizer: PreTrainedTokenizerBase, prompt: str) -> int:
    """Tokens before the text: those of the prompt, without the one that ends a text."""
    ids = tokenizer(prompt)["input_ids"]
    return len(ids) - (ids[-1] in (tokenizer.sep_token_id, tokenizer.eos_token_id))


def _for_words(
    transformers: ModuleType, spec: Spec, tokenizer: PreTrainedTokenizerBase
) -> PreTrainedTokenizerBase:
    """The tokenizer for texts in words; one that reads the blank before a word is made to add it.

    GPT-2, RoBERTa and their kin do: without the blank a word is another token.
    """
    if not hasattr(tokenizer, "add_prefix_space") or tokenizer.add_prefix_space:
        return tokenizer
    found = transformers.AutoTokenizer.from_pretrained(
        spec.what, trust_remote_code=False, add_prefix_space=True
    )
    found.padding_side, found.pad_token = tokenizer.padding_side, tokenizer.pad_token
    return found


def _pad_so_that_nothing_moves(
    tokenizer: PreTrainedTokenizerBase, loaded: Loaded, config: PretrainedConfig
) -> None:
    """Pad behind the text, with any token: the mask hides it, and the text keeps its positions."""
    reads_last = getattr(config, "model_type", "") in LAST_TOKEN_READERS
    tokenizer.padding_side = "left" if reads_last else "right"
    if tokenizer.pad_token is None:
        known = (tokenizer.eos_token, tokenizer.unk_token, tokenizer.convert_ids_to_tokens(0))
        tokenizer.pad_token = next(token for token in known if token is not None)
    whole: Any = loaded.whole
    if getattr(whole.config, "pad_token_id", None) is None:  # a head finds the last token by it
        whole.config.pad_token_id = tokenizer.pad_token_id


def _places(encoder: Module) -> int:
    """The most tokens that the model has positions for; 0: not known."""
    torch = need("torch", "torch", "a transformers model")
    for name, module in encoder.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding):
            skipped = 0 if module.padding_idx is None else module.padding_idx + 1  # RoBERTa's
            return int(module.num_embeddings) - skipped
    config: PretrainedConfig = getattr(encoder, "config", None)
    return max(0, int(getattr(config, "max_position_embeddings", None) or 0))


def _arguments(model: Module) -> set[str]:
    """The names that a model's forward takes."""
    return set(inspect.signature(model.forward).parameters)


def _taken(inputs: Inputs, takes: set[str], main: str) -> dict[str, Tensor]:
    """The inputs that the model knows; some tokenizers make more."""
    return {name: value for name, value in inputs.items() if name in takes or name == main}


def _kept_order(
    encoder: Module,
) -> Callable[[dict[str, Tensor]], Mapping[str, Tensor]]:
    """A masked autoencoder shuffles the patches that it keeps: noise in order keeps theirs."""
    torch = need("torch", "torch", "a transformers model")
    config: PretrainedConfig = getattr(encoder, "config", None)
    if "noise" not in _arguments(encoder) or getattr(config, "mask_ratio", None) is None:
        return lambda inputs: inputs
    patches: Any = getattr(encoder, "embeddings", None)
    count = getattr(getattr(patches, "patch_embeddings", None), "num_patches", None)
    if not isinstance(count, int):
        return lambda inputs: inputs

    def ordered(inputs: dict[str, Tensor]) -> Mapping[str, Tensor]:
        pixels = inputs["pixel_values"]
        noise = torch.arange(count, device=pixels.device, dtype=torch.float32)
        return inputs | {"noise": noise.expand(len(pixels), count)}

    return ordered
