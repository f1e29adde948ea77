"""`hf:NAME`: image and text encoders of transformers, from a folder, the cache or the hub.

Options:
    pooling: own (what the source head reads, else the model's own pooled output), mean (over the
        tokens, without padding), cls (the first token) or last (the last token); by default own
        for pictures and mean for texts.
    layer: last (the default), mean (of all layers), best (the layer whose features score best on
        the labels of a task by LogME), or the number of a layer.
    head: yes or no, whether the source head's softmax is kept; by default yes.
    tokens: the most tokens of a text, by default 512.
    pairs: what a pair of texts becomes: joined (the default: one text with the model's own
        separator between them), or product, [u, v, |u - v|, u v] of both encoded alone.
    word: what a word of a sentence becomes: first (the default: its first token) or mean.
    prompt: name of a prompt of a sentence-transformers folder; default: the one that it names.

A sentence-transformers folder (modules.json) is read as its files say: pooling, the length of a
text, prompts, and whether features are divided by their length. An option goes before its file.

Of a model with two towers the vision tower runs, of an encoder-decoder the encoder.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spider_jax.errors import InputError, one_line
from spider_jax.extract.data.items import Item, TextPair, Word
from spider_jax.extract.models.encoder import Encoded, Encoder
from spider_jax.extract.models.foreign_classes import Module, Tensor
from spider_jax.extract.models.hf_inputs import preparation
from spider_jax.extract.models.hf_loading import IMAGE, Loaded, load
from spider_jax.extract.models.hf_texts import Place
from spider_jax.extract.models.sentence_files import sentence_files
from spider_jax.extract.models.torch_head import Reading, find_reading, run
from spider_jax.extract.models.torch_maps import pooled
from spider_jax.extract.models.torch_module import device, encoded, exact
from spider_jax.extract.models.torch_weights import weights_hash
from spider_jax.extract.network import hub_offline_if_unreachable
from spider_jax.extract.spec import Spec
from spider_jax.metrics.methods.logme import logme
from spider_jax.runtime.optional import need

OPTIONS = ("pooling", "layer", "head", "tokens", "pairs", "word", "prompt")
PAIRS, WORDS = ("joined", "product"), ("first", "mean")
OWN = "own"
POOLINGS = ("mean", "cls", "last", OWN)
LAST, MEAN, BEST = "last", "mean", "best"
CLASS_TOKENS = ("cls_token", "class_embedding", "class_token")
SETTLE_BATCH = 32
PROBE = 2  # pictures of noise on which it is found what the head reads


class _Model(NamedTuple):
    """A transformers model, how a batch of items becomes its inputs, and what is read of it.

    Attributes:
        runs: what is run.
        encoder: the part of it whose tokens are read.
        inputs: items and a device -> inputs of the model.
        pooling: own, mean, cls or last.
        layer: last, mean, best or a number.
        where: the device.
        head: how the source head is read, where its input is the feature.
        logits: whether the head's softmax is kept.
        words: words and a device -> inputs of their sentences, and where they stand.
        product: whether the texts of a pair are encoded alone.
        mean: whether a word is the mean of its tokens, not the first one.
        normalize: whether features of texts are divided by their length.
        unpooled: tokens of the prompt that are not pooled.
    """

    runs: Module
    encoder: Module
    inputs: Callable[[Sequence[Item], str], Mapping[str, Tensor]]
    pooling: str
    layer: str
    where: str
    head: Reading | None = None
    logits: bool = True
    words: Callable[[Sequence[Word], str], tuple[Mapping[str, Tensor], list[Place]]] | None = None
    product: bool = False
    mean: bool = False
    normalize: bool = False
    unpooled: int = 0


def read_hf(spec: Spec) -> Encoder:
    """An encoder; weights come from safetensors only, and no code of a model's repository is run.

    Args:
        spec: hf:NAME with the options above.

    Returns:
        The model.

    Raises:
        InputError: it cannot be had, its weights are not whole, or its repository needs code of its
            own.
    """
    spec.known(OPTIONS)
    pooling = spec.choice("pooling", POOLINGS, "") if "pooling" in spec.options else None
    keep = spec.choice("head", ("yes", "no"), "yes") == "yes"
    sentence = sentence_files(spec.what, spec.options.get("prompt"), pooling)
    named, spec = spec, spec if sentence is None else replace(spec, what=sentence.transformer)
    hub_offline_if_unreachable()
    transformers = need("transformers", "transformers", f"model {spec}")
    try:
        config = transformers.AutoConfig.from_pretrained(spec.what, trust_remote_code=False)
        loaded = load(transformers, spec, config, keep)
        prepared = preparation(transformers, spec, loaded, config, sentence)
        layer = _layer(spec, loaded.encoder)
        digest = weights_hash(loaded.runs)
        runs = loaded.runs.to(device())
        multiple = getattr(config, "problem_type", None) == "multi_label_classification"
        read = _Model(
            runs,
            loaded.encoder,
            prepared.batch,
            pooling or (MEAN if sentence is None else sentence.pooling),
            layer,
            device(),
            None,
            not multiple,
            prepared.words,
            spec.choice("pairs", PAIRS, PAIRS[0]) == "product",
            spec.choice("word", WORDS, WORDS[0]) == "mean",
            sentence is not None and sentence.normalize,
            prepared.unpooled,
        )
        if pooling == OWN and layer != LAST:
            raise InputError(f"model {spec}: pooling=own reads the last layer, got layer={layer}")
        if pooling == OWN and not loaded.pooler:
            raise InputError(
                f"model {spec}: its checkpoint lacks the pooler, which pooling=own reads"
            )
        if loaded.modality == IMAGE:
            read = _settle_pooling(spec, read, loaded, pooling)
    except InputError:
        raise
    except Exception as error:  # of every kind
        raise InputError(f"model {spec} cannot be loaded: {one_line(error)}") from None
    return Encoder(
        name=spec.name or named.what.rstrip("/").rpartition("/")[2],
        modality=loaded.modality,
        prepare=prepared.item,
        encode=lambda batch, settled: _encode(read, batch, settled),
        facts={
            "source": f"hf:{_source(named.what)}",
            "weights_sha256": digest,
            "preprocessing": prepared.facts,
            "layer": f"{layer}, {_said(read)}",
            "params": sum(p.numel() for p in runs.parameters()),
        },
        versions={p: metadata.version(p) for p in ("torch", "transformers")},
        settle=(lambda items, labels, kind: _best(read, items, labels)) if layer == BEST else None,
        batch=None if loaded.modality == IMAGE else 32,
        also=() if loaded.modality == IMAGE else ("pair", "word")[: 1 + bool(read.words)],
        report=prepared.report,
        memory=sum(p.numel() * p.element_size() for p in runs.parameters()),
    )


def _source(what: str) -> str:
    """OWNER/NAME as it was named, but of a longer path its last part: no path of a machine."""
    if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", what):
        return what
    return what.rstrip("/").rpartition("/")[2]


def _said(read: _Model) -> str:
    """How a layer becomes a feature, for the manifest."""
    said = str(read.head) if read.head is not None else f"pooling {read.pooling}"
    said += ", divided by their length" * read.normalize
    return said + ", product of pairs" * read.product + ", mean of words" * read.mean


def _layer(spec: Spec, encoder: Module) -> str:
    layer = spec.options.get("layer", LAST)
    most = getattr(encoder.config, "num_hidden_layers", 0)
    numbered = layer.isdecimal() and int(layer) <= most
    if layer not in (LAST, MEAN, BEST) and not numbered:
        raise InputError(
            f"model {spec}: layer must be last, mean, best or 0..{most}, got {layer!r}"
        )
    return layer


# ---- what is read of a picture ---------------------------------------------------------------


def _settle_pooling(spec: Spec, read: _Model, loaded: Loaded, asked: str | None) -> _Model:
    """The pooling of a vision model, found on pictures of noise.

    Raises:
        InputError: the class token of a model without one is asked for.
    """
    torch = need("torch", "torch", "a transformers model")
    noise = np.random.default_rng(0).integers(0, 256, (PROBE, 64, 64, 3), np.uint8)
    inputs = read.inputs(list(noise), read.where)
    with torch.inference_mode():
        output, base = _forward(read, inputs)
        tokens = base["last_hidden_state"]
        class_token = tokens.ndim == 3 and any(
            name.endswith(CLASS_TOKENS) for name, _ in read.encoder.named_parameters()
        )
        if asked == "cls" and not class_token:
            raise InputError(f"model {spec} has no class token: pooling must be own or mean")
        if asked not in (None, OWN):
            return read._replace(pooling=asked)
        simple = "cls" if class_token else MEAN
        if read.layer != LAST:
            return read._replace(pooling=simple)
        head = _head_reading(read, inputs) if output.get("logits") is not None else None
        if head is not None:
            seen = run(read.runs, inputs, head).features
            first = tokens[:, 0] if class_token else seen[:, :0]
            same = seen.shape == first.shape and torch.allclose(seen, first, rtol=1e-5, atol=1e-6)
            return read._replace(pooling="cls") if same else read._replace(pooling=OWN, head=head)
        # A dense pooler (ViT's) belongs to its pretraining; classifiers read the token below it.
        dense = hasattr(getattr(read.encoder, "pooler", None), "dense")
        own = base.get("pooler_output") is not None and loaded.pooler and not dense
        return read._replace(pooling=OWN if own else simple)


def _head_reading(read: _Model, inputs: Mapping[str, Tensor]) -> Reading | None:
    """How the source head is read; None where its output is not the model's logits by value."""
    try:
        found = find_reading(read.runs, inputs, None, None)
    except InputError:
        return None
    return found if found.heads else None


# ---- features --------------------------------------------------------------------------------


def _forward(
    read: _Model, inputs: Mapping[str, Tensor]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Outputs of the model and of its encoder."""
    seen: dict[str, Mapping[str, Any]] = {}
    hook = read.encoder.register_forward_hook(lambda m, given, output: seen.update(base=output))
    more = {} if read.layer == LAST else {"output_hidden_states": True}
    try:
        output = read.runs(**inputs, **more, return_dict=True)
    finally:
        hook.remove()
    return output, seen["base"]


def _run(read: _Model, batch: Sequence[Item]) -> tuple[list[Tensor], Tensor | None]:
    """Pooled features [b, D] of the layers, the last one last, and the logits or None."""
    torch = need("torch", "torch", "a transformers model")
    pairs = [item for item in batch if isinstance(item, TextPair)]
    if read.product and pairs:
        each = (_run(read, side)[0] for side in zip(*pairs, strict=True))
        return [_product(torch, u, v) for u, v in zip(*each, strict=True)], None
    words = [item for item in batch if isinstance(item, Word)]
    with torch.inference_mode(), exact(torch, read.where):
        if words:
            return _run_words(torch, read, words), None
        inputs = read.inputs(batch, read.where)
        if read.head is not None:
            found = run(read.runs, inputs, read.head)
            return [found.features], found.logits
        output, base = _forward(read, inputs)
        if read.pooling == OWN:
            return [pooled(_own(base))], output.get("logits")
        mask = inputs.get("attention_mask")
        if read.unpooled and mask is not None:
            mask = mask.clone()
            mask[:, : read.unpooled] = 0
        layers = _layers(read, output, base)
        return [_pooled(torch, layer, mask, read) for layer in layers], output.get("logits")


def _pooled(torch: ModuleType, layer: Tensor, mask: Tensor | None, read: _Model) -> Tensor:
    """Features of a layer: poolings side by side, divided by their length where that is said."""
    found: Tensor = torch.cat([_pool(layer, mask, way) for way in read.pooling.split("+")], 1)
    return torch.nn.functional.normalize(found, dim=1) if read.normalize else found


def _layers(read: _Model, output: Mapping[str, Any], base: Mapping[str, Any]) -> list[Tensor]:
    """Hidden states of the layers that are read, the last one last."""
    hidden: Sequence[Tensor] = ()
    if read.layer != LAST:
        places = (base, "hidden_states"), (output, "hidden_states")
        everywhere = (*places, (output, "encoder_hidden_states"))
        hidden = next((part[key] for part, key in everywhere if part.get(key)), ())
    return [*hidden[:-1], base["last_hidden_state"]]


def _run_words(torch: ModuleType, read: _Model, batch: Sequence[Word]) -> list[Tensor]:
    """Features [b, D] of words by layer: of their first token, or the mean of all."""
    if read.words is None or read.pooling == OWN:
        raise InputError("words of sentences need a fast tokenizer, and pooling other than own")
    inputs, places = read.words(batch, read.where)
    layers = _layers(read, *_forward(read, inputs))
    tokens = [(row, found if read.mean else found[:1]) for row, found in places]
    return [torch.stack([layer[row, at].mean(0) for row, at in tokens]) for layer in layers]


def _product(torch: ModuleType, u: Tensor, v: Tensor) -> Tensor:
    found: Tensor = torch.cat([u, v, (u - v).abs(), u * v], 1)
    return found


def _own(base: Mapping[str, Any]) -> Tensor:
    found: Tensor | None = base.get("pooler_output")
    if found is None:
        raise InputError("the model has no pooled output: pooling must be mean, cls or last")
    return found


def _pool(hidden: Tensor, mask: Tensor | None, pooling: str) -> Tensor:
    """Features [b, D] of the hidden states [b, tokens, D] of a layer."""
    if hidden.ndim != 3:
        return pooled(hidden)
    if mask is None:
        if pooling == "max":
            return hidden.max(1).values
        return {"mean": hidden.mean(1), "cls": hidden[:, 0], "last": hidden[:, -1]}[pooling]
    if pooling == "mean":
        weights = mask[..., None].to(hidden.dtype)
        return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)
    if pooling == "max":
        return hidden.masked_fill(mask[..., None] == 0, -float("inf")).max(1).values
    first, last = mask.argmax(1), mask.shape[1] - 1 - mask.flip(1).argmax(1)
    return hidden[range(len(hidden)), first if pooling == "cls" else last]


def _encode(read: _Model, batch: Sequence[Item], settled: int | None) -> Encoded:
    layers, logits = _run(read, batch)
    if read.layer == MEAN:
        features = sum(layers) / len(layers)
    elif read.layer == LAST:
        features = layers[-1]
    else:
        features = layers[int(read.layer) if settled is None else settled]
    kept = read.logits and logits is not None and logits.shape[1] > 1
    return encoded(features, logits if kept else None)


def _best(read: _Model, items: Sequence[Item], labels: NDArray[np.generic] | None) -> int:
    """The layer whose features score best on the labels, by LogME on all of these items.

    Raises:
        InputError: no labels, or layers of different widths.
    """
    if labels is None:
        raise InputError("layer=best needs labels: name a layer, last or mean")
    starts = range(0, len(items), SETTLE_BATCH)
    runs = [_run(read, items[start : start + SETTLE_BATCH])[0] for start in starts]
    layers = [
        np.concatenate([x.float().cpu().numpy() for x in parts])
        for parts in zip(*runs, strict=True)
    ]
    if len({layer.shape[1] for layer in layers}) > 1:
        raise InputError("layer=best needs layers of one width: name a layer, last or mean")
    return int(np.argmax([logme(layer, labels) for layer in layers]))
