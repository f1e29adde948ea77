"""A checkpoint folded for scoring: what is the same for every task is multiplied out once.

The sum of `attention`, folded further:
- the mean over d that the first layer norm takes off is taken off what is folded;
- where the tokens are not much wider than d, U goes into the keys and into W_o W_v, so that tokens
  are used as they come: <key_m, U mu + b> = <U^T key_m, mu> + <key_m, b>, and what is the same for
  all tokens of a model is taken from its self logit instead.

Models are folded and scored in padded chunks of one size by one order of products: a compiled sum
of another size adds in another order, so only thus a zoo that grows or shrinks leaves every other
score as it is, to the bit, on devices of one kind: `runtime.device_kinds` says the sizes. Two forms
are exact: "many" projects a task's tokens once for all models, "few" averages a model's tokens
before they are projected, which costs less for tens of models. A spider keeps its form for life, so
that the bits do not hang on the number of models that it has later; `form_for` says which one it is
born with.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Shaped
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.runtime.device_kinds import PRECISION, DeviceKind, default_kind
from spider_jax.runtime.threads import one_core
from spider_jax.spider.task_memory import Memory, MemoryWeights
from spider_jax.spider.weights import Weights

FORMS = ("many", "few")
FEW_UP_TO = 96  # models
PRECISIONS = ("float32", "bfloat16")
# Tokens up to so much wider than d are used as they come [measured in bench/speed/scoring.py].
RAW_TOKENS = 1.3


class ModelRows(NamedTuple):
    """What is folded per model. A row depends on that model's token and the shared weights only.

    Attributes:
        key: [E, M, K], K the width of what it meets: tokens or their projections.
        self_logit: [E, M] logit of the model's token with itself.
        self_value: [E, M, d] what the token adds to its own average, centred over d.
        base: [E, M, d] token and output bias, centred over d.
        memory: [1, M, S] targets on the remembered tasks, the same of all members.
    """

    key: Float[Array, "*E M K"]
    self_logit: Float[Array, "*E M"]
    self_value: Float[Array, "*E M d"]
    base: Float[Array, "*E M d"]
    memory: Float[Array, "1 M S"] | None = None


class Shared(NamedTuple):
    """What all models share: how tokens become keys' partners and values, and the read-out.

    Attributes:
        project: of tokens; of width 0 where tokens are used as they come.
        project_bias: of tokens; of width 0 where tokens are used as they come.
        value: [d, v] W_v W_o, centred; it stands on the left, see `scoring._values`.
        value_bias: [d] of the values.
        norm_scale: [d] of the block's LayerNorm.
        norm_bias: [d] of the same.
        head_norm_scale: [d] of the head's LayerNorm.
        head_norm_bias: [d] of the same.
        head: [d] to the score.
        head_bias: of the score.
    """

    project: Float[Array, "*E D p"]
    project_bias: Float[Array, "*E p"]
    value: Float[Array, "*E d v"]
    value_bias: Float[Array, "*E d"]
    norm_scale: Float[Array, "*E d"]
    norm_bias: Float[Array, "*E d"]
    head_norm_scale: Float[Array, "*E d"]
    head_norm_bias: Float[Array, "*E d"]
    head: Float[Array, "*E d"]
    head_bias: Float[Array, "*E"]


class RowMaps(NamedTuple):
    """How a model token theta becomes its row of a chunk: linear maps, and theta's own logit.

    Attributes:
        key: [E, d, K] of what class centres are compared with.
        self_logit: [E, d, d] of the logit of theta with itself, a quadratic form.
        self_shift: [E, d] of the same logit, its linear part.
        self_value: [E, d, d] of what theta adds to its own average.
        output_bias: [E, d].
    """

    key: Float[Array, "*E d K"]
    self_logit: Float[Array, "*E d d"]
    self_shift: Float[Array, "*E d"]
    self_value: Float[Array, "*E d d"]
    output_bias: Float[Array, "*E d"]


class Checkpoint(NamedTuple):
    """An ensemble ready to score.

    Attributes:
        chunks: padded rows of its models, [E, m, ...]; one stack [n, E, m, ...] of them where the
            kind's loop over chunks is compiled.
        shared: what all models share.
        models: M.
        form: "many" or "few".
        kind: of the device that scores.
        memory_weights: how a new task weighs the remembered ones.
        maps: that made the rows of a model from its token.
    """

    chunks: tuple[ModelRows, ...]
    shared: Shared
    models: int
    form: str
    kind: DeviceKind
    maps: RowMaps
    memory_weights: MemoryWeights | None = None


def form_for(models: int) -> str:
    """The form that is faster for so many models [measured in bench/speed/scoring_forms.py].

    >>> [form_for(M) for M in (1, FEW_UP_TO, FEW_UP_TO + 1)]
    ['few', 'few', 'many']
    """
    return "few" if models <= FEW_UP_TO else "many"


def chunk_rows(form: str, members: int, d: int, kind: DeviceKind | None = None) -> int:
    """Rows of a chunk of a spider of so many members and width d: for its life on a kind of device.

    >>> from spider_jax.runtime.device_kinds import CPU, GPU
    >>> sizes = ((1, 64), (1, 128), (1, 256), (1, 1024), (5, 256), (5, 1024))
    >>> [chunk_rows("many", E, d, CPU) for E, d in sizes]
    [512, 512, 512, 512, 256, 128]
    >>> [chunk_rows("many", E, d, GPU) for E, d in sizes]
    [65536, 32768, 16384, 16384, 16384, 16384]
    >>> chunk_rows("few", 5, 1024, CPU)
    24
    """
    kind = kind or default_kind()
    if form == "few":
        return kind.rows[form]
    within = 1 << (max(1, kind.chunk_numbers // (members * d)).bit_length() - 1)
    return min(kind.rows[form], max(kind.least_rows, within))


def fold_checkpoint(
    members: Weights,
    *,
    memory: Memory | None = None,
    form: str = "many",
    precision: str = "float32",
    kind: DeviceKind | None = None,
) -> Checkpoint:
    """Fold an ensemble: the shared products in float64 on the host, the rows chunk by chunk.

    Args:
        members: float32 weights with a leading axis of members E.
        memory: of training tasks, if the spider has one.
        form: "many" or "few", see the module; the same scores but for rounding.
        precision: "float32", or "bfloat16": operands of the two products of a pair in bfloat16,
            sums, softmax and read-out in float32 (scores move by about 2e-3).
        kind: of the device that will score; default: of JAX's default device.

    Returns:
        The checkpoint; O(M d^2) operations.

    Raises:
        InputError: another precision or form.
    """
    check_precision(precision)
    check_form(form)
    maps, shared = fold_shared(members, form)
    theta = np.asarray(members.theta)
    kind = kind or default_kind()
    size = chunk_rows(form, len(theta), theta.shape[-1], kind)
    targets = None if memory is None else np.ascontiguousarray(memory.targets.T)[None]
    device = None if kind.compiled_loop else one_core()  # None: where they are
    folded = (
        fold_chunk(maps, theta, targets, slice(start, start + size), size, precision)
        for start in range(0, theta.shape[1], size)
    )
    chunks = tuple(jax.device_put(rows, device) for rows in folded)
    shared, maps = jax.device_put((shared, maps), device)
    if kind.compiled_loop:
        chunks = (jax.tree.map(lambda *a: jnp.stack(a), *chunks),)
    kept = None if memory is None else memory.weights
    return Checkpoint(chunks, shared, theta.shape[1], form, kind, maps, kept)


def fold_chunk(
    maps: RowMaps,
    theta: Float32[np.ndarray, "E M d"],
    targets: Float32[np.ndarray, "1 M S"] | None,
    which: slice,
    size: int,
    precision: str,
) -> ModelRows:
    """Rows of models `which`, padded to `size`: theta [E, M, d], targets [1, M, S]."""
    rows = fold_rows(maps, padded(theta[:, which], size))
    rows = rows._replace(key=rows.key.astype(precision))
    if targets is not None:
        rows = rows._replace(memory=jnp.asarray(padded(targets[:, which], size)))
    return rows


def check_precision(precision: str) -> None:
    """Raise InputError unless it is one of PRECISIONS."""
    if precision not in PRECISIONS:
        raise InputError(f"precision must be one of {PRECISIONS}, got {precision!r}")


def check_form(form: str) -> None:
    """Raise InputError unless it is one of FORMS."""
    if form not in FORMS:
        raise InputError(f"form must be one of {FORMS}, got {form!r}")


def padded(rows: Shaped[np.ndarray, "E m ..."], size: int) -> Shaped[np.ndarray, "E size ..."]:
    """Rows [E, m, ...] with zero rows up to [E, size, ...]."""
    widths = [(0, 0), (0, size - rows.shape[1]), *[(0, 0)] * (rows.ndim - 2)]
    return np.pad(rows, widths)


def fold_shared(members: Weights, form: str = "many") -> tuple[RowMaps, Shared]:
    """The products of shared weights of every member, float64 on the host, rounded once."""
    folded = [_fold_member(w, form) for w in _members(members)]
    maps, shared = zip(*folded, strict=True)

    def stack(*arrays: NDArray[Any] | np.floating) -> Array:
        return jnp.asarray(np.stack(arrays), jnp.float32)

    return jax.tree.map(stack, *maps), jax.tree.map(stack, *shared)


def _members(members: Weights) -> list[Weights]:
    shared = [np.asarray(a, np.float64) for a in members[1:] if a is not None]
    return [Weights(None, *(a[e] for a in shared)) for e in range(len(shared[0]))]  # type: ignore[arg-type]


def _fold_member(w: Weights, form: str) -> tuple[RowMaps, Shared]:
    """One member's maps in NumPy; every matrix acts from the right."""
    D, d = w.project.shape
    logit = w.query @ w.key.T / d**0.5
    value = centre(w.value @ w.output)
    maps: dict[str, Any] = {"self_logit": logit, "self_value": value}
    shared: dict[str, Any] = {name: getattr(w, name) for name in Shared._fields[4:]}
    if form == "few" or RAW_TOKENS * d >= D:
        maps |= {"key": logit @ w.project.T, "self_shift": logit @ w.project_bias}
        shared |= {"project": w.project[:, :0], "project_bias": w.project_bias[:0]}
        shared |= {"value": w.project @ value, "value_bias": w.project_bias @ value}
    else:
        maps |= {"key": logit, "self_shift": np.zeros(d)}
        shared |= {"project": w.project, "project_bias": w.project_bias}
        shared |= {"value": value, "value_bias": np.zeros(d)}
    shared["value"] = shared["value"].T
    return RowMaps(output_bias=w.output_bias, **maps), Shared(**shared)


def centre(a: Any) -> Any:
    """`a` without its mean over the last axis."""
    return a - a.mean(-1, keepdims=True)


@jax.jit
def fold_rows(maps: RowMaps, theta: Float[Array, "E m d"]) -> ModelRows:
    """The rows of one chunk of model tokens."""
    own = dot(theta, maps.self_logit) - maps.self_shift[:, None]
    return ModelRows(
        key=dot(theta, maps.key),
        self_logit=(own * theta).sum(-1),
        self_value=dot(theta, maps.self_value),
        base=centre(theta + maps.output_bias[:, None]),
    )


def dot(a: Array, b: Array) -> Array:
    """a @ b with float32 sums: exact products for float32, as they are for bfloat16."""
    return jnp.matmul(a, b, precision=PRECISION, preferred_element_type=jnp.float32)
