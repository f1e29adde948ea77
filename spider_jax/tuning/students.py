"""Students: any differentiable features, as a pure function with params; NNX and Linen modules."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.heads.blocks import blocks, column_scaling

HIGHEST = jax.lax.Precision.HIGHEST
Params = Any


class Student(NamedTuple):
    """What is tuned, without its head.

    apply: `apply(params, x)`, or `apply(params, x, frozen)` where frozen is given; x [B, ...] as
        stored, result float32 [B, D]. It must be pure; one function for many students compiles
        once.
    params: arrays that learn, as pre-trained. frozen: arrays that do not.
    """

    apply: Callable[..., Array]
    params: Params
    frozen: Params = None

    def features(self, params: Params, x: Array) -> Array:
        """[B, D] at these params."""
        return applied(self.apply, params, x, self.frozen)


def applied(apply: Callable[..., Array], params: Params, x: Array, frozen: Params) -> Array:
    """`apply`, with what is frozen where there is such."""
    return apply(params, x) if frozen is None else apply(params, x, frozen)


def features_on(
    student: Student, params: Params, inputs: Any, rows: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Features [n, D] on some rows of inputs [N, ...], block by block."""
    width = max(1, int(np.prod(inputs.shape[1:])))
    run = _compiled_apply(student.apply)
    found = [
        np.asarray(run(params, np.asarray(inputs[part]), student.frozen), np.float32)
        for part in blocks(rows, width)
    ]
    features = np.concatenate(found)
    if features.ndim != 2:
        raise InputError(f"apply must give features [B, D], got {features.shape}: pool them")
    return features


def _compiled_apply(apply: Callable[..., Array]) -> Callable[..., Array]:
    def run(params: Params, x: Array, frozen: Params) -> Array:
        return applied(apply, params, x, frozen)

    return jax.jit(run)


# ---- modules of Flax -------------------------------------------------------------------------


def nnx_student(module: Any, trainable: Any = None) -> Student:
    """A student of an NNX module that maps x to features.

    Args:
        module: called with x alone, in evaluation mode: running statistics and dropout stay as
            they are.
        trainable: NNX filter of what learns; default: nnx.Param. The rest is frozen.
    """
    from flax import nnx

    module.eval()
    wanted = nnx.Param if trainable is None else trainable
    parts: Any = nnx.split(module, wanted, ...)
    graph, params, frozen = parts

    def apply(params: Params, x: Array, frozen: Params) -> Array:
        return nnx.merge(graph, params, frozen)(x)

    return Student(apply, params, frozen)


def linen_student(module: Any, variables: Any, **arguments: Any) -> Student:
    """A student of a Linen module that maps x to features.

    Args:
        module: applied as module.apply(variables, x, **arguments).
        variables: as `module.init` gave or as pre-trained; "params" learn, other collections
            (running statistics) are frozen.
    """

    def apply(params: Params, x: Array, frozen: Params) -> Array:
        return module.apply({"params": params, **frozen}, x, **arguments)

    frozen = {name: value for name, value in variables.items() if name != "params"}
    return Student(apply, variables["params"], frozen)


# ---- a network on top of features ------------------------------------------------------------


def feature_student(
    features: Any, train: NDArray[np.int64], *, hidden: int = 64, seed: int = 0
) -> Student:
    """A trainable network on a model's features, which begins as these features themselves.

    u = (x - mean) / (scale sqrt(D)); f(x) = [u + relu(u V + c) W, 1], with W = 0 at first: a
    residual adapter (Houlsby et al., ICML 2019). The 1 is for LogME, which has no bias.

    Args:
        features: [N, D] numbers, also a memmap; mean and scale are those of the training rows.
        train: row numbers. hidden: units of the adapter. seed: of V.

    Raises:
        InputError: hidden below 1.
    """
    if hidden < 1:
        raise InputError(f"hidden must be >= 1, got {hidden}")
    D = features.shape[1]
    mean, scale = column_scaling(features, train)
    V = np.random.default_rng(seed).normal(size=(D, hidden)) * np.sqrt(2 / hidden)
    params = {
        "V": V.astype(np.float32),
        "W": np.zeros((hidden, D), np.float32),
        "c": np.zeros(hidden, np.float32),
    }
    return Student(adapted, params, {"mean": mean, "scale": scale * np.float32(np.sqrt(D))})


def adapted(params: Params, x: Float[Array, "B D"], frozen: Params) -> Float[Array, "B E"]:
    """The features of `feature_student`, [B, D + 1]."""
    u = (x.astype(jnp.float32) - frozen["mean"][None]) / frozen["scale"][None]
    inner = jax.nn.relu(jnp.matmul(u, params["V"], precision=HIGHEST) + params["c"][None])
    changed = u + jnp.matmul(inner, params["W"], precision=HIGHEST)
    return jnp.concatenate([changed, jnp.ones_like(u[:, :1])], axis=1)
