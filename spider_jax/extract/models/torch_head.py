"""The pooled features before a torch model's last layer, and the logits after it, by hooks.

The last module with weights that runs is the source head, if it is linear (or a 1 x 1 convolution)
and its width is that of the model's output. Its input is the feature. A model without a head gives
its output as the feature.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import NamedTuple

from spider_jax.errors import InputError
from spider_jax.extract.models.torch_classes import Module, Tensor
from spider_jax.runtime.optional import need

NO_HEAD = "none"


class Reading(NamedTuple):
    """Which modules of a model are read. Without any, the model's own output is the feature.

    Attributes:
        head: name of the source head: its output is the logits, and its input the feature unless
            there is a layer.
        layer: name of the module whose output is the feature.
    """

    head: str | None
    layer: str | None

    def __str__(self) -> str:
        if self.head is not None:
            return f"input of {self.head}"
        return f"output of {self.layer}" if self.layer is not None else "output of the model"


def find_reading(model: Module, inputs: Tensor, head: str | None, layer: str | None) -> Reading:
    """Which module to read.

    Args:
        model: torch module in evaluation mode.
        inputs: a batch of one.
        head: the name of a module, "none", or None to look for it.
        layer: the name of a module whose output is the feature, or None.

    Returns:
        What `run` reads.

    Raises:
        InputError: no module of that name.
    """
    for name in (head, layer):
        if name not in (None, NO_HEAD, *dict(model.named_modules())):
            last = [n for n, _ in model.named_children()][-4:]
            raise InputError(f"the model has no module {name!r}: its last are {', '.join(last)}")
    if head == NO_HEAD:
        return Reading(None, layer)
    return Reading(head if head is not None else _last_head(model, inputs), layer)


def _last_head(model: Module, inputs: Tensor) -> str | None:
    """Name of the last module with parameters that ran, if it is a classifier."""
    torch = need("torch", "torch", "a torch model")
    ran: list[tuple[str, Module]] = []
    hooks = [
        module.register_forward_hook(lambda m, _, out, name=name: ran.append((name, m)))
        for name, module in model.named_modules()
        if not list(module.children()) and list(module.parameters())
    ]
    try:
        with torch.inference_mode():
            output = first_tensor(model(inputs))
    finally:
        for hook in hooks:
            hook.remove()
    if not ran or output.ndim != 2:
        return None
    name, last = ran[-1]
    return name if _is_head(torch, last, output.shape[1]) else None


def _is_head(torch: ModuleType, module: Module, width: int) -> bool:
    """Linear or 1 x 1 convolution onto the model's output; one column is no classifier."""
    if isinstance(module, torch.nn.Linear):
        return width > 1 and module.out_features == width
    point = isinstance(module, torch.nn.Conv2d) and module.kernel_size == (1, 1)
    return bool(width > 1 and point and module.out_channels == width)


def run(model: Module, inputs: Tensor, reading: Reading) -> tuple[Tensor, Tensor | None]:
    """Run a model on a batch.

    Args:
        model: torch module in evaluation mode.
        inputs: a batch of b prepared items.
        reading: what is read of it.

    Returns:
        Features [b, D], and logits [b, Z] or None.
    """
    with _captured(model, reading) as seen:
        output = first_tensor(model(inputs))
    logits = pooled(seen["logits"]) if "logits" in seen else None
    return pooled(seen.get("features", output)), logits


@contextmanager
def _captured(model: Module, reading: Reading) -> Iterator[dict[str, Tensor]]:
    """What the modules of a reading see, filled when the model runs."""
    seen: dict[str, Tensor] = {}

    def of_head(module: Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        seen["logits"] = output
        if reading.layer is None:
            seen["features"] = given[0]

    def of_layer(module: Module, given: tuple[Tensor, ...], output: object) -> None:
        seen["features"] = first_tensor(output)

    hooks = []
    if reading.head is not None:
        hooks.append(model.get_submodule(reading.head).register_forward_hook(of_head))
    if reading.layer is not None:
        hooks.append(model.get_submodule(reading.layer).register_forward_hook(of_layer))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def pooled(features: Tensor) -> Tensor:
    """Means over places or tokens.

    Args:
        features: [b, D], [b, tokens, D] or maps [b, D, ...places].

    Returns:
        [b, D].
    """
    if features.ndim <= 2:
        return features.reshape(len(features), -1)
    return features.mean(1) if features.ndim == 3 else features.flatten(2).mean(2)


def first_tensor(output: object) -> Tensor:
    """The first tensor of a model's output.

    Args:
        output: a tensor, or a tuple, list or mapping that holds one first, at any depth.

    Returns:
        The tensor.

    Raises:
        InputError: it holds none.
    """
    torch = need("torch", "torch", "a torch model")
    while not torch.is_tensor(output):
        values = list(output.values()) if hasattr(output, "values") else output
        if not isinstance(values, list | tuple) or not values:
            raise InputError(f"the model's output must be a tensor, got {type(output).__name__}")
        output = values[0]
    return output
