"""Students: any differentiable features, as a pure function with params; NNX and Linen modules."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen, nnx
from jaxtyping import Array, Float, Float32, Int, Num, PyTree, Shaped

from spider_jax.errors import InputError
from spider_jax.heads.blocks import blocks, column_scaling

HIGHEST = jax.lax.Precision.HIGHEST
if TYPE_CHECKING:
    Params = Any  # type checkers know no pytrees
else:
    Params = PyTree[Shaped[Array | np.ndarray, "..."]]  # nested dicts, or the State of a module
Apply = Callable[..., Float[Array, "B D"]]


class Student(NamedTuple):
    """What is tuned, without its head.

    Attributes:
        apply: `apply(params, x)`, or `apply(params, x, frozen)` where frozen is given; x [B, ...]
            as stored, result float32 [B, D]. It must be pure. One function for many students
            compiles once.
        params: arrays that learn, as pre-trained.
        frozen: arrays that do not; None for none.
    """

    apply: Apply
    params: Params
    frozen: Params = None

    def features(self, params: Params, x: Shaped[Array, "B ..."]) -> Float[Array, "B D"]:
        """What the student makes of some rows.

        Args:
            params: at which it is asked.
            x: rows as stored.
        """
        return applied(self.apply, params, x, self.frozen)


def applied(
    apply: Apply, params: Params, x: Shaped[Array, "B ..."], frozen: Params
) -> Float[Array, "B ..."]:
    """`apply`, with what is frozen where there is such.

    Args:
        apply: of a student.
        params: that learn.
        x: rows as stored.
        frozen: that do not learn; None for none.
    """
    return apply(params, x) if frozen is None else apply(params, x, frozen)


def features_on(
    student: Student,
    params: Params,
    inputs: Shaped[np.ndarray, "N ..."],
    rows: Int[np.ndarray, " n"],
) -> Float32[np.ndarray, "n D"]:
    """Features of a student on some rows, block by block.

    Args:
        student: with its function.
        params: at which it is asked.
        inputs: of all rows, also a memmap.
        rows: their numbers.

    Raises:
        InputError: `apply` gives something else than [B, D].
    """
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


def _compiled_apply(apply: Apply) -> Apply:
    def run(params: Params, x: Array, frozen: Params) -> Array:
        return applied(apply, params, x, frozen)

    return jax.jit(run)


# ---- modules of Flax -------------------------------------------------------------------------


def nnx_student(module: nnx.Module, trainable: nnx.filterlib.Filter = None) -> Student:
    """A student of an NNX module that maps x to features.

    Args:
        module: called with x alone, in evaluation mode: running statistics and dropout stay as
            they are.
        trainable: NNX filter of what learns; default: nnx.Param. The rest is frozen.

    Returns:
        The student.
    """
    whole: Any = module  # its `eval` has no types
    whole.eval()
    wanted = nnx.Param if trainable is None else trainable
    parts: tuple[Any, ...] = nnx.split(module, wanted, ...)
    graph, params, frozen = parts

    def apply(params: Params, x: Array, frozen: Params) -> Array:
        merged: Any = nnx.merge(graph, params, frozen)
        return merged(x)

    return Student(apply, params, frozen)


def linen_student(
    module: linen.Module, variables: Mapping[str, Params], **arguments: Any
) -> Student:
    """A student of a Linen module that maps x to features.

    Args:
        module: applied as module.apply(variables, x, **arguments).
        variables: as `module.init` gave or as pre-trained; "params" learn, other collections
            (running statistics) are frozen.
        arguments: of `apply`.

    Returns:
        The student.
    """

    def apply(params: Params, x: Array, frozen: Params) -> Array:
        features: Any = module.apply({"params": params, **frozen}, x, **arguments)
        return features

    frozen = {name: value for name, value in variables.items() if name != "params"}
    return Student(apply, variables["params"], frozen)


# ---- a network on top of features ------------------------------------------------------------


def feature_student(
    features: Num[np.ndarray, "N D"],
    train: Int[np.ndarray, " n"],
    *,
    hidden: int = 64,
    seed: int = 0,
) -> Student:
    """A trainable network on a model's features, which begins as these features themselves.

    u = (x - mean) / (scale sqrt(D)); f(x) = [u + relu(u V + c) W, 1], with W = 0 at first: a
    residual adapter (Houlsby et al., ICML 2019). The 1 is for LogME, which has no bias.

    Args:
        features: of the model, also a memmap.
        train: rows whose mean and deviation scale the columns.
        hidden: units of the adapter.
        seed: of V.

    Returns:
        The student; its features are D + 1 wide.

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


def adapted(params: Params, x: Num[Array, "B D"], frozen: Params) -> Float[Array, "B E"]:
    """The features of `feature_student`, E = D + 1 wide.

    Args:
        params: V, W and c.
        x: features of the model.
        frozen: mean and scale.
    """
    u = (x.astype(jnp.float32) - frozen["mean"][None]) / frozen["scale"][None]
    inner = jax.nn.relu(jnp.matmul(u, params["V"], precision=HIGHEST) + params["c"][None])
    changed = u + jnp.matmul(inner, params["W"], precision=HIGHEST)
    return jnp.concatenate([changed, jnp.ones_like(u[:, :1])], axis=1)
