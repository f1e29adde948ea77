"""The pooled features before a torch model's last layer, and the logits after it, by hooks.

The source head is the last linear module (or 1 x 1 convolution) whose output is the model's by
value: as it is, scaled, as a softmax, or averaged with that of other heads. Its input is the
feature; of averaged heads, the mean of their inputs. A model without a head gives its output.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import NamedTuple

from spider_jax.errors import InputError
from spider_jax.extract.models.foreign_classes import Module, Tensor
from spider_jax.extract.models.torch_maps import (
    FIRST,
    Leaf,
    channel_axis,
    leaves_that_run,
    pooled,
    side_of,
)
from spider_jax.runtime.optional import need

log = logging.getLogger("spider_jax")

NO_HEAD = NONE = "none"
HEADS = 8  # so many heads at most are looked for where their mean is the output
LIKE = 1e-4  # of the spread of the output: differences of float32 are far below


class Reading(NamedTuple):
    """Which modules of a model are read. Without any, the model's own output is the feature.

    Attributes:
        heads: names of the source heads: the mean of their inputs is the feature, unless there is a
            layer.
        layer: name of the module whose output is the feature.
        channels: "first" or "last": where the channels of the feature stand.
        logits: "head", its output; "output", the model's; "probabilities", the head's output,
            which is a softmax already; or "none".
    """

    heads: tuple[str, ...] = ()
    layer: str | None = None
    channels: str = FIRST
    logits: str = NONE

    def __str__(self) -> str:
        if self.layer is not None and not self.heads:
            return f"output of {self.layer}"
        return f"input of {', '.join(self.heads)}" if self.heads else "output of the model"


class Read(NamedTuple):
    """What is read of a batch: features [b, D], and [b, Z] logits or probabilities, or None."""

    features: Tensor
    logits: Tensor | None
    probabilities: Tensor | None = None


def find_reading(
    model: Module,
    inputs: Tensor | Mapping[str, Tensor],
    head: str | None,
    layer: str | None,
    channels: str | None = None,
) -> Reading:
    """Which module to read.

    Args:
        model: torch module in evaluation mode.
        inputs: a batch of probes, or its inputs by name; no two rows are alike.
        head: the name of a module, "none", or None to look for it.
        layer: the name of a module whose output is the feature, or None.
        channels: "first", "last", or None to look where the channels of the feature stand.

    Returns:
        What `run` reads.

    Raises:
        InputError: no module of that name, a last layer that is no head of the output, or channels
            that are not found.
    """
    for name in (head, layer):
        if name not in (None, NO_HEAD, *dict(model.named_modules())):
            last = [n for n, _ in model.named_children()][-4:]
            raise InputError(f"the model has no module {name!r}: its last are {', '.join(last)}")
    torch = need("torch", "torch", "a torch model")
    named = head if head != NO_HEAD else None
    with (
        torch.inference_mode(),
        leaves_that_run(model) as ran,
        _captured(model, () if named is None else (named,), layer) as seen,
        _count_before(model, layer, ran) as before,
    ):
        output = first_tensor(_call(model, inputs))
    for name in (named, layer):
        if name is not None and name not in seen:
            raise InputError(f"module {name!r} does not run when the model does")
    heads, logits = _heads(torch, ran, output) if head is None else ((), NONE)
    if named is not None:
        heads = (named,)
        logits = _logits_of(torch, pooled(output), _pooled_of(model, named, seen[named])) or NONE
        if logits == NONE:
            log.warning("module %r does not give the model's output: no softmax is kept", named)
    if layer is not None:
        return Reading(heads, layer, channel_axis(seen[layer], ran[: before[0]], channels), logits)
    if not heads:
        return Reading(heads, layer, channel_axis(output, ran, channels), logits)
    given = seen["features"] if named else next(r for r in ran if r.name == heads[-1]).given
    side = channels or side_of(model.get_submodule(heads[-1]), given)
    return Reading(heads, layer, side, logits)


def _pooled_of(model: Module, head: str, output: Tensor) -> Tensor:
    return pooled(output, side_of(model.get_submodule(head), output))


@contextmanager
def _count_before(model: Module, layer: str | None, ran: Sequence[Leaf]) -> Iterator[list[int]]:
    """How many leaves had run when the layer was done."""
    count = [len(ran)]
    if layer is None:
        yield count
        return
    done = model.get_submodule(layer)
    hook = done.register_forward_hook(lambda m, given, out: count.__setitem__(0, len(ran)))
    try:
        yield count
    finally:
        hook.remove()


def _heads(torch: ModuleType, ran: Sequence[Leaf], output: Tensor) -> tuple[tuple[str, ...], str]:
    """The source heads among the modules that ran, and where the logits are.

    Raises:
        InputError: the last module looks like a head, but the output is not made of it.
    """
    width = output.shape[-1]
    like = [leaf for leaf in ran if output.ndim == 2 and _is_head(torch, leaf.module, width)]
    for leaf in reversed(like):
        logits = _logits_of(torch, output, _pooled(leaf))
        if logits is not None:
            return (leaf.name,), logits
    if not like or like[-1] is not ran[-1]:
        return (), NONE
    last = like[-1]
    alike = [leaf for leaf in like if leaf.given.shape[1:] == last.given.shape[1:]][-HEADS:]
    for count in range(2, len(alike) + 1):
        names = tuple(leaf.name for leaf in alike[-count:])
        mean = sum(_pooled(leaf) for leaf in alike[-count:]) / count
        if _logits_of(torch, output, mean) is not None and len({*names}) == count:
            return names, "output"
    raise InputError(
        f"the model's output is not what its last layer {last.name!r} gives: "
        "head=none reads the output, head= or layer= another module"
    )


def _pooled(leaf: Leaf) -> Tensor:
    return pooled(leaf.output, side_of(leaf.module, leaf.output))


def _logits_of(torch: ModuleType, output: Tensor, logits: Tensor) -> str | None:
    """Where the logits are, as `Reading` says it; None: the output is not made of these."""
    if output.shape != logits.shape:
        return None
    y, x = output.double(), logits.double()
    if torch.allclose(y, x, rtol=1e-5, atol=1e-6):
        return "probabilities" if _is_softmax(x) else "head"
    if _is_softmax_of(torch, y, x):
        return "head"
    if torch.allclose(y, torch.sigmoid(x), rtol=1e-3, atol=1e-6):
        return NONE  # classes that do not exclude each other have no softmax
    return "output" if _is_scaled(y, x) else None


def _is_head(torch: ModuleType, module: Module, width: int) -> bool:
    """Linear or 1 x 1 convolution onto the model's output; one column is no classifier."""
    if isinstance(module, torch.nn.Linear):
        return width > 1 and module.out_features == width
    point = isinstance(module, torch.nn.Conv2d) and module.kernel_size == (1, 1)
    return bool(width > 1 and point and module.out_channels == width)


def _is_scaled(output: Tensor, logits: Tensor) -> bool:
    """Whether output = a logits + c with numbers a > 0 and c: the least squares leave nothing."""
    x, y = logits - logits.mean(), output - output.mean()
    slope = (x * y).sum() / x.square().sum().clamp(min=1e-30)
    rest = (y - slope * x).square().mean().sqrt()
    return bool(slope > 0 and rest <= LIKE * y.square().mean().sqrt())


def _is_softmax_of(torch: ModuleType, output: Tensor, logits: Tensor) -> bool:
    """Whether the output is the softmax of the logits, or its logarithm."""
    softmax = torch.softmax(logits, 1)
    return any(
        torch.allclose(output, wanted, rtol=1e-3, atol=1e-6) for wanted in (softmax, softmax.log())
    )


def _is_softmax(values: Tensor) -> bool:
    """Whether the rows are probabilities already."""
    total = (values.sum(1) - 1).abs().max()
    return bool(values.shape[1] > 1 and values.min() >= 0 and total < 1e-4)


def run(model: Module, inputs: Tensor | Mapping[str, Tensor], reading: Reading) -> Read:
    """Run a model on a batch.

    Args:
        model: torch module in evaluation mode.
        inputs: a batch of b prepared items, or its inputs by name.
        reading: what is read of it.

    Returns:
        Features [b, D], and logits or probabilities [b, Z] or None.
    """
    with _captured(model, reading.heads, reading.layer) as seen:
        output = first_tensor(_call(model, inputs))
    features = pooled(seen.get("features", output), reading.channels)
    if reading.logits == NONE:
        return Read(features, None)
    if reading.logits == "output":
        return Read(features, output)
    logits = _pooled_of(model, reading.heads[-1], seen[reading.heads[-1]])
    if reading.logits == "probabilities":
        return Read(features, None, logits)
    return Read(features, logits)


@contextmanager
def _captured(
    model: Module, heads: Sequence[str], layer: str | None
) -> Iterator[dict[str, Tensor]]:
    """What heads give, by name, and the features, filled when the model runs."""
    seen: dict[str, Tensor] = {}
    given: dict[str, Tensor] = {}

    def of_head(name: str, inputs: tuple[Tensor, ...], output: object) -> None:
        seen[name], given[name] = first_tensor(output), inputs[0]
        if layer is None:
            seen["features"] = inputs[0] if len(heads) == 1 else sum(given.values()) / len(heads)

    def of_layer(module: Module, inputs: tuple[Tensor, ...], output: object) -> None:
        seen["features"] = seen[str(layer)] = first_tensor(output)

    hooks = [
        model.get_submodule(name).register_forward_hook(
            lambda m, inputs, output, name=name: of_head(name, inputs, output)
        )
        for name in heads
    ]
    if layer is not None:
        hooks.append(model.get_submodule(layer).register_forward_hook(of_layer))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def _call(model: Module, inputs: Tensor | Mapping[str, Tensor]) -> object:
    return model(**inputs) if isinstance(inputs, Mapping) else model(inputs)


def first_tensor(output: object) -> Tensor:
    """The logits of a model's output if it names them, else its first tensor with rows.

    Args:
        output: a tensor, or a tuple, list or mapping that holds one, at any depth.

    Returns:
        The tensor.

    Raises:
        InputError: it holds none.
    """
    found = next(_tensors(output), None)
    if found is None:
        raise InputError(f"the model's output must be a tensor, got {type(output).__name__}")
    return found


def _tensors(output: object) -> Iterator[Tensor]:
    """Tensors [b, ...] at any depth of an output, named logits first."""
    torch = need("torch", "torch", "a torch model")
    if isinstance(output, torch.Tensor):
        if output.ndim > 0:  # a loss is a number
            yield output
        return
    if isinstance(output, Mapping):
        output = [output[key] for key in sorted(output, key=lambda key: key != "logits")]
    for part in output if isinstance(output, list | tuple) else ():
        yield from _tensors(part)
