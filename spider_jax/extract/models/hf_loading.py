"""Weights of transformers: the class that the checkpoint names, whole or not at all."""

import re
from collections.abc import Collection, Iterable
from types import ModuleType
from typing import Any, NamedTuple

from spider_jax.errors import InputError
from spider_jax.extract.models.foreign_classes import Module, PretrainedConfig
from spider_jax.extract.models.torch_weights import COMPILED
from spider_jax.extract.spec import Spec

IMAGE, TEXT = "image", "text"
INPUTS = {"pixel_values": IMAGE, "input_ids": TEXT}
HEADS = ("ForImageClassification", "ForSequenceClassification")
VISION = ("vision_model", "vision_tower", "visual", "vision_encoder", "image_tower")
# Heads of another pretraining than the one that the configuration names (BERT's and its kin's).
OTHER_HEADS = re.compile(r"(^|\.)(cls|\w*head|pooler|qa_outputs|classifier|score|\w*predictions)\.")
COUNTERS = re.compile(r"(num_batches_tracked|position_ids|inv_freq)$")  # made anew, not trained
WRAPPED = {rf"^(module\.)?{re.escape(COMPILED)}": "", r"^module\.": ""}
SHOWN = 3  # names of tensors in an error


class Loaded(NamedTuple):
    """A model of transformers and its parts.

    Attributes:
        whole: what the checkpoint holds.
        encoder: the part that turns an item into tokens: a tower, an encoder, or the whole body.
        runs: what is run: the whole where its logits are kept, else the encoder.
        modality: "image" or "text".
        pooler: whether the encoder's own pooling has the weights of the checkpoint.
    """

    whole: Module
    encoder: Module
    runs: Module
    modality: str
    pooler: bool


def load(transformers: ModuleType, spec: Spec, config: PretrainedConfig, head: bool) -> Loaded:
    """Load a checkpoint from safetensors in float32.

    Args:
        transformers: the module.
        spec: hf:NAME.
        config: of the checkpoint.
        head: whether to keep a source head.

    Returns:
        The model.

    Raises:
        InputError: tensors that are missing or that the model does not know, or a model of
            something else than pictures and texts.
    """
    named = (getattr(config, "architectures", None) or [""])[0]
    auto: Any = getattr(transformers, named, None) if named else None
    if not (isinstance(auto, type) and issubclass(auto, transformers.PreTrainedModel)):
        auto = transformers.AutoModel
    if getattr(config, "mask_ratio", None):  # a masked autoencoder hides patches in evaluation too
        config.mask_ratio = 0.0
    given = {"trust_remote_code": False, "use_safetensors": True, "output_loading_info": True}
    if auto is not transformers.AutoModel:
        del given["trust_remote_code"]
    model, info = auto.from_pretrained(spec.what, config=config, **given)
    if any(name.startswith((COMPILED, "module.")) for name in info["unexpected_keys"]):
        model, info = auto.from_pretrained(spec.what, config=config, key_mapping=WRAPPED, **given)
    modality = _modality(transformers, spec, model, config)
    encoder = _encoder(model, config, modality)
    classifier = head and any(kind in named for kind in HEADS)
    runs = model if classifier else encoder
    missing = _inside(runs, model, filter(_is_trained, info["missing_keys"]))
    pooler = [name for name in missing if re.search(r"(^|\.)pooler\.", name)]
    if not classifier:  # then the pooler is read for nothing but itself
        missing = [name for name in missing if name not in pooler]
    unknown = filter(_is_trained, info["unexpected_keys"])
    other = [name for name in unknown if not OTHER_HEADS.search(name)]
    for names, what in ((missing, "lacks"), (other, "has tensors that are none of the model's:")):
        if names:
            raise InputError(f"model {spec}: its checkpoint {what} {_shown(names)}")
    return Loaded(model.float().eval(), encoder, runs, modality, not pooler)


def _shown(names: Collection[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(sorted(names)[:SHOWN]) + more


def _is_trained(name: str) -> bool:
    return not COUNTERS.search(name)


def _inside(part: Module, whole: Module, names: Iterable[str]) -> list[str]:
    """Those of the names of tensors of the whole that are inside a part."""
    place = next(name for name, module in whole.named_modules() if module is part)
    return [name for name in names if not place or name.startswith(f"{place}.")]


def _modality(transformers: ModuleType, spec: Spec, model: Module, config: PretrainedConfig) -> str:
    """What the encoder takes; of two towers pictures, where the folder prepares them."""
    if hasattr(config, "vision_config") and hasattr(config, "text_config"):
        try:
            transformers.AutoImageProcessor.from_pretrained(spec.what, trust_remote_code=False)
        except (OSError, ValueError):
            return TEXT
        return IMAGE
    if model.main_input_name not in INPUTS:
        raise InputError(
            f"model {spec} takes {model.main_input_name}: only pictures and texts are encoded"
        )
    return INPUTS[model.main_input_name]


def _encoder(model: Module, config: PretrainedConfig, modality: str) -> Module:
    """The part that turns an item into tokens."""
    base = model.base_model
    towers = VISION if modality == IMAGE else ("text_model",)
    if hasattr(config, "vision_config") or hasattr(config, "text_config"):
        for tower in towers:
            if hasattr(base, tower):
                return getattr(base, tower)
    if getattr(config, "is_encoder_decoder", False):
        return model.get_encoder()
    name = type(model).__name__
    bare = name.endswith("Model") and not name.endswith(("HeadModel", "HeadsModel"))
    return model if bare else base  # some bare models call a part of themselves the base
