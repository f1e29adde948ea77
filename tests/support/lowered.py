"""Programs lowered for a device that is not here, and what their text says.

`jax.export` lowers for another platform without a device of it. What it gives is StableHLO before
that platform's compiler: it tells which products are made and how exactly, of what numbers, what
runs on the host, and which arguments are given up. It cannot tell whether the compiler of the
platform takes it, nor how fast it is.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import export

ACCELERATORS = ("cuda", "tpu")
PRODUCT = re.compile(r"stablehlo\.(dot_general|dot|convolution|ragged_dot)\b")
OPERANDS = re.compile(r": \((tensor<[^>]*>), (tensor<[^>]*>)[^)]*\) -> (tensor<[^>]*>)")
DONATED = re.compile(r"tf\.aliasing_output|jax\.buffer_donor = true")
CALLED = re.compile(r"stablehlo\.custom_call @([\w.$]+)")
DOUBLE = re.compile(r"tensor<(?:[^>]*x)?(?:f64|complex<f64>)>")
# Calls that stay on the device: how arrays are split, sorting, decompositions.
ON_DEVICE = re.compile(
    r"Sharding|SPMD\w+|annotate_device_placement|mhlo\.topk|TopK|ApproxTopK"
    r"|cu(solver|blas|_)\w*|Eigh?|Qr|LuDecomposition|Cholesky|Householder\w*|ProductOfElementary\w*"
)


class Program(NamedTuple):
    """A compiled program and shapes to lower it for.

    Attributes:
        name: for people.
        of: where it is made, "module:function".
        call: jitted.
        given: its arguments, arrays or ShapeDtypeStructs.
        static: its static options.
        donated: how many of its arrays it uses up.
        double: whether it is of float64 on purpose.
    """

    name: str
    of: str
    call: Callable[..., Any]
    given: tuple[Any, ...]
    static: dict[str, Any] = {}  # noqa: RUF012 - never changed
    donated: int = 0
    double: bool = False


def of_shape(*shape: int, dtype: str = "float32") -> Any:
    """An array that is not there."""
    return jax.ShapeDtypeStruct(shape, np.dtype(dtype) if dtype != "bfloat16" else "bfloat16")


def abstract(tree: Any) -> Any:
    """The shapes of arrays."""
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(np.shape(a), np.asarray(a).dtype), tree)


def text_for(program: Program, platform: str) -> str:
    """StableHLO of a program for a platform."""
    with jax.enable_x64(program.double), jax.numpy_dtype_promotion("standard"):
        lowered = export.export(_exportable(program.call), platforms=[platform])
        return lowered(*program.given, **program.static).mlir_module()


def _exportable(call: Any) -> Any:
    """`jax.pmap` gives a function around a jitted one, which is what its calls run."""
    return call if hasattr(call, "trace") else jax.jit(lambda *given: call(*given))


def inexact_products(text: str) -> list[str]:
    """Products of float32 numbers that are not asked for at the highest precision.

    Operands of bfloat16 were asked for by name; sums of float32 are then what counts.
    """
    return [line for line in _lines(text, PRODUCT) if not _exact(line)]


def _exact(line: str) -> bool:
    found = OPERANDS.search(line)
    assert found is not None, line  # a form of text that is not known must not pass
    left, right, out = (of.rstrip(">").split("x")[-1].split("<")[-1] for of in found.groups())
    if left == right == "bf16":
        return out == "f32"
    if not {left, right} & {"f32", "f16", "bf16"}:
        return True  # float64 and whole numbers have one precision
    return len(re.findall(r"HIGHEST", line)) == 2 and {left, right} == {"f32"}


def products(text: str) -> list[str]:
    """All products."""
    return list(_lines(text, PRODUCT))


def doubles(text: str) -> list[str]:
    """Lines with a tensor of float64."""
    return list(_lines(text, DOUBLE))


def calls_of_the_host(text: str) -> list[str]:
    """Custom calls that are not known to stay on the device."""
    return [name for name in CALLED.findall(text) if not ON_DEVICE.fullmatch(name)]


def donated(text: str) -> int:
    """How many arguments of the program are given up."""
    head = next(line for line in text.splitlines() if "func.func public @main" in line)
    return len(DONATED.findall(head))


def _lines(text: str, pattern: re.Pattern[str]) -> Iterator[str]:
    """Lines of code, without where they come from."""
    for line in text.splitlines():
        if not line.startswith("#loc") and pattern.search(line):
            yield line.strip()
