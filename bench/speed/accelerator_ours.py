"""What accelerator.py times of ours: the library's compiled programs on arrays made on the device.

Letters: M models, C classes, d token width, B tasks of a step, N samples, D feature width.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from spider_jax.index.best import all_scores, nothing, update
from spider_jax.metrics.methods.logme import logme
from spider_jax.ranking.losses import plackett_luce_loss
from spider_jax.runtime.device_kinds import default_kind
from spider_jax.runtime.threads import one_core
from spider_jax.spider.attention import score_tasks
from spider_jax.spider.folding import Checkpoint, ModelRows, Shared, chunk_rows, fold_checkpoint
from spider_jax.spider.from_torch import read_state
from spider_jax.spider.scoring import _score_block, score_pairs, task_side
from spider_jax.spider.weights import Weights
from spider_jax.tasks.padding import PaddedTokens

EXTRACTOR, FOUND, RATE = 1280, 100, 2.5e-4
Call = Callable[[], Any]


class Timed(NamedTuple):
    """A call to be timed.

    Attributes:
        call: returns when it is done.
        operations: of it.
        needed: bytes that it must read or write once.
    """

    call: Call
    operations: float
    needed: float


def pair_operations(M: int, C: int, d: int) -> float:
    """Two products, softmax, five sums of the read-out.

    Args:
        M: models.
        C: classes.
        d: width.
    """
    return M * (4.0 * C * d + 5 * C + 16 * d)


def tokens_of(C: int, T: int = 1) -> PaddedTokens:
    """Raw tokens of tasks.

    Args:
        C: classes.
        T: tasks.
    """
    drawn = np.random.default_rng(C).standard_normal((T, C, EXTRACTOR), dtype=np.float32)
    return PaddedTokens(drawn / 4, np.ones((T, C), bool))


@partial(jax.jit, static_argnums=(1, 2, 3))
def _rows(key: jax.Array, m: int, d: int, precision: str) -> ModelRows:
    a, b, c = (jax.random.normal(k, (1, m, d)) / d**0.5 for k in jax.random.split(key, 3))
    return ModelRows(a.astype(precision), jnp.zeros((1, m)), b - b.mean(), c - c.mean())


def rows_of(M: int, m: int, d: int, precision: str = "float32") -> list[ModelRows]:
    """Random rows of M models in pieces of m.

    Args:
        M: models.
        m: of a piece.
        d: width.
        precision: of the keys.
    """
    keys = jax.random.split(jax.random.key(0), -(-M // m))
    return [_rows(key, m, d, precision) for key in keys]


def shared_of(d: int) -> Shared:
    """Random weights that all models share.

    Args:
        d: width.
    """
    keys = jax.random.split(jax.random.key(1), 10)
    shapes = (EXTRACTOR, d), (d,), (d, d), *((d,),) * 6, ()
    drawn = (jax.random.normal(k, (1, *s)) for k, s in zip(keys, shapes, strict=True))
    project, bias, value, *rest = drawn
    return Shared(project / EXTRACTOR**0.5, bias, value / d**0.5, *rest)


def scoring(M: int, C: int, d: int, precision: str) -> dict[str, Timed]:
    """M models on a task: on the device, and from host tokens to host scores.

    Args:
        M: models.
        C: classes.
        d: width.
        precision: of the products.
    """
    kind = default_kind()
    rows, shared, given = (
        rows_of(M, chunk_rows("many", 1, d, kind), d, precision),
        shared_of(d),
        tokens_of(C),
    )
    if kind.compiled_loop:
        rows = [jax.tree.map(lambda *a: jnp.stack(a), *rows)]
        where = None
    else:
        where = one_core()
    chunks, shared = jax.device_put((tuple(rows), shared), where)
    none: Any = None  # what made the rows is not asked for
    checkpoint = Checkpoint(chunks, shared, M, "many", kind, none)
    wide = {"float32": 4, "bfloat16": 2}[precision]
    work = pair_operations(M, C, d) + 2.0 * C * d * (EXTRACTOR + d), M * (d * (wide + 8.0) + 8)
    found = {"ours, whole call": Timed(lambda: score_pairs(checkpoint, given), *work)}
    if kind.compiled_loop:
        task = jax.device_put(given[:2])
        found["ours"] = Timed(
            lambda: jax.block_until_ready(
                _score_block(chunks[0], shared, *task, None, form="many")
            ),
            *work,
        )
    return found


def search(M: int, C: int, d: int, precision: str) -> dict[str, Timed]:
    """The best of M models whose rows lie on the device.

    Args:
        M: models.
        C: classes.
        d: width.
        precision: of the products.
    """
    span, device = default_kind().span, jax.devices()[0]
    rows, shared, given = rows_of(M, span, d, precision), shared_of(d), tokens_of(C)
    side = jax.block_until_ready(task_side(shared, *jax.device_put(given[:2])))
    alive = jnp.ones(span, bool)

    def call() -> Any:
        best = nothing(1, FOUND, device)
        for i, part in enumerate(rows):
            best = update(best, part, shared, side, alive, np.int32(i * span))
        return jax.device_get(best)

    wide = {"float32": 4, "bfloat16": 2}[precision]
    return {"ours": Timed(call, pair_operations(M, C, d), M * (d * (wide + 8.0) + 5))}


# ---- training --------------------------------------------------------------------------------


def step_operations(B: int, M: int, C: int, d: int) -> float:
    """Operations of a step in the form that `score_tasks` takes.

    A product forwards is two backwards, but for those with tokens, of which none has a gradient.

    Args:
        B: tasks.
        M: models.
        C: classes.
        d: width.
    """
    rest, square = B * M * (5.0 * C + 16 * d), 2.0 * d * d
    if M <= C:  # tokens are averaged as they come
        mapped = 2.0 * M * d * EXTRACTOR * (1 + B) + (2 * M + B * M + d) * square
        return 8.0 * B * M * C * EXTRACTOR + 3 * (mapped + rest)
    composed = (min(2 * M, M + d) + B * C + M + d) * square
    return 4.0 * B * C * d * EXTRACTOR + 3 * (composed + 4.0 * B * M * C * d + rest)


def loss_of(weights: Weights, tokens: Any, mask: Any, targets: Any) -> jax.Array:
    """Mean loss of tasks.

    Args:
        weights: of one member.
        tokens: [B, C, D].
        mask: [B, C].
        targets: [B, M].
    """
    return plackett_luce_loss(score_tasks(weights, tokens, mask), targets).mean()


@partial(jax.jit, donate_argnums=(0, 1))
def step(weights: Weights, moments: Any, count: Any, *task: Any) -> Any:
    """One step of Adam; written out, for optax is not needed here.

    Args:
        weights: of one member.
        moments: first and second.
        count: of steps.
        task: as for `loss_of`.
    """
    loss, slope = jax.value_and_grad(loss_of)(weights, *task)
    count = count + 1
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, moments[0], slope)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, moments[1], slope)
    scale = RATE * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
    weights = jax.tree.map(
        lambda w, m, v: w - scale * m / (jnp.sqrt(v) + 1e-8), weights, first, second
    )
    return weights, (first, second), count, loss


def weights_of(state: Any) -> Weights:
    """One member's weights of a published state.

    Args:
        state: published names -> arrays on the host.
    """
    models = [str(i) for i in range(state["model_prompt"].shape[1])]
    return jax.tree.map(lambda a: jnp.asarray(a[0]), read_state(state, models)[0])


def training(state: Any, tokens: Any, mask: Any, targets: Any, operations: float) -> Timed:
    """A step on one batch.

    Args:
        state: where it begins.
        tokens: [B, C, D].
        mask: [B, C].
        targets: [B, M].
        operations: of a step.
    """
    weights = weights_of(state)
    held = {"now": (weights, *_fresh(weights))}
    task = jax.device_put((tokens, mask, targets))

    def call() -> Any:
        *now, loss = step(*held["now"], *task)
        held["now"] = tuple(now)
        return jax.block_until_ready(loss)

    numbers = sum(leaf.size for leaf in jax.tree.leaves(weights))
    return Timed(call, operations, 4.0 * (6 * numbers + tokens.size + targets.size))


def _fresh(weights: Weights) -> Any:
    zeros = [jax.tree.map(jnp.zeros_like, weights) for _ in range(2)]
    return tuple(zeros), jnp.float32(0)


# ---- what correctness is checked on -----------------------------------------------------------


def scores_of(state: Any, given: PaddedTokens, form: str, precision: str) -> np.ndarray:
    """Scores [T, M] as a spider gives them.

    Args:
        state: published names -> arrays on the host.
        given: raw tokens.
        form: "many" or "few".
        precision: of the products.
    """
    weights = jax.tree.map(lambda a: a[None], weights_of(state))
    return score_pairs(fold_checkpoint(weights, form=form, precision=precision), given)[0]


def gradient_of(state: Any, *task: Any) -> tuple[float, np.ndarray]:
    """Loss, and its gradient by the models' tokens [M, d].

    Args:
        state: published names -> arrays on the host.
        task: as for `loss_of`.
    """
    loss, slope = jax.jit(jax.value_and_grad(loss_of))(weights_of(state), *task)
    return float(loss), np.asarray(slope.theta)


def scores_and_best(M: int, d: int, C: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of all rows of a search by the same call, and the rows that the search finds.

    Args:
        M: models.
        d: width.
        C: classes.
    """
    span = default_kind().span
    rows, shared, given = rows_of(M, span, d), shared_of(d), tokens_of(C)
    side = task_side(shared, *jax.device_put(given[:2]))
    scores = np.concatenate([np.asarray(all_scores(part, shared, side)) for part in rows])
    return scores, np.asarray(search(M, C, d, "float32")["ours"].call().rows[0])


def logme_of(features: np.ndarray, labels: np.ndarray) -> list[float]:
    """LogME of models.

    Args:
        features: [models, N, D].
        labels: [N].
    """
    return [logme(one, labels) for one in features]
