"""Tokens of new models: fitted to planted orders, each alone, all else frozen."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from spider_jax.onboarding import fit_tokens as fit_tokens_module
from spider_jax.onboarding.fit_tokens import CHUNK, FitProblem, NewTokens, fit_tokens
from spider_jax.spider.attention import score_tasks
from spider_jax.spider.weights import Weights
from spider_jax.tasks.scaling import Scaling
from spider_jax.training.own_features import OwnFeatures
from support.toy_index import toy_spider

pytestmark = pytest.mark.slow

E, S, C, D, Q = 2, 40, 4, 5, 3
Array = NDArray[np.float32]


def scores_of(weights: Weights, theta: Array, tokens: Array, mask: NDArray[np.bool_]) -> Array:
    """[E, S, n] of tokens theta [E, n, d], one member after another."""
    members = [jax.tree.map(lambda a, e=e: a[e], weights) for e in range(E)]
    own = [m._replace(theta=jnp.asarray(theta[e])) for e, m in enumerate(members)]
    given = jnp.asarray(tokens), jnp.asarray(mask)
    return np.stack([np.asarray(score_tasks(m, *given)) for m in own])


def planted(models: int, new: int, seed: int = 0) -> tuple[Weights, FitProblem, Array, Array]:
    """Orders that hidden tokens of the new models make, these, and where they begin: beside."""
    rng = np.random.default_rng(seed)
    weights = toy_spider(models, members=E, features=D).weights
    mask = np.arange(C)[None] < rng.integers(2, C + 1, S)[:, None]
    tokens = np.float32(rng.normal(size=(S, C, D)) * mask[..., None])
    hidden, apart = rng.normal(size=(2, E, new, 8)).astype(np.float32)
    theta = np.asarray(weights.theta)
    both = scores_of(weights, np.concatenate([theta, hidden], 1), tokens, mask).mean(0)
    prior, inside = np.zeros((E, S, models + new), np.float32), np.ones((E, S), np.float32)
    return (
        weights,
        FitProblem(tokens, mask, both, prior, inside, None),
        hidden,
        hidden + 0.2 * apart,
    )


def losses(weights: Weights, given: FitProblem, theta: Array) -> NDArray[np.float64]:
    """[n] mean Plackett-Luce loss of every new model alone among the known ones, in float64."""
    M = weights.theta.shape[1]
    whole = np.concatenate([np.asarray(weights.theta), theta], 1)
    found = np.float64(scores_of(weights, whole, given.tokens, given.mask) + given.prior)
    out = np.zeros((E, S, theta.shape[1]))
    for e, t, n in np.ndindex(out.shape):
        which = [*range(M), M + n]
        scores, targets = found[e, t, which], given.targets[t, which]
        sums = [np.log(np.exp(scores[targets <= y]).sum()) for y in targets]
        out[e, t, n] = (np.array(sums) - scores).sum() / M
    return out.mean((0, 1))


def test_tokens_find_their_place() -> None:
    weights, given, hidden, start = planted(12, 3)
    before = jax.tree.map(lambda a: np.asarray(a).tobytes(), weights)
    found, scalings = fit_tokens(weights, given, start)
    assert (found.project, found.bias, scalings) == (None, None, ())
    assert found.theta.shape == start.shape
    planted_at, first = (losses(weights, given, theta) for theta in (hidden, start))
    reached = losses(weights, given, found.theta)
    assert (reached < np.minimum(planted_at, first) - 0.002).all()  # likelihood beats the truth
    assert jax.tree.map(lambda a: np.asarray(a).tobytes(), weights) == before


def test_a_prior_that_says_it_all_leaves_little_to_learn() -> None:
    """What scores begin with counts: with the order in the prior the loss is small at once."""
    weights, given, _, start = planted(12, 2)
    sharp = 30 * (given.targets - given.targets.mean(1, keepdims=True))
    said = given._replace(prior=np.repeat(sharp[None], E, 0).astype(np.float32))
    found, _ = fit_tokens(weights, said, start)
    assert (losses(weights, said, found.theta) < 0.5 * losses(weights, given, start)).all()


def test_tasks_outside_teach_nothing() -> None:
    """A member whose tasks are all left out keeps its start; the other does not see these tasks."""
    weights, given, _, start = planted(12, 2)
    inside = np.stack([np.zeros(S), np.arange(S) % 2]).astype(np.float32)
    found, _ = fit_tokens(weights, given._replace(inside=inside), start)
    np.testing.assert_array_equal(found.theta[0], start[0])
    assert (found.theta[1] != start[1]).all()
    targets = given.targets.copy()
    targets[::2] *= -1
    other, _ = fit_tokens(weights, given._replace(inside=inside, targets=targets), start)
    np.testing.assert_array_equal(found.theta, other.theta)


def test_a_token_does_not_hang_on_its_place_or_company() -> None:
    weights, given, _, start = planted(12, CHUNK + 3)
    whole, _ = fit_tokens(weights, given, start)
    for n in (0, 5, CHUNK, CHUNK + 2):
        which = [*range(12), 12 + n]
        alone = given._replace(targets=given.targets[:, which], prior=given.prior[..., which])
        found, _ = fit_tokens(weights, alone, start[:, [n]])
        np.testing.assert_array_equal(found.theta[:, 0], whole.theta[:, n])


def test_many_known_models_are_met_by_anchors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spread over all, the first and the last among them; what others score does not matter."""
    monkeypatch.setattr(fit_tokens_module, "ANCHORS", 5)
    weights, given, _, start = planted(21, 1)
    found, _ = fit_tokens(weights, given, start)
    anchors = [0, 5, 10, 15, 20]
    which = [*anchors, 21]
    few = given._replace(targets=given.targets[:, which], prior=given.prior[..., which])
    less = weights._replace(theta=weights.theta[:, np.array(anchors)])
    expected, _ = fit_tokens(less, few, start)
    np.testing.assert_array_equal(found.theta, expected.theta)


def test_own_tokens_are_fitted_too() -> None:
    """Of every chunk the models asked for; the projection begins at one drawn matrix for all."""
    weights, given, _, start = planted(8, 2)
    rng = np.random.default_rng(1)
    own = rng.normal(size=(2, S, C, Q)).astype(np.float32)
    scaling = Scaling(np.zeros(Q, np.float32), np.eye(Q, dtype=np.float32), False)
    asked: list[list[int]] = []

    def read(which: NDArray[np.int64]) -> OwnFeatures:
        asked.append(which.tolist())
        tokens = own[which].swapaxes(0, 1) * given.mask[:, None, :, None]
        models = np.tile(np.arange(len(which), dtype=np.int32), (S, 1))
        return OwnFeatures((scaling,) * len(which), tokens, models)

    found, scalings = fit_tokens(weights, given._replace(own=read), start)
    assert isinstance(found, NewTokens)
    assert asked == [[0, 1]]
    assert len(scalings) == 2
    assert found.project.shape == (E, 2, Q, 8)
    assert found.bias.shape == (E, 2, 8)
    assert (found.bias != 0).any()
    assert (losses(weights, given, found.theta) < losses(weights, given, start)).all()
