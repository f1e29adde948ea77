"""`hf:NAME`: image and text encoders of transformers, from a folder, the cache or the hub.

Options:
    pooling: mean (over the tokens, without padding), cls (the first token) or last (the last
        token); by default cls for pictures and mean for texts.
    layer: last (the default), mean (of all layers), best (the layer whose features score best on
        the labels of a task by LogME), or the number of a layer.
    head: yes or no, whether the source head's softmax is kept; by default yes.
    tokens: the most tokens of a text, by default 512.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from types import ModuleType
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from spider_jax.errors import InputError, one_line
from spider_jax.extract.data.images import to_rgb
from spider_jax.extract.data.items import Item
from spider_jax.extract.models.encoder import Encoded, Encoder
from spider_jax.extract.models.torch_classes import Module, Tensor
from spider_jax.extract.models.torch_head import pooled
from spider_jax.extract.models.torch_module import device, encoded, exact
from spider_jax.extract.models.torch_weights import weights_hash
from spider_jax.extract.network import hub_offline_if_unreachable
from spider_jax.extract.spec import Spec
from spider_jax.metrics.methods.logme import logme
from spider_jax.runtime.optional import need

OPTIONS = ("pooling", "layer", "head", "tokens")
POOLINGS = ("mean", "cls", "last")
HEADS = ("ForImageClassification", "ForSequenceClassification")
LAST, MEAN, BEST = "last", "mean", "best"
SETTLE_BATCH = 32


@runtime_checkable
class _Inputs(Protocol):
    """What a tokenizer or an image processor gives for a batch."""

    def to(self, device: str) -> Mapping[str, Tensor]: ...


class _Model(NamedTuple):
    """A transformers model, how a batch of items becomes its inputs, and what is read of it."""

    model: Module
    inputs: Callable[[Sequence[Item]], _Inputs]
    pooling: str
    layer: str
    where: str


def read_hf(spec: Spec) -> Encoder:
    """An encoder; weights come from safetensors only, and no code of a model's repository is run.

    Args:
        spec: hf:NAME with the options above.

    Returns:
        The model.

    Raises:
        InputError: it cannot be had, or its repository needs code of its own.
    """
    spec.known(OPTIONS)
    hub_offline_if_unreachable()
    transformers = need("transformers", "transformers", f"model {spec}")
    try:
        config = transformers.AutoConfig.from_pretrained(spec.what, trust_remote_code=False)
        model = _load(transformers, spec, config)
        modality, inputs, preprocessing = _processor(transformers, spec, config)
        layer = _layer(spec, config)
    except InputError:
        raise
    except Exception as error:  # of every kind
        raise InputError(f"model {spec} cannot be loaded: {one_line(error)}") from None
    default = "mean" if modality == "text" else "cls"
    pooling = spec.choice("pooling", POOLINGS, default)
    read = _Model(model.to(device()), inputs, pooling, layer, device())
    return Encoder(
        name=spec.name or spec.what.rstrip("/").rpartition("/")[2],
        modality=modality,
        prepare=to_rgb if modality == "image" else str,
        encode=lambda batch, settled: _encode(read, batch, settled),
        facts={
            "source": f"hf:{spec.what.rstrip('/').rpartition('/')[2]}",
            "weights_sha256": weights_hash(model),
            "preprocessing": preprocessing,
            "layer": f"{layer}, pooling {pooling}",
            "params": sum(p.numel() for p in model.parameters()),
        },
        versions={p: metadata.version(p) for p in ("torch", "transformers")},
        settle=(lambda items, labels, kind: _best(read, items, labels)) if layer == BEST else None,
        batch=None if modality == "image" else 32,
    )


def _load(transformers: ModuleType, spec: Spec, config: object) -> Module:
    """The model, with its source head where the checkpoint has one."""
    made = (getattr(config, "architectures", None) or [""])[0]
    want = spec.choice("head", ("yes", "no"), "yes") == "yes"
    kind = next((head for head in HEADS if made.endswith(head)), None) if want else None
    auto = getattr(transformers, f"AutoModel{kind or ''}")
    model = auto.from_pretrained(spec.what, trust_remote_code=False, use_safetensors=True)
    return model.float().eval()


def _processor(
    transformers: ModuleType, spec: Spec, config: object
) -> tuple[str, Callable[[Sequence[Item]], _Inputs], dict[str, object]]:
    """Modality, the function from items to inputs, and what the manifest says of it."""
    if hasattr(config, "vocab_size"):
        tokenizer = transformers.AutoTokenizer.from_pretrained(spec.what, trust_remote_code=False)
        most = min(spec.number("tokens", 512), int(tokenizer.model_max_length))

        def of_texts(batch: Sequence[Item]) -> _Inputs:
            return tokenizer(
                list(batch), padding=True, truncation=True, max_length=most, return_tensors="pt"
            )

        facts = {"tokenizer": type(tokenizer).__name__, "tokens": most}
        return "text", of_texts, facts
    processor = transformers.AutoImageProcessor.from_pretrained(
        spec.what, trust_remote_code=False, backend="pil"
    )
    facts = json.loads(json.dumps(processor.to_dict(), default=str))
    return "image", lambda batch: processor(images=list(batch), return_tensors="pt"), facts


def _layer(spec: Spec, config: object) -> str:
    layer = spec.options.get("layer", LAST)
    most = getattr(config, "num_hidden_layers", 0)
    numbered = layer.isdecimal() and int(layer) <= most
    if layer not in (LAST, MEAN, BEST) and not numbered:
        raise InputError(
            f"model {spec}: layer must be last, mean, best or 0..{most}, got {layer!r}"
        )
    return layer


def _run(read: _Model, batch: Sequence[Item]) -> tuple[list[Tensor], Tensor | None]:
    """Pooled features [b, D] of every layer, the last one last, and the logits or None."""
    torch = need("torch", "torch", "a transformers model")
    seen: dict[str, Mapping[str, Any]] = {}
    base = read.model.base_model
    hook = base.register_forward_hook(lambda m, given, output: seen.update(base=output))
    try:
        with torch.inference_mode(), exact(torch, read.where):
            inputs = read.inputs(batch).to(read.where)
            output = read.model(**inputs, output_hidden_states=True, return_dict=True)
    finally:
        hook.remove()
    base_output = seen["base"]
    hidden = list(base_output.get("hidden_states") or output.get("hidden_states") or ())
    layers = [*hidden[:-1], base_output["last_hidden_state"]]
    mask = inputs.get("attention_mask")
    return [_pool(layer, mask, read.pooling) for layer in layers], output.get("logits")


def _pool(hidden: Tensor, mask: Tensor | None, pooling: str) -> Tensor:
    """Features [b, D] of the hidden states [b, tokens, D] of a layer."""
    if hidden.ndim != 3:
        return pooled(hidden)
    if mask is None:
        return {"mean": hidden.mean(1), "cls": hidden[:, 0], "last": hidden[:, -1]}[pooling]
    if pooling == "mean":
        weights = mask[..., None].to(hidden.dtype)
        return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)
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
    return encoded(features, logits if logits is not None and logits.shape[1] > 1 else None)


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
