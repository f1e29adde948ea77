"""`torch:module:factory`: any callable that returns an nn.Module, run on pictures.

Options:
    weights: a file of a state_dict, .safetensors or written by torch.save.
    head: the module whose input is the feature, or "none" where there is no source head.
    layer: a module whose output is the feature instead.
    channels: first or last, where the channels of the feature stand, if that is not found.
    size, resize, interpolation, mean, std: of the preprocessing.
"""

import importlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from spider_jax.errors import InputError, one_line
from spider_jax.extract.data.images import OPTIONS as PICTURE_OPTIONS
from spider_jax.extract.data.images import Preprocessing, preprocessing_of
from spider_jax.extract.data.items import Item
from spider_jax.extract.models.encoder import Encoded, Encoder, softmax
from spider_jax.extract.models.foreign_classes import Module, Tensor
from spider_jax.extract.models.torch_head import Reading, find_reading, run
from spider_jax.extract.models.torch_maps import CHANNELS
from spider_jax.extract.models.torch_weights import load_weights, unwrapped, weights_hash
from spider_jax.extract.spec import Spec
from spider_jax.runtime.optional import need

OPTIONS = ("weights", "head", "layer", "channels")


PROBES = 2  # rows of noise on which the head is looked for


def read_torch(spec: Spec) -> Encoder:
    """The model that a factory makes. Only the spec names code to import, no file does.

    Args:
        spec: torch:module:factory with the options above.

    Returns:
        The model.

    Raises:
        InputError: no such module or factory, one that fails, or weights that do not fit.
    """
    spec.known((*OPTIONS, *PICTURE_OPTIONS))
    module, colon, factory = spec.what.partition(":")
    if not colon or not module or not factory:
        raise InputError(f"model {spec} must be torch:module:factory, as torch:my_models:make")
    model = made(_factory(module, factory, spec), spec)
    return picture_encoder(spec, spec.name or factory, model, preprocessing_of(spec), ())


def _factory(module: str, factory: str, spec: Spec) -> Callable[[], object]:
    """The factory of the spec. Modules are found in the working folder too, as by `python -m`."""
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)
    try:
        found: Any = importlib.import_module(module)
        for part in factory.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise InputError(f"model {spec} cannot be imported: {one_line(error)}") from None
    return found


def made(factory: Callable[[], object], spec: Spec) -> Module:
    """The nn.Module that a factory returns, with the weights of the spec, in evaluation mode.

    Args:
        factory: makes the module.
        spec: of the model.

    Returns:
        The module.

    Raises:
        InputError: the factory fails, or returns something else.
    """
    torch = need("torch", "torch", f"model {spec}")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # what a factory draws is the same in every process
            model = factory()
    except Exception as error:  # someone else's code
        raise InputError(f"model {spec}: its factory fails: {one_line(error)}") from None
    if not isinstance(model, torch.nn.Module):
        raise InputError(f"model {spec} must make a torch.nn.Module, got {type(model).__name__}")
    model = unwrapped(model)
    if "weights" in spec.options:
        load_weights(model, Path(spec.options["weights"]))
    return model.float().eval()


def picture_encoder(
    spec: Spec, name: str, model: Module, preprocessing: Preprocessing, packages: Sequence[str]
) -> Encoder:
    """An encoder of pictures around a torch module.

    Args:
        spec: with options head and layer.
        name: of the model in the zoo.
        model: a module that takes float32 [b, 3, size, size].
        preprocessing: of pictures.
        packages: whose versions are recorded beside torch's and pillow's.

    Returns:
        The model, on the device.

    Raises:
        InputError: no module of the name that head or layer gives.
    """
    torch = need("torch", "torch", f"model {spec}")
    digest, where = weights_hash(model), device()
    model = model.to(where)
    side, options = preprocessing.size, spec.options
    channels = spec.choice("channels", CHANNELS, "") if "channels" in options else None
    probe = torch.randn((PROBES, 3, side, side), generator=torch.Generator().manual_seed(0))
    probe = probe.to(where)
    reading = find_reading(model, probe, options.get("head"), options.get("layer"), channels)
    return Encoder(
        name=name,
        modality="image",
        prepare=preprocessing,
        encode=lambda batch, _: _encode(model, batch, reading, where),
        facts={
            "source": str(spec),
            "weights_sha256": digest,
            "preprocessing": preprocessing.facts(),
            "layer": str(reading),
            "params": sum(p.numel() for p in model.parameters()),
        },
        versions={p: metadata.version(p) for p in ("torch", *packages, "pillow")},
        row_bytes=lambda prepared: activation_bytes(model, _batch([prepared]), where),
        memory=sum(p.numel() * p.element_size() for p in model.parameters()),
    )


def _batch(items: Sequence[Item]) -> Tensor:
    """Prepared pictures as one float32 [b, 3, size, size]."""
    torch = need("torch", "torch", "a torch model")
    return torch.from_numpy(np.stack([np.asarray(item) for item in items]))


def _encode(model: Module, batch: Sequence[Item], reading: Reading, where: str) -> Encoded:
    torch = need("torch", "torch", "a torch model")
    with torch.inference_mode(), exact(torch, where):
        read = run(model, _batch(batch).to(where), reading)
    found = encoded(read.features, read.logits)
    if read.probabilities is None:
        return found
    return Encoded(found.features, read.probabilities.float().cpu().numpy())


def encoded(features: Tensor, logits: Tensor | None) -> Encoded:
    """Torch tensors to NumPy, the logits to their softmax.

    Args:
        features: [b, D].
        logits: [b, Z], or None.

    Returns:
        Both as float32 in memory.
    """
    probabilities = None if logits is None else softmax(logits.float().cpu().numpy())
    return Encoded(features.float().cpu().numpy(), probabilities)


def device() -> str:
    """Where torch runs: the first GPU if it has one."""
    torch = need("torch", "torch", "a torch model")
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


@contextmanager
def exact(torch: ModuleType, where: str) -> Iterator[None]:
    """float32 means float32: no TF32 convolutions, no choice of algorithm by timing.

    Args:
        torch: the module.
        where: the device that `device` names.
    """
    if where != "cuda":
        yield
        return
    with torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    ):
        yield


def activation_bytes(model: Module, inputs: Tensor, where: str) -> int:
    """Bytes of all outputs of a batch of one: more than a forward pass holds at any time.

    Args:
        model: torch module in evaluation mode.
        inputs: a batch of one.
        where: the device.

    Returns:
        The number of bytes.
    """
    torch = need("torch", "torch", "a torch model")
    total = 0

    def count(module: Module, given: tuple[Tensor, ...], output: object) -> None:
        nonlocal total
        total += output.nbytes if isinstance(output, torch.Tensor) else 0

    hooks = [m.register_forward_hook(count) for m in model.modules() if not list(m.children())]
    try:
        with torch.inference_mode():
            model(inputs.to(where))
    finally:
        for hook in hooks:
            hook.remove()
    return total + int(inputs.nbytes)
