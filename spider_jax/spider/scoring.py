"""Exact scores of all model-task pairs, compiled: 4 C d operations a pair.

`folding` says what is folded, why in chunks of one size, and what the two forms are.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32
from numpy.typing import NDArray

from spider_jax.runtime.device_kinds import DeviceKind
from spider_jax.runtime.threads import aligned, over_cores, usable_cores
from spider_jax.spider.attention import LAYER_NORM_EPSILON
from spider_jax.spider.folding import Checkpoint, ModelRows, Shared, centre, dot
from spider_jax.spider.task_memory import MemoryWeights, memory_weights
from spider_jax.tasks.padding import PaddedTokens
from spider_jax.tasks.scaling import Scaling, apply_scaling

AVERAGED = 24  # classes of form "few": of more, averages are projected and not tokens
HALVED = 64  # from so many classes on two cores share what a task brings
SHORT = 4  # calls of "few", 50 us each, that take less time than to wake a thread for them


class TaskSide(NamedTuple):
    """What a task brings to every pair: the partners of the keys and the centred values.

    Attributes:
        partners: [E, T, C, K] what the models' keys are multiplied with.
        values: [E, T, C, d]; of width 0 in the form "few", where partners are averaged and then
            projected, unless there are few of them too.
        mask: [T, C] True where a class is real.
        memory: [T, S] how much each remembered task counts; None without a memory.
    """

    partners: Float[Array, "E T C K"]
    values: Float[Array, "E T C v"]
    mask: Bool[Array, "T C"]
    memory: Float[Array, "T S"] | None = None


@partial(jax.jit, static_argnames="form")
def task_side(
    shared: Shared, tokens: Float[Array, "T C D"], mask: Bool[Array, "T C"], *, form: str = "many"
) -> TaskSide:
    """What the tasks bring to every pair, once per task and checkpoint."""

    def of_member(shared: Shared) -> tuple[Array, Array]:
        partners = tokens
        if shared.project.shape[1]:
            partners = dot(tokens, shared.project) + shared.project_bias[None, None]
        if form == "few" and tokens.shape[1] > AVERAGED:
            return partners, partners[..., :0]  # fewer averages are left to project than tokens
        values = jax.vmap(partial(_values, shared))(partners)
        return partners, values + shared.value_bias[None, None]

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
    return scores + dot(side.memory, rows.memory[0].T)[None]


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
    """What models see of a task. More tokens can be merged into it without the first ones.

    Attributes:
        value: [m, d] the average of the values by the softmax.
        top: [m] largest logit.
        total: [m] sum of exp(logit - top).
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
    logits = jnp.where(mask[None], dot(rows.key, partners.astype(kind).T), -jnp.inf)
    top = jnp.maximum(logits.max(-1), rows.self_logit)
    weights = jnp.exp(logits - top[:, None])
    self_weight = jnp.exp(rows.self_logit - top)
    total = weights.sum(-1) + self_weight
    scale = 1 / total
    weights = (weights * scale[:, None]).astype(kind)
    if values.shape[1]:
        attended = dot(weights, values.astype(kind))
    else:
        attended = _values(shared, dot(weights, partners.astype(kind)))
        attended += (1 - self_weight * scale)[:, None] * shared.value_bias[None]
    return Attention(attended + (self_weight * scale)[:, None] * rows.self_value, top, total)


def _values(shared: Shared, partners: Float[Array, "C v"]) -> Float[Array, "C d"]:
    """Partners, or averages of them, as values: the large matrix on the left.

    XLA on CPU packs the right operand anew in every call: 48 rows by [1280, 1024] took 2.0 ms
    there and 0.7 ms on the left, and what it packs drives the models out of the cache. Without the
    barriers it takes the transposes into the products, which then miss its fast kernels: 5.3 ms a
    call instead of 2.3 [42 models, 100 classes].
    """
    hold: Callable[[Array], Array] = jax.lax.optimization_barrier
    return hold(dot(shared.value, hold(partners).T)).T


def read_out(shared: Shared, h: Float[Array, "m d"]) -> Float[Array, " m"]:
    """head(LN(LN(h))) of rows whose mean is 0, from five sums over each row.

    With s = (|h|^2 / d + eps)^-1/2 the first norm gives z = s g h + b; b centred, the second
    needs |z - mean|^2 = s^2 (|g h|^2 - <g, h>^2 / d) + 2 s <g b, h> + |b|^2, and the head reads
    s <g (r - mean r), h> + <r, b>, r = gain of the second norm times head. Fewer passes over h
    than two norms take.
    """
    d = h.shape[-1]
    gain, bias = shared.norm_scale, centre(shared.norm_bias)
    read = centre(shared.head_norm_scale * shared.head)
    sums = dot(h, jnp.stack([gain, gain * bias, gain * read], 1))
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
    """Task side and scores in one call: of one chunk, or of a stack of them in a compiled loop.

    Bits are those of two calls: the barrier keeps the side's programs as they are.
    """
    side = jax.lax.optimization_barrier(task_side(shared, tokens, mask, form=form))
    side = side._replace(memory=memory)
    if chunk.key.ndim == 3:
        return score_chunk(chunk, shared, side)
    scores = jax.lax.map(lambda rows: score_chunk(rows, shared, side), chunk)
    return jnp.moveaxis(scores, 0, 2).reshape(*scores.shape[1:3], -1)


def score_pairs(
    checkpoint: Checkpoint, tokens: PaddedTokens, scaling: Scaling | None = None
) -> Float32[np.ndarray, "E T M"]:
    """Scores of all models on all tasks of one class bucket by every member of the ensemble.

    Never holds more than the kind's `block_numbers` or one task's [E, m, d] of a chunk: not
    [T, M, d].

    Args:
        checkpoint: of `fold_checkpoint`.
        tokens: of T tasks, padded; their deviations are for the memory, see `memory_weights`.
        scaling: of the tokens; None where they are scaled, or their scaling is folded.

    Returns:
        float32 [E, T, M].
    """
    blocks, first = [], 0
    rows = checkpoint.chunks[0].base.shape[-2]
    deviations = tokens.deviations
    given_tasks = tokens.centres, tokens.mask
    kind = checkpoint.kind
    for block, real in task_blocks(checkpoint.shared, *given_tasks, rows=rows, kind=kind):
        scaled = block if scaling is None else apply_scaling(scaling, block, real)
        spread = None if deviations is None else deviations[first : first + len(block)]
        given = PaddedTokens(block, real, spread)
        memory = remembered(checkpoint.memory_weights, scaled, given)
        first += len(block)
        scores = _block_scores(checkpoint, scaled, real, memory)
        blocks.append(scores[0] if len(scores) == 1 else np.concatenate(scores, axis=-1))
    joined = blocks[0] if len(blocks) == 1 else np.concatenate(blocks, axis=1)
    return joined[:, : len(tokens.mask), : checkpoint.models]


def remembered(
    kept: MemoryWeights | None,
    scaled: Float32[Array, "T C p"] | Float32[np.ndarray, "T C p"],
    tokens: PaddedTokens,
) -> Float32[np.ndarray, "T S"] | None:
    """`memory_weights` of tasks, of which those at the end may be padding without deviations.

    Args:
        kept: how the spider's memory is weighed; None without a memory.
        scaled: [T, C, p] scaled class centres.
        tokens: of the T tasks, raw.

    Returns:
        float32 [T, S], None without a memory.
    """
    if kept is None:
        return None
    mask, deviations = tokens.mask, tokens.deviations
    if deviations is not None and len(deviations) < len(mask):
        missing = len(mask) - len(deviations)
        deviations = np.pad(deviations, [(0, missing), (0, 0), (0, 0)])
    return memory_weights(kept, np.asarray(scaled), mask, tokens.centres, deviations)


def _block_scores(
    checkpoint: Checkpoint,
    tokens: Any,
    mask: NDArray[np.bool_],
    memory: NDArray[np.float32] | None,
) -> list[NDArray[np.float32]]:
    """Scores [E, T, m] of every chunk."""
    if not checkpoint.kind.compiled_loop:
        return _scores_on_cores(checkpoint, np.asarray(tokens), mask, memory)
    chunks, shared, form = checkpoint.chunks, checkpoint.shared, checkpoint.form
    found = [_score_block(rows, shared, tokens, mask, memory, form=form) for rows in chunks]
    return [np.asarray(scores) for scores in found]  # all were on their way before


def _scores_on_cores(
    checkpoint: Checkpoint,
    tokens: NDArray[np.float32],
    mask: NDArray[np.bool_],
    memory: NDArray[np.float32] | None,
) -> list[NDArray[np.float32]]:
    """Scores [E, T, m] of every chunk: calls of one core each, of a chunk of models on a task."""
    chunks, shared, form = checkpoint.chunks, checkpoint.shared, checkpoint.form
    at_once = _side_in_every_call(checkpoint, *mask.shape)
    sides = [] if at_once else _sides_on_cores(shared, tokens, mask, form)

    def scores(pair: tuple[ModelRows, int]) -> NDArray[np.float32]:
        rows, t = pair
        recalled: Any = None if memory is None else memory[t : t + 1]
        if at_once:
            task = tokens[t : t + 1], mask[t : t + 1], recalled
            return np.asarray(_score_block(rows, shared, *task, form=form))
        return np.asarray(score_chunk(rows, shared, sides[t]._replace(memory=recalled)))

    pairs = [(rows, t) for t in range(len(tokens)) for rows in chunks]
    short = form == "few" and not at_once and len(pairs) <= SHORT
    found = [scores(pair) for pair in pairs] if short else over_cores(scores, pairs)
    n = len(chunks)
    return [np.concatenate(found[i::n], axis=1) for i in range(n)] if len(found) > n else found


def _side_in_every_call(checkpoint: Checkpoint, tasks: int, classes: int) -> bool:
    """Whether a call on a chunk makes the task's side too, instead of one call for all chunks.

    It does where models average tokens first, and where every core has at most one chunk to score:
    to wait for one core's side costs as much as to make it on each, and dealing twice costs more.
    """
    if checkpoint.form == "few":
        return classes > AVERAGED
    return tasks == 1 and classes < HALVED and len(checkpoint.chunks) <= len(usable_cores())


def _sides_on_cores(
    shared: Shared, tokens: NDArray[np.float32], mask: NDArray[np.bool_], form: str
) -> list[TaskSide]:
    """What every task brings; a lone task of many classes is dealt in two halves."""
    C = mask.shape[1]
    size = -(-C // 2) if len(tokens) == 1 and C >= HALVED else C
    parts = [
        (slice(t, t + 1), slice(start, start + size))
        for t in range(len(tokens))
        for start in range(0, C, size)
    ]
    found = over_cores(lambda part: task_side(shared, tokens[part], mask[part], form=form), parts)
    if size == C:
        return found
    return [_joined(*halves) for halves in zip(found[::2], found[1::2], strict=True)]


def _joined(*halves: TaskSide) -> TaskSide:
    """One task side of its halves, in memory that is read where it is."""

    def join(*arrays: Array, axis: int) -> NDArray[Any]:
        shape = list(arrays[0].shape)
        shape[axis] = sum(a.shape[axis] for a in arrays)
        out = aligned(tuple(shape), arrays[0].dtype)
        return np.concatenate([np.asarray(a) for a in arrays], axis, out=out)

    partners, values, mask, _ = zip(*halves, strict=True)
    return TaskSide(join(*partners, axis=2), join(*values, axis=2), join(*mask, axis=1))  # type: ignore[arg-type]


def task_blocks(
    shared: Shared,
    tokens: Float32[np.ndarray, "T C D"],
    mask: Bool[np.ndarray, "T C"],
    *,
    rows: int,
    kind: DeviceKind,
) -> Iterator[tuple[Float32[np.ndarray, "t C D"], Bool[np.ndarray, "t C"]]]:
    """Tasks in blocks of a power of two, the last padded: [E, T, rows, d] as the kind allows."""
    E, d = shared.head.shape
    most = 1 << max(0, (kind.block_numbers // (E * d * rows)).bit_length() - 1)
    size = min(most, 1 << (len(tokens) - 1).bit_length())
    for start in range(0, len(tokens), size):
        block, real = tokens[start : start + size], mask[start : start + size]
        missing = size - len(block)
        if missing:
            block = np.pad(block, [(0, missing), (0, 0), (0, 0)])
            real = np.pad(real, [(0, missing), (0, 0)])
        yield block, real
