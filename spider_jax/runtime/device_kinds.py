"""What is done differently on a CPU, a GPU and a TPU: one table.

Scores of a spider are the same to the bit on devices of the same kind only. A sum of another size
adds in another order, and here stands how large the compiled calls are: in chunks of a few hundred
rows that stay in a core's cache on a CPU, in one compiled loop over chunks of tens of thousands of
rows on an accelerator, where a call must be large to be worth its start. Between kinds scores
differ by rounding. A new version may change the rows of an accelerator; those of a CPU are kept.

What does not differ: products of float32 are asked for at `PRECISION` everywhere, which is float32
on a GPU (its default is TF32) and six passes of bfloat16 on a TPU (its default is one).

No row but that of the CPU has been measured: the others follow from what such devices are like.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import jax

PRECISION = jax.lax.Precision.HIGHEST


class DeviceKind(NamedTuple):
    """A kind of device.

    Attributes:
        name: of JAX's platform.
        rows: of a chunk at most, by the form of the scores, see `spider.folding`.
        least_rows: of a chunk of form "many": below that a call costs more than its rows.
        chunk_numbers: of a chunk's [E, rows, d] at most, where `least_rows` allows.
        span: rows of the index that one call takes.
        block_numbers: of one intermediate [E, T, rows, d] of a call: tasks are scored in blocks
            that respect it, one at least.
        pair_numbers: of [T, m, d] of the models that a training step scores together, before it
            goes by chunks that the backward pass computes again.
        compiled_loop: over chunks; else a call each, dealt to the cores.
        float64: whether it has float64.
    """

    name: str
    rows: Mapping[str, int]
    least_rows: int
    chunk_numbers: int
    span: int
    block_numbers: int
    pair_numbers: int
    compiled_loop: bool
    float64: bool


CPU = DeviceKind(
    name="cpu",
    rows=MappingProxyType({"many": 512, "few": 24}),
    least_rows=128,
    chunk_numbers=1 << 19,  # 2 MB, what a core keeps in its cache
    span=2048,  # values [m, d] still fit a core's cache, calls are few
    block_numbers=1 << 21,
    pair_numbers=1 << 19,  # 2 MB, in cache
    compiled_loop=False,
    float64=True,
)
GPU = DeviceKind(
    name="gpu",
    rows=MappingProxyType({"many": 1 << 16, "few": 128}),
    least_rows=1 << 14,
    chunk_numbers=1 << 22,  # 16 MB: with its logits it stays in a cache of 50 MB
    span=1 << 14,  # the same; twice as many do not [bench/speed/roofline.py]
    block_numbers=1 << 26,
    pair_numbers=1 << 26,  # 256 MB: what is computed twice costs more than memory does
    compiled_loop=True,
    float64=True,
)
TPU = DeviceKind(
    name="tpu",
    rows=MappingProxyType({"many": 1 << 14, "few": 128}),  # whole tiles of 128 lanes
    least_rows=1 << 12,
    chunk_numbers=1 << 22,  # 16 MB an array, of 16 to 128 MB of on-chip memory
    span=1 << 14,
    block_numbers=1 << 25,
    pair_numbers=1 << 25,
    compiled_loop=True,
    float64=False,
)
KINDS: Mapping[str, DeviceKind] = MappingProxyType({kind.name: kind for kind in (CPU, GPU, TPU)})


def kind_of(platform: str) -> DeviceKind:
    """The kind of a device; one that is not known is taken for a TPU, which can do least.

    Args:
        platform: as `jax.Device.platform` or `jax.default_backend()` says it.

    Returns:
        Its row of the table.

    >>> [kind_of(name).name for name in ("cpu", "gpu", "cuda", "rocm", "other")]
    ['cpu', 'gpu', 'gpu', 'gpu', 'tpu']
    """
    return KINDS.get({"cuda": "gpu", "rocm": "gpu"}.get(platform, platform), TPU)


def default_kind() -> DeviceKind:
    """The kind of the device that JAX puts arrays on where nobody says where."""
    chosen = jax.config.jax_default_device  # type: ignore[attr-defined]
    if chosen is None:
        return kind_of(jax.default_backend())
    return kind_of(chosen if isinstance(chosen, str) else chosen.platform)
