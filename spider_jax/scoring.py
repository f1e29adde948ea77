"""Exact scores of all model-task pairs, compiled: 4 C d operations a pair.

The sum of `attention`, folded further once per checkpoint:
- the mean over d that the first layer norm takes off is taken off what is folded;
- where the tokens are not much wider than d, U goes into the keys and into W_o W_v, so that tokens
  are used as they come: <key_m, U mu + b> = <U^T key_m, mu> + <key_m, b>, and what is the same for
  all tokens of a model is taken from its self logit instead.

Models are scored in padded chunks of one size by one order of products: a compiled sum of another
size adds in another order, so only thus a zoo that grows or shrinks leaves every other score as it
is, to the bit. Two forms are exact: "many" projects a task's tokens once for all models, "few"
averages a model's tokens before they are projected, which costs less for tens of models. A spider
keeps its form for life, so that the bits do not hang on the number of models.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from numpy.typing import NDArray

from spider_jax.attention import LAYER_NORM_EPSILON, Weights
from spider_jax.errors import InputError
from spider_jax.memory import Memory, Recall, recall
from spider_jax.scaling import Scaling, apply_scaling

# Rows of a chunk: small zoos are padded to it, large ones pay a call for each.
CHUNK = {"many": 1024, "few": 48}
PRECISIONS = ("float32", "bfloat16")
# Tokens up to so much wider than d are used as they come [measured in bench/bench_scoring.py].
RAW_TOKENS = 1.3
# Numbers of one intermediate [E, T, m, d] of a call: tasks are scored in blocks that respect it.
BLOCK = 1 << 21


class ModelRows(NamedTuple):
    """What is folded per model; a row depends on that model's token and the shared weights only.

    key: [..., M, K], K the width of what it meets: tokens or their projections. self_value and
    base are centred over d. memory: targets [1, M, S] on remembered tasks, of all members alike.
    """

    key: Float[Array, "*E M K"]
    self_logit: Float[Array, "*E M"]
    self_value: Float[Array, "*E M d"]
    base: Float[Array, "*E M d"]
    memory: Float[Array, "1 M S"] | None = None


class Shared(NamedTuple):
    """What all models share: how tokens become keys' partners and values, and the read-out.

    project, project_bias: of tokens; of width 0 where tokens are used as they come. value: in the
    form "few" [E, d, v], see `_late_values`.
    """

    project: Float[Array, "*E D p"]
    project_bias: Float[Array, "*E p"]
    value: Float[Array, "*E v d"]
    value_bias: Float[Array, "*E d"]
    norm_scale: Float[Array, "*E d"]
    norm_bias: Float[Array, "*E d"]
    head_norm_scale: Float[Array, "*E d"]
    head_norm_bias: Float[Array, "*E d"]
    head: Float[Array, "*E d"]
    head_bias: Float[Array, "*E"]


class RowMaps(NamedTuple):
    """How a model token theta becomes its row: linear maps and theta's own logit."""

    key: Float[Array, "*E d K"]
    self_logit: Float[Array, "*E d d"]
    self_shift: Float[Array, "*E d"]
    self_value: Float[Array, "*E d d"]
    output_bias: Float[Array, "*E d"]


class TaskSide(NamedTuple):
    """What a task brings to every pair: the partners of the keys and the centred values.

    values: of width 0 in the form "few", where partners are averaged and then projected. memory:
    how much every remembered task counts.
    """

    partners: Float[Array, "E T C K"]
    values: Float[Array, "E T C v"]
    mask: Bool[Array, "T C"]
    memory: Float[Array, "T S"] | None = None


class Checkpoint(NamedTuple):
    """An ensemble ready to score.

    chunks: padded rows of its models, [E, m, ...]; one stack [n, E, m, ...] of them where the loop
    over chunks is compiled. models: M. recall: how much remembered tasks count for a new one. maps:
    that made the rows of a model from its token.
    """

    chunks: tuple[ModelRows, ...]
    shared: Shared
    models: int
    form: str
    compiled_loop: bool
    maps: RowMaps
    recall: Recall | None = None


def fold_checkpoint(
    members: Weights,
    *,
    memory: Memory | None = None,
    form: str = "many",
    precision: str = "float32",
    compiled_loop: bool | None = None,
) -> Checkpoint:
    """Fold an ensemble: the shared products in float64 on the host, the rows chunk by chunk.

    Args:
        members: float32 weights with a leading axis of members E.
        memory: of training tasks, if the spider has one.
        form: "many" or "few", see the module; the same scores but for rounding.
        precision: "float32", or "bfloat16": operands of the two products of a pair in bfloat16,
            sums, softmax and read-out in float32 (scores move by about 2e-3).
        compiled_loop: over chunks; default: but on CPU, where a Python loop over compiled chunks
            is about twice as fast.

    Returns:
        The checkpoint; O(M d^2) operations.

    Raises:
        InputError: another precision or form.
    """
    check_precision(precision)
    check_form(form)
    maps, shared = fold_shared(members, form)
    theta, size = np.asarray(members.theta), CHUNK[form]
    targets = None if memory is None else np.ascontiguousarray(memory.targets.T)[None]
    chunks = tuple(
        fold_chunk(maps, theta, targets, slice(start, start + size), size, precision)
        for start in range(0, theta.shape[1], size)
    )
    loop = jax.default_backend() != "cpu" if compiled_loop is None else compiled_loop
    if loop:
        chunks = (jax.tree.map(lambda *a: jnp.stack(a), *chunks),)
    kept = None if memory is None else memory.recall
    return Checkpoint(chunks, shared, theta.shape[1], form, loop, maps, kept)


def fold_chunk(
    maps: RowMaps,
    theta: NDArray[np.float32],
    targets: NDArray[np.float32] | None,
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
    """Raise InputError unless it is a key of CHUNK."""
    if form not in CHUNK:
        raise InputError(f"form must be one of {tuple(CHUNK)}, got {form!r}")


def padded(rows: NDArray[Any], size: int) -> NDArray[Any]:
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
    value = _centre(w.value @ w.output)
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
    if form == "few":
        shared["value"] = shared["value"].T
    return RowMaps(output_bias=w.output_bias, **maps), Shared(**shared)


def _centre(a: Any) -> Any:
    return a - a.mean(-1, keepdims=True)


@jax.jit
def fold_rows(maps: RowMaps, theta: Float[Array, "E m d"]) -> ModelRows:
    """The rows of one chunk of model tokens."""
    own = _dot(theta, maps.self_logit) - maps.self_shift[:, None]
    return ModelRows(
        key=_dot(theta, maps.key),
        self_logit=(own * theta).sum(-1),
        self_value=_dot(theta, maps.self_value),
        base=_centre(theta + maps.output_bias[:, None]),
    )


def _dot(a: Array, b: Array) -> Array:
    """a @ b with float32 sums: exact products for float32, as they are for bfloat16."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST, preferred_element_type=jnp.float32)


@partial(jax.jit, static_argnames="form")
def task_side(
    shared: Shared, tokens: Float[Array, "T C D"], mask: Bool[Array, "T C"], *, form: str = "many"
) -> TaskSide:
    """What the tasks bring to every pair, once per task and checkpoint."""

    def of_member(shared: Shared) -> tuple[Array, Array]:
        partners = tokens
        if shared.project.shape[1]:
            partners = _dot(tokens, shared.project) + shared.project_bias[None, None]
        if form == "few":
            return partners, partners[..., :0]
        return partners, _dot(partners, shared.value) + shared.value_bias[None, None]

    partners, values = jax.vmap(of_member)(shared)
    return TaskSide(partners, values, mask)


@jax.jit
def score_chunk(rows: ModelRows, shared: Shared, side: TaskSide) -> Float[Array, "E T m"]:
    """Scores of one chunk of models on a block of tasks by every member.

    The keys' type says in what type products are taken; what is summed is float32.
    """
    own = rows._replace(memory=None)
    scores = _score_all(own, shared, side.partners, side.values, side.mask)
    if rows.memory is None or side.memory is None:
        return scores
    return scores + _dot(side.memory, rows.memory[0].T)[None]


def _score_all(
    rows: ModelRows,
    shared: Shared,
    partners: Float[Array, "E T C K"],
    values: Float[Array, "E T C v"],
    mask: Bool[Array, "T C"],
) -> Float[Array, "E T m"]:
    """`_score` of every member on every task.

    A lone pair goes without batch axes: XLA on CPU copies an operand of a batched product, on one
    core, to transpose it, which is 7 % of a chunk's time [measured, 1000 models].
    """
    if partners.shape[:2] == (1, 1):
        rows, shared = jax.tree.map(lambda a: a[0], (rows, shared))
        return _score(rows, shared, partners[0, 0], values[0, 0], mask[0])[None, None]
    over_tasks = jax.vmap(_score, (None, None, 0, 0, 0))
    return jax.vmap(over_tasks, (0, 0, 0, 0, None))(rows, shared, partners, values, mask)


def _score(
    rows: ModelRows,
    shared: Shared,
    partners: Float[Array, "C K"],
    values: Float[Array, "C v"],
    mask: Bool[Array, " C"],
) -> Float[Array, " m"]:
    return read_out(shared, rows.base + attend(rows, shared, partners, values, mask).value)


class Attention(NamedTuple):
    """What models see of a task: value [m, d], the average; top [m], total [m] of its softmax.

    As softmax merges, more tokens can be added to these without the first ones.
    """

    value: Float[Array, "m d"]
    top: Float[Array, " m"]
    total: Float[Array, " m"]


def attend(
    rows: ModelRows,
    shared: Shared,
    partners: Float[Array, "C K"],
    values: Float[Array, "C v"],
    mask: Bool[Array, " C"],
) -> Attention:
    """The averaged values of models' own tokens and the task's, as far as they are centred."""
    kind = rows.key.dtype
    logits = jnp.where(mask[None], _dot(rows.key, partners.astype(kind).T), -jnp.inf)
    top = jnp.maximum(logits.max(-1), rows.self_logit)
    weights = jnp.exp(logits - top[:, None])
    self_weight = jnp.exp(rows.self_logit - top)
    total = weights.sum(-1) + self_weight
    scale = 1 / total
    weights = (weights * scale[:, None]).astype(kind)
    if values.shape[1]:
        attended = _dot(weights, values.astype(kind))
    else:
        attended = _late_values(shared, _dot(weights, partners.astype(kind)))
        attended += (1 - self_weight * scale)[:, None] * shared.value_bias[None]
    return Attention(attended + (self_weight * scale)[:, None] * rows.self_value, top, total)


def _late_values(shared: Shared, averaged: Float[Array, "m v"]) -> Float[Array, "m d"]:
    """Averaged partners as values, the large matrix on the left.

    XLA on CPU packs the right operand anew in every call: 48 rows by [1280, 1024] took 2.0 ms
    there and 0.7 ms on the left. Without the barriers it takes the transposes into the products,
    which then miss its fast kernels: 5.3 ms a call instead of 2.3 [42 models, 100 classes].
    """
    hold: Callable[[Array], Array] = jax.lax.optimization_barrier
    return hold(_dot(shared.value, hold(averaged).T)).T


def read_out(shared: Shared, h: Float[Array, "m d"]) -> Float[Array, " m"]:
    """head(LN(LN(h))) of rows whose mean is 0, from five sums over each row.

    With s = (|h|^2 / d + eps)^-1/2 the first norm gives z = s g h + b; b centred, the second
    needs |z - mean|^2 = s^2 (|g h|^2 - <g, h>^2 / d) + 2 s <g b, h> + |b|^2, and the head reads
    s <g (r - mean r), h> + <r, b>, r = gain of the second norm times head. Fewer passes over h
    than two norms take.
    """
    d = h.shape[-1]
    gain, bias = shared.norm_scale, _centre(shared.norm_bias)
    read = _centre(shared.head_norm_scale * shared.head)
    sums = _dot(h, jnp.stack([gain, gain * bias, gain * read], 1))
    total, shifted, answer = sums[:, 0], sums[:, 1], sums[:, 2]  # XLA takes .T into a slow product
    s = jax.lax.rsqrt((h * h).sum(-1) / d + LAYER_NORM_EPSILON)
    square = ((h * gain[None]) ** 2).sum(-1) - total**2 / d
    square = jnp.maximum(s * s * square + 2 * s * shifted + (bias * bias).sum(), 0)
    scale = jax.lax.rsqrt(square / d + LAYER_NORM_EPSILON)
    constant = (shared.head_norm_bias * shared.head).sum() + shared.head_bias
    return scale * (s * answer + (read * bias).sum()) + constant


@partial(jax.jit, static_argnames="form")
def _score_block(
    chunk: ModelRows,
    shared: Shared,
    tokens: Float[Array, "T C D"],
    mask: Bool[Array, "T C"],
    memory: Float[Array, "T S"] | None,
    *,
    form: str,
) -> Float[Array, "E T M"]:
    """Task side and scores in one call: of one chunk, or of a stack of them in a compiled loop."""
    side = task_side(shared, tokens, mask, form=form)._replace(memory=memory)
    if chunk.key.ndim == 3:
        return score_chunk(chunk, shared, side)
    scores = jax.lax.map(lambda rows: score_chunk(rows, shared, side), chunk)
    return jnp.moveaxis(scores, 0, 2).reshape(*scores.shape[1:3], -1)


def score_pairs(
    checkpoint: Checkpoint,
    tokens: NDArray[np.float32],
    mask: NDArray[np.bool_],
    scaling: Scaling | None = None,
    deviations: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Scores of all models on all tasks of one class bucket by every member of the ensemble.

    Never holds more than BLOCK numbers or one task's [E, m, d] of a chunk: not [T, M, d].

    Args:
        checkpoint: of `fold_checkpoint`. tokens: [T, C, D] padded. mask: [T, C] True where real.
        scaling: of the tokens; None where they are scaled, or their scaling is folded.
        deviations: [T, 2, D] for the memory, see `recall`.

    Returns:
        float32 [E, T, M].
    """
    form, blocks, first = checkpoint.form, [], 0
    for block, real in task_blocks(checkpoint.shared, tokens, mask, rows=CHUNK[form]):
        scaled = block if scaling is None else apply_scaling(scaling, block, real)
        spread = None if deviations is None else deviations[first : first + len(block)]
        memory = remembered(checkpoint.recall, scaled, real, block, spread)
        first += len(block)
        scores = [np.asarray(s) for s in _block_scores(checkpoint, scaled, real, memory)]
        blocks.append(scores[0] if len(scores) == 1 else np.concatenate(scores, axis=-1))
    joined = blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)
    return joined[:, : len(tokens), : checkpoint.models]


def remembered(
    kept: Recall | None,
    scaled: Any,
    mask: NDArray[np.bool_],
    tokens: NDArray[np.float32],
    deviations: NDArray[np.float32] | None,
) -> NDArray[np.float32] | None:
    """`recall` for tasks [T, C, ...], perhaps with padding after the last of `deviations`."""
    if kept is None:
        return None
    if deviations is not None and len(deviations) < len(mask):
        missing = len(mask) - len(deviations)
        deviations = np.pad(deviations, [(0, missing), (0, 0), (0, 0)])
    return recall(kept, np.asarray(scaled), mask, tokens, deviations)


def _block_scores(
    checkpoint: Checkpoint,
    tokens: Any,
    mask: NDArray[np.bool_],
    memory: NDArray[np.float32] | None,
) -> list[Array]:
    """Scores [E, T, m] of every chunk, all on their way before the first is waited for."""
    chunks, shared, form = checkpoint.chunks, checkpoint.shared, checkpoint.form
    if form == "few" or checkpoint.compiled_loop:
        return [_score_block(rows, shared, tokens, mask, memory, form=form) for rows in chunks]
    side = task_side(shared, tokens, mask, form=form)._replace(memory=memory)
    return [score_chunk(rows, shared, side) for rows in chunks]


def task_blocks(
    shared: Shared, tokens: NDArray[np.float32], mask: NDArray[np.bool_], *, rows: int
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
    """Tasks in blocks of a power of two, the last one padded: [E, T, rows, d] within BLOCK."""
    E, d = shared.head.shape
    most = 1 << max(0, (BLOCK // (E * d * rows)).bit_length() - 1)
    size = min(most, 1 << (len(tokens) - 1).bit_length())
    for start in range(0, len(tokens), size):
        block, real = tokens[start : start + size], mask[start : start + size]
        missing = size - len(block)
        if missing:
            block = np.pad(block, [(0, missing), (0, 0), (0, 0)])
            real = np.pad(real, [(0, missing), (0, 0)])
        yield block, real
