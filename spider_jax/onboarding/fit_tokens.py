"""Tokens of new models fitted to their place among the known ones, all shared weights frozen.

Every new model is ranked alone among the known models, by the Plackett-Luce loss. Many are fitted
at once, in chunks of one size, so a model's token does not depend on which others are new.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Float32, Int64
from numpy.typing import NDArray

from spider_jax.ranking.losses import plackett_luce_loss
from spider_jax.runtime.progress import row_bar
from spider_jax.spider.attention import score_tasks, score_with_own
from spider_jax.spider.weights import OwnTokens, Weights
from spider_jax.tasks.scaling import Scaling
from spider_jax.training.own_features import OwnFeatures

CHUNK = 16  # models fitted together
STEPS, BATCH, RATE, WARM_UP = 200, 32, 3e-3, 20
ANCHORS = 512  # known models that a new one is ranked among, where there are more
SEED = 0


class FitProblem(NamedTuple):
    """Orders of M known models and n new ones, among which the new ones' tokens are fitted.

    Attributes:
        tokens: scaled class centres of S meta-tasks, padded with 0.
        mask: True where a token is a class.
        targets: orders, known models first.
        prior: what the scores of every member begin with.
        inside: how much a task counts for a member.
        own: gives the own features of some of the n new models, by position; None where the spider
            has no maps of own features.
    """

    tokens: Float32[np.ndarray, "S C p"]
    mask: Bool[np.ndarray, "S C"]
    targets: Float32[np.ndarray, "S M+n"]
    prior: Float32[np.ndarray, "E S M+n"]
    inside: Float[np.ndarray, "E S"]
    own: Callable[[Int64[np.ndarray, " k"]], OwnFeatures] | None


class NewTokens(NamedTuple):
    """What is fitted of n new models, for E members; on the host.

    Attributes:
        theta: their tokens.
        project: projections of their own class centres; None where the spider has none.
        bias: of these projections; None where the spider has none.
    """

    theta: Float[np.ndarray, "E n d"]
    project: Float[np.ndarray, "E n q d"] | None = None
    bias: Float[np.ndarray, "E n d"] | None = None


class _Batch(NamedTuple):
    """Some tasks for one chunk of m new models.

    Attributes:
        tokens: projected class centres, of every member.
        mask: True where a token is a class.
        known: scores of A known models.
        targets: of these models.
        prior: what the scores of the new models begin with.
        places: targets of the new models.
        weight: how much a task counts for a member.
        own: own class centres of the new models; None where the spider has no maps of these.
    """

    tokens: Float[Array, "E b C d"]
    mask: Bool[Array, "b C"]
    known: Float[Array, "E b A"]
    targets: Float[Array, "b A"]
    prior: Float[Array, "E b m"]
    places: Float[Array, "b m"]
    weight: Float[Array, "E b"]
    own: Float[Array, "b m C q"] | None


MEMBER_AXES = _Batch._make((0, None, 0, None, 0, None, 0, None))  # of members, None for all


def fit_tokens(
    weights: Weights,
    problem: FitProblem,
    start: Float32[np.ndarray, "E n d"],
    show_progress: bool = False,
) -> tuple[NewTokens, tuple[Scaling, ...]]:
    """Fit the tokens of new models, each alone among the known ones.

    STEPS steps of Adam on BATCH tasks; known models beyond ANCHORS are left out, evenly.

    Args:
        weights: of the spider, with a leading axis of E members and the M known tokens; frozen.
        problem: the orders.
        start: tokens to begin with.
        show_progress: a bar on stderr.

    Returns:
        Tokens of the n new models, on the host, and the scalings of their own features.
    """
    n, M = start.shape[1], weights.theta.shape[1]
    anchors = np.unique(np.linspace(0, M - 1, min(M, ANCHORS)).round().astype(int))
    frozen, seen = _projected(weights._replace(theta=weights.theta[:, anchors]), problem.tokens)
    known = _scores(frozen, seen, problem.mask) + problem.prior[:, :, anchors]
    parts: list[NewTokens] = []
    scalings: list[Scaling] = []
    with row_bar(n, "fitting tokens", show_progress) as bar:
        for first in range(0, n, CHUNK):
            real = np.arange(first, min(first + CHUNK, n))
            which = np.minimum(np.arange(first, first + CHUNK), n - 1)  # the last one is repeated
            own = None if problem.own is None else problem.own(real)
            found = _fit_chunk(
                frozen, problem, seen, own, known, start[:, which], which, anchors, M
            )
            parts.append(jax.tree.map(lambda a: np.asarray(a)[:, : len(real)], found))  # noqa: B023
            scalings += [] if own is None else own.scalings
            bar.update(len(real))
    joined: NewTokens = jax.tree.map(lambda *a: np.concatenate(a, axis=1), *parts)
    return joined, tuple(scalings)


def _projected(
    weights: Weights, tokens: NDArray[np.float32]
) -> tuple[Weights, NDArray[np.float32]]:
    """Every member's U mu + b [E, S, C, d], once for all steps; weights that project no more."""
    E, _, d = weights.project.shape
    blocks = [tokens[start : start + BATCH] for start in range(0, len(tokens), BATCH)]
    seen = [np.asarray(_project(weights.project, weights.project_bias, b)) for b in blocks]
    same = jnp.broadcast_to(jnp.eye(d, dtype=jnp.float32)[None], (E, d, d))
    plain = weights._replace(project=same, project_bias=jnp.zeros((E, d), jnp.float32))
    return plain, np.concatenate(seen, axis=1)


@jax.jit
def _project(project: Array, bias: Array, tokens: Array) -> Array:
    found = jnp.einsum("scp,epd->escd", tokens, project, precision="highest")
    return found + bias[:, None, None]


def _scores(
    weights: Weights, seen: NDArray[np.float32], mask: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """[E, S, M] of projected tokens, some tasks at a time."""
    blocks = [slice(start, start + BATCH) for start in range(0, len(mask), BATCH)]
    found = [np.asarray(_all_scores(weights, seen[:, b], mask[b])) for b in blocks]
    return np.concatenate(found, axis=1)


@jax.jit
def _all_scores(weights: Weights, seen: Array, mask: Array) -> Array:
    return jax.vmap(score_tasks, (0, 0, None))(weights, seen, mask)


def _fit_chunk(
    weights: Weights,
    problem: FitProblem,
    seen: NDArray[np.float32],
    own: OwnFeatures | None,
    known: NDArray[np.float32],
    start: NDArray[np.float32],
    which: NDArray[np.int64],
    anchors: NDArray[np.int64],
    models: int,
) -> NewTokens:
    """Tokens of the new models `which`."""
    E, _, d = start.shape
    tokens = NewTokens(start)
    if own is not None:
        q = own.tokens.shape[3]
        drawn = np.random.default_rng(SEED).normal(size=(E, 1, q, d)) / q**0.5
        project = np.repeat(drawn, len(which), axis=1).astype(np.float32)
        tokens = NewTokens(start, project, np.zeros_like(start))
    moments = _optimizer().init(tokens)
    rng = np.random.default_rng(SEED)
    for _ in range(STEPS):
        rows = rng.permutation(len(problem.tokens))[:BATCH]
        arrays: dict[str, Any] = {
            "tokens": seen[:, rows],
            "mask": problem.mask[rows],
            "known": known[:, rows],
            "targets": problem.targets[np.ix_(rows, anchors)],
            "prior": problem.prior[:, rows][:, :, models + which],
            "places": problem.targets[np.ix_(rows, models + which)],
            "weight": problem.inside[:, rows].astype(np.float32),
            "own": None if own is None else _own_rows(own, rows, which - which[0]),
        }
        tokens, moments = _step(weights, tokens, moments, _Batch(**arrays))
    return tokens


def _own_rows(
    own: OwnFeatures, rows: NDArray[np.int64], which: NDArray[np.int64]
) -> NDArray[np.float32]:
    """[b, m, C, q] own tokens of the models `which` on some tasks."""
    place = (own.models[rows][:, None, :] == which[None, :, None]).argmax(-1)
    return own.tokens[rows[:, None], place]


@jax.jit
def _step(
    weights: Weights, tokens: NewTokens, moments: optax.OptState, batch: _Batch
) -> tuple[NewTokens, optax.OptState]:
    """One step of Adam on the sum of all models' losses: each moves by its own alone."""

    def total(tokens: NewTokens) -> Array:
        of_member = jax.vmap(_loss, (0, 0, MEMBER_AXES))
        return of_member(weights, tokens, batch).sum()

    with jax.numpy_dtype_promotion("standard"):  # optax mixes int counts with float rates
        updates, moments = _optimizer().update(jax.grad(total)(tokens), moments, tokens)
    return jax.tree.map(jnp.add, tokens, updates), moments


def _loss(weights: Weights, tokens: NewTokens, batch: _Batch) -> Array:
    """Mean loss over a member's tasks, summed over the new models."""
    rows: dict[str, Any] = {"theta": tokens.theta}
    rows |= {"own_project": tokens.project, "own_bias": tokens.bias}
    new = weights._replace(**rows)
    scores = [score_tasks(new, batch.tokens, batch.mask)]
    if batch.own is not None:
        b, m = batch.own.shape[:2]
        chosen = OwnTokens(batch.own, jnp.broadcast_to(jnp.arange(m)[None], (b, m)))
        scores.append(score_with_own(new, batch.tokens, batch.mask, chosen))
    share = batch.weight / jnp.maximum(batch.weight.sum(), 1)
    losses = sum(_among(batch, found + batch.prior) for found in scores)
    return (losses * share[:, None]).sum()


def _among(batch: _Batch, scores: Array) -> Array:
    """[b, m] losses of every new model's score alone among the known ones."""

    def of_one(score: Array, place: Array) -> Array:
        both = jnp.concatenate([batch.known, score[:, None]], axis=1)
        return plackett_luce_loss(both, jnp.concatenate([batch.targets, place[:, None]], axis=1))

    over: Callable[..., Array] = jax.vmap(of_one, (1, 1), 1)
    return over(scores, batch.places)


def _optimizer() -> optax.GradientTransformation:
    schedule = optax.warmup_cosine_decay_schedule(0.0, RATE, WARM_UP, STEPS)
    return optax.adam(schedule)
