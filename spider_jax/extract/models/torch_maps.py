"""Which axis of a torch tensor holds the channels, and means over the other axes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from spider_jax.errors import InputError
from spider_jax.extract.models.foreign_classes import Module, Tensor
from spider_jax.runtime.optional import need

FIRST, LAST = "first", "last"
CHANNELS = (FIRST, LAST)


class Leaf(NamedTuple):
    """A module without children that ran, what it got and what it gave.

    Attributes:
        name: in the model.
        module: itself.
        given: its first input.
        output: what it returned.
    """

    name: str
    module: Module
    given: Tensor
    output: Tensor


@contextmanager
def leaves_that_run(model: Module) -> Iterator[list[Leaf]]:
    """The leaf modules with parameters, in the order in which they run inside the block.

    Args:
        model: torch module.
    """
    torch = need("torch", "torch", "a torch model")
    ran: list[Leaf] = []

    def note(name: str, module: Module, given: tuple[object, ...], output: object) -> None:
        if given and torch.is_tensor(given[0]) and torch.is_tensor(output):
            ran.append(Leaf(name, module, given[0], output))

    hooks = [
        module.register_forward_hook(lambda m, given, out, name=name: note(name, m, given, out))
        for name, module in model.named_modules()
        if not list(module.children()) and list(module.parameters())
    ]
    try:
        yield ran
    finally:
        for hook in hooks:
            hook.remove()


def channel_axis(features: Tensor, ran: list[Leaf], said: str | None) -> str:
    """Where the channels of a tensor stand: "first", behind the batch, or "last".

    The width of the last module with weights is the number of channels, so its axis is known
    unless both sides have it. A module that works along the last axis decides then.

    Args:
        features: of a probe, [b, D], [b, tokens, D], or maps [b, D, ...] or [b, ..., D].
        ran: the modules with weights that ran before, in order.
        said: what the user says, or None.

    Raises:
        InputError: nothing says which it is.
    """
    if said is not None or features.ndim <= 2:
        return said or LAST
    shape = tuple(features.shape)
    for leaf in reversed(ran):
        width = _width(leaf.module)
        sides = [side for side, n in ((FIRST, shape[1]), (LAST, shape[-1])) if n == width]
        if len(sides) == 1:
            return sides[0]
        if len(sides) == 2 and leaf.output.shape == shape:
            along = _along(leaf.module)
            return along if _same_places(leaf.output, features) else _other(along)
    if features.ndim == 3:  # tokens, unless a width says otherwise
        return LAST
    raise InputError(
        f"the feature has shape {list(shape)}: say where its channels stand, "
        "channels=first or channels=last"
    )


def side_of(module: Module, tensor: Tensor) -> str:
    """Where the channels of what a head reads or gives stand, by its kind.

    Args:
        module: the head.
        tensor: its input or output.
    """
    torch = need("torch", "torch", "a torch model")
    return LAST if isinstance(module, torch.nn.Linear) or tensor.ndim == 3 else FIRST


def _width(module: Module) -> int | None:
    """Channels that a module with weights gives, or None."""
    for name in ("out_features", "out_channels", "num_features", "num_channels"):
        if isinstance(getattr(module, name, None), int):
            return int(getattr(module, name))
    weight = getattr(module, "weight", None)
    return len(weight) if weight is not None and weight.ndim == 1 else None


def _along(module: Module) -> str:
    """The axis that a module takes for its channels."""
    torch = need("torch", "torch", "a torch model")
    last = isinstance(module, torch.nn.Linear) or hasattr(module, "normalized_shape")
    return LAST if last else FIRST


def _other(axis: str) -> str:
    return FIRST if axis == LAST else LAST


def _same_places(output: Tensor, features: Tensor) -> bool:
    """Whether a tensor is a module's output, or an elementwise function of it, axes unmoved.

    ReLU and its kin keep the correlation of the values, moved axes destroy it.
    """
    torch = need("torch", "torch", "a torch model")

    def likeness(other: Tensor) -> float:
        pair = torch.stack([output.flatten(), other.flatten()]).float()
        return float(torch.corrcoef(pair)[0, 1].nan_to_num())

    moved = torch.movedim(features, -1, 1), torch.movedim(features, 1, -1)
    fits = [likeness(other) for other in moved if other.shape == output.shape]
    return likeness(features) > max(fits, default=0.0)


def pooled(features: Tensor, channels: str = FIRST) -> Tensor:
    """Means over places or tokens.

    Args:
        features: [b, D], [b, tokens, D], maps [b, D, ...places] or [b, ...places, D].
        channels: "first" or "last".

    Returns:
        [b, D].
    """
    if features.ndim <= 2:
        return features.reshape(len(features), -1)
    if channels == LAST:
        return features.flatten(1, -2).mean(1)
    return features.flatten(2).mean(2)
