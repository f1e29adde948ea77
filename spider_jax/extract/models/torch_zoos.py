"""`timm:NAME` and `torchvision:NAME`: models with published weights and their own preprocessing.

Options: those of `torch:`, and pretrained, yes or no. Weights come from the library's own cache or
download; with weights=FILE nothing is downloaded.
"""

from spider_jax.errors import InputError
from spider_jax.extract.data.images import INTERPOLATIONS, Preprocessing, preprocessing_of
from spider_jax.extract.data.images import OPTIONS as PICTURE_OPTIONS
from spider_jax.extract.models.encoder import Encoder
from spider_jax.extract.models.torch_classes import Module
from spider_jax.extract.models.torch_module import OPTIONS, made, picture_encoder
from spider_jax.extract.network import hub_offline_if_unreachable
from spider_jax.extract.spec import Spec
from spider_jax.runtime.optional import need


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
    config = timm.data.resolve_model_data_config(model)
    size = int(config["input_size"][-1])
    default = Preprocessing(
        size=size,
        resize=round(size / config["crop_pct"]),
        interpolation=_interpolation(config["interpolation"]),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )
    return _encoder(spec, model, default, "timm")


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
        interpolation=_interpolation(transforms.interpolation.value),
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
    )
    return _encoder(spec, model, default, "torchvision")


def _pretrained(spec: Spec) -> bool:
    """Whether the library's own weights are wanted: unless weights are given."""
    spec.known((*OPTIONS, *PICTURE_OPTIONS, "pretrained"))
    given = "weights" in spec.options
    return spec.choice("pretrained", ("yes", "no"), "no" if given else "yes") == "yes"


def _interpolation(name: str) -> str:
    return name if name in INTERPOLATIONS else "bilinear"


def _encoder(spec: Spec, model: Module, default: Preprocessing, package: str) -> Encoder:
    preprocessing = preprocessing_of(spec, default)
    return picture_encoder(spec, spec.name or spec.what, model, preprocessing, (package,))
