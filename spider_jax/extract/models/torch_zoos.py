"""`timm:NAME` and `torchvision:NAME`: models with published weights and their own preprocessing.

Options: those of `torch:`, and pretrained, yes or no. Weights come from the library's own cache or
download; with weights=FILE nothing is downloaded.
"""

import logging
import math
from collections.abc import Mapping
from typing import Any

from spider_jax.errors import InputError
from spider_jax.extract.data.images import INTERPOLATIONS, Preprocessing, preprocessing_of
from spider_jax.extract.data.images import OPTIONS as PICTURE_OPTIONS
from spider_jax.extract.models.encoder import Encoder
from spider_jax.extract.models.foreign_classes import Module
from spider_jax.extract.models.torch_module import OPTIONS, made, picture_encoder
from spider_jax.extract.network import hub_offline_if_unreachable
from spider_jax.extract.spec import Spec
from spider_jax.runtime.optional import need

log = logging.getLogger("spider_jax")

CROP_PCT = 0.875  # timm's, where a model names none


def read_timm(spec: Spec) -> Encoder:
    """A timm model; its configuration says how pictures are resized and normalised.

    Args:
        spec: timm:NAME with the options above.

    Returns:
        The model.

    Raises:
        InputError: an unknown name, or weights that cannot be had.
    """
    pretrained = _pretrained(spec)
    hub_offline_if_unreachable()
    timm = need("timm", "timm", f"model {spec}")
    model = made(lambda: timm.create_model(spec.what, pretrained=pretrained), spec)
    default = timm_preprocessing(spec, timm.data.resolve_model_data_config(model))
    return _encoder(spec, model, default, "timm")


def timm_preprocessing(spec: Spec, config: Mapping[str, Any]) -> Preprocessing:
    """What timm's `create_transform` does in evaluation, in its own numbers.

    The side before the crop is floor(size / crop_pct). "center" scales the shorter side to it,
    "squash" stretches both.

    Args:
        spec: timm:NAME.
        config: of `timm.data.resolve_model_data_config`.

    Returns:
        The preprocessing.

    Raises:
        InputError: pictures that are no squares of three channels, or another way to crop.
    """
    channels, height, width = config["input_size"]
    mode, share = config.get("crop_mode") or "center", config.get("crop_pct") or CROP_PCT
    if channels != 3 or height != width:
        raise InputError(
            f"model {spec} takes {channels} x {height} x {width}, only 3 x H x H is made"
        )
    if mode not in ("center", "squash"):
        raise InputError(f"model {spec}: timm's crop_mode must be center or squash, got {mode!r}")
    before = math.floor(height / share)
    stretched = mode == "squash"
    return Preprocessing(
        size=height,
        resize=0 if stretched and before == height else before,
        interpolation=_interpolation(spec, config["interpolation"]),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        stretch=stretched and before != height,
    )


def read_torchvision(spec: Spec) -> Encoder:
    """A torchvision classifier with its default weights and their transforms.

    Args:
        spec: torchvision:NAME with the options above.

    Returns:
        The model.

    Raises:
        InputError: an unknown name, or weights that cannot be had.
    """
    pretrained = _pretrained(spec)
    models = need("torchvision.models", "torchvision", f"model {spec}")
    if spec.what not in models.list_models():
        raise InputError(f"model {spec}: torchvision has no {spec.what!r}")
    weights = models.get_model_weights(spec.what).DEFAULT
    chosen = weights if pretrained else None
    model = made(lambda: models.get_model(spec.what, weights=chosen), spec)
    transforms = weights.transforms()
    default = Preprocessing(
        size=int(transforms.crop_size[0]),
        resize=int(transforms.resize_size[0]),
        interpolation=_interpolation(spec, transforms.interpolation.value),
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
    )
    return _encoder(spec, model, default, "torchvision")


def _pretrained(spec: Spec) -> bool:
    """Whether the library's own weights are wanted: unless weights are given."""
    spec.known((*OPTIONS, *PICTURE_OPTIONS, "pretrained"))
    given = "weights" in spec.options
    pretrained = spec.choice("pretrained", ("yes", "no"), "no" if given else "yes") == "yes"
    if not pretrained and not given:
        log.warning("model %s: its weights are drawn at random, nothing is trained", spec)
    return pretrained


def _interpolation(spec: Spec, name: str) -> str:
    """The name in Pillow's words; timm's "random" is for training, and bilinear in evaluation."""
    found = "bilinear" if name == "random" else name
    if found not in INTERPOLATIONS:
        raise InputError(
            f"model {spec}: interpolation must be one of {', '.join(INTERPOLATIONS)}, got {name!r}"
        )
    return found


def _encoder(spec: Spec, model: Module, default: Preprocessing, package: str) -> Encoder:
    preprocessing = preprocessing_of(spec, default)
    return picture_encoder(spec, spec.name or spec.what, model, preprocessing, (package,))
