"""Tokens of new models fitted to their place among the known ones, all shared weights frozen.

Every new model is ranked alone among the known models, by the Plackett-Luce loss; many are fitted
at once, in chunks of one size, so that a model's token does not hang on who else comes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array
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
    """Orders with the known models first, M, and n new ones behind.

    tokens [S, C, p] scaled, mask [S, C]. targets [S, M + n]. prior [E, S, M + n]: what scores begin
    with. inside [E, S]: how much a task counts for a member. own: what gives the own features of
    some of the n new models, of a spider that looks at models.
    """

    tokens: NDArray[np.float32]
    mask: NDArray[np.bool_]
    targets: NDArray[np.float32]
    prior: NDArray[np.float32]
    inside: NDArray[np.floating]
    own: Callable[[NDArray[np.int64]], OwnFeatures] | None


class NewTokens(NamedTuple):
    """theta [E, n, d]; project [E, n, q, d] and bias [E, n, d] of a spider that looks at models."""

    theta: Any
    project: Any = None
    bias: Any = None


class _Batch(NamedTuple):
    """Some tasks for one chunk of m new models; known [E, b, A]: scores of known ones."""

    tokens: Any
    mask: Any
    known: Any
    targets: Any
    prior: Any
    places: Any
    weight: Any
    own: Any


def fit_tokens(
    weights: Weights, given: FitProblem, start: NDArray[np.float32], show_progress: bool = False
) -> tuple[NewTokens, tuple[Scaling, ...]]:
    """Fit the new models of an exercise.

    Args:
        weights: of the spider, [E, ...], with the M known tokens; frozen. given: the exercise.
        start: [E, n, d] tokens to begin with. show_progress: a bar on stderr.

    Returns:
        Tokens of the n new models, and the scalings of their own features.
    """
    n, M = start.shape[1], weights.theta.shape[1]
    anchors = np.unique(np.linspace(0, M - 1, min(M, ANCHORS)).round().astype(int))
    frozen, seen = _projected(weights._replace(theta=weights.theta[:, anchors]), given.tokens)
    known = _scores(frozen, seen, given.mask) + given.prior[:, :, anchors]
    parts: list[NewTokens] = []
    scalings: list[Scaling] = []
    with row_bar(n, "fitting tokens", show_progress) as bar:
        for first in range(0, n, CHUNK):
            real = np.arange(first, min(first + CHUNK, n))
            which = np.minimum(np.arange(first, first + CHUNK), n - 1)  # the last one is repeated
            own = None if given.own is None else given.own(real)
            found = _fit_chunk(frozen, given, seen, own, known, start[:, which], which, anchors, M)
            parts.append(jax.tree.map(lambda a: np.asarray(a)[:, : len(real)], found))  # noqa: B023
            scalings += [] if own is None else own.scalings
            bar.update(len(real))
    joined: NewTokens = jax.tree.map(lambda *a: np.concatenate(a, axis=1), *parts)
    return joined, tuple(scalings)


def _projected(
    weights: Weights, tokens: NDArray[np.float32]
) -> tuple[Weights, NDArray[np.float32]]:
    """Every member's U mu + b [E, S, C, d], once for all steps, and weights that leave it be."""
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


def _scores(weights: Weights, seen: NDArray[np.float32], mask: Any) -> NDArray[np.float32]:
    """[E, S, M] of projected tokens, some tasks at a time."""
    blocks = [slice(start, start + BATCH) for start in range(0, len(mask), BATCH)]
    found = [np.asarray(_all_scores(weights, seen[:, b], mask[b])) for b in blocks]
    return np.concatenate(found, axis=1)


@jax.jit
def _all_scores(weights: Weights, seen: Array, mask: Array) -> Array:
    return jax.vmap(score_tasks, (0, 0, None))(weights, seen, mask)


def _fit_chunk(
    weights: Weights,
    given: FitProblem,
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
        rows = rng.permutation(len(given.tokens))[:BATCH]
        batch = _Batch(
            seen[:, rows],
            given.mask[rows],
            known[:, rows],
            given.targets[np.ix_(rows, anchors)],
            given.prior[:, rows][:, :, models + which],
            given.targets[np.ix_(rows, models + which)],
            given.inside[:, rows].astype(np.float32),
            None if own is None else _own_rows(own, rows, which - which[0]),
        )
        tokens, moments = _step(weights, tokens, moments, batch)
    return tokens


def _own_rows(
    own: OwnFeatures, rows: NDArray[np.int64], which: NDArray[np.int64]
) -> NDArray[np.float32]:
    """[b, m, C, q] own tokens of the models `which` on some tasks."""
    place = (own.models[rows][:, None, :] == which[None, :, None]).argmax(-1)
    return own.tokens[rows[:, None], place]


@jax.jit
def _step(
    weights: Weights, tokens: NewTokens, moments: Any, batch: _Batch
) -> tuple[NewTokens, Any]:
    """One step of Adam on the sum of all models' losses: each moves by its own alone."""

    def total(tokens: NewTokens) -> Array:
        of_member = jax.vmap(_loss, (0, 0, _Batch(0, None, 0, None, 0, None, 0, None)))
        return of_member(weights, tokens, batch).sum()

    with jax.numpy_dtype_promotion("standard"):  # optax mixes int counts with float rates
        updates, moments = _optimizer().update(jax.grad(total)(tokens), moments, tokens)
    return jax.tree.map(jnp.add, tokens, updates), moments


def _loss(weights: Weights, tokens: NewTokens, batch: _Batch) -> Array:
    """Mean loss over a member's tasks, summed over the new models."""
    own = weights._replace(theta=tokens.theta, own_project=tokens.project, own_bias=tokens.bias)
    scores = [score_tasks(own, batch.tokens, batch.mask)]
    if batch.own is not None:
        b, m = batch.own.shape[:2]
        chosen = OwnTokens(batch.own, jnp.broadcast_to(jnp.arange(m)[None], (b, m)))
        scores.append(score_with_own(own, batch.tokens, batch.mask, chosen))
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
