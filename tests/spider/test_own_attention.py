"""The best models looked at with their own features: exact, whatever is not there, one by one."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from spider_jax import Spider
from spider_jax.spider.attention import score_with_own
from spider_jax.spider.own_attention import first_pass, general_score, score_again
from spider_jax.spider.rerank import in_front
from spider_jax.spider.weights import OwnTokens, Weights
from spider_jax.tasks.tokens import TaskTokens
from support.published_torch import NAMES, OWN, published_state, tasks
from support.references import ranking_and_spider as reference

D, WIDTH = 10, 16
MODELS = ("resnet", *(f"model {i}" for i in range(5)), "vit.b16")


def full_attention(
    state: dict[str, Any], model: str, tokens: NDArray[Any], own: NDArray[Any] | None
) -> float:
    """float64, over the whole sequence [theta; general tokens; own tokens]."""
    params = {short: state[name] for short, name in NAMES.items()}
    extra = None
    if own is not None:
        P = np.float64(state[f"hete_linears.{model}.weight"])
        extra = np.float64(own) @ P.T + state[f"hete_linears.{model}.bias"]
    theta = state["model_prompt"][0, MODELS.index(model)]
    return reference.full_attention_score(params, theta, tokens, extra)


def looked(spider: Spider, tokens: NDArray[Any], own: dict[str, NDArray[Any]]) -> dict[str, float]:
    """Scores of the models of `own` by a second look."""
    assert spider.own is not None
    rows = [spider.models.index(name) for name in own]
    theta = np.asarray(spider.weights.theta)[:, rows]
    seen = first_pass(spider.folded, theta, TaskTokens(tokens), spider.token_scaling)
    return {
        name: float(
            score_again(spider.folded, theta, seen, spider.own.of(row), own[name], i).mean()
        )
        for i, (name, row) in enumerate(zip(own, rows, strict=True))
    }


@pytest.mark.parametrize("form", ["many", "few"])
@pytest.mark.parametrize("h", [1, 2, 7, 8, 9, 33, 100, 400])
@pytest.mark.parametrize("classes", [1, 12, 130])
def test_equal_to_full_attention_over_all_tokens(form: str, h: int, classes: int) -> None:
    state = published_state(MODELS, D=D)
    spider = Spider.from_torch(state, models=MODELS, form=form)
    (tokens,) = tasks(classes, D=D)
    rng = np.random.default_rng(h)
    own = {name: rng.normal(size=(h, width)).astype(np.float32) for name, width in OWN.items()}
    found = looked(spider, tokens, own)
    expected = {name: full_attention(state, name, tokens, own[name]) for name in own}
    assert found == pytest.approx(expected, abs=2e-6, rel=0)
    general = [full_attention(state, name, tokens, None) for name in own]
    assert np.abs(np.array(list(expected.values())) - general).max() > 1e-3


@pytest.mark.parametrize("scale", [1e-3, 30.0])
def test_equal_where_one_side_takes_all_attention(scale: float) -> None:
    """Logits of own tokens far above and far below the others: nothing overflows."""
    state = published_state(MODELS, D=D)
    spider = Spider.from_torch(state, models=MODELS)
    (tokens,) = tasks(9, D=D)
    rng = np.random.default_rng(0)
    own = {n: (scale * rng.normal(size=(5, w))).astype(np.float32) for n, w in OWN.items()}
    expected = {name: full_attention(state, name, tokens, own[name]) for name in own}
    assert looked(spider, tokens, own) == pytest.approx(expected, abs=2e-6, rel=0)


def test_without_own_tokens_it_is_the_first_pass() -> None:
    spider = Spider.from_torch(published_state(MODELS, D=D), models=MODELS)
    (tokens,) = tasks(9, D=D)
    theta = np.asarray(spider.weights.theta)
    seen = first_pass(spider.folded, theta, TaskTokens(tokens), spider.token_scaling)
    general = general_score(spider.folded, seen).mean(0)
    np.testing.assert_allclose(general, spider.scores([tokens])[0], rtol=0, atol=2e-6)


def test_a_score_does_not_depend_on_who_else_is_looked_at() -> None:
    spider = Spider.from_torch(published_state(MODELS, D=D), models=MODELS)
    (tokens,) = tasks(9, D=D)
    rng = np.random.default_rng(0)
    own = {name: rng.normal(size=(6, w)).astype(np.float32) for name, w in OWN.items()}
    both = looked(spider, tokens, own)
    alone = {name: looked(spider, tokens, {name: own[name]})[name] for name in own}
    backwards = looked(spider, tokens, dict(reversed(own.items())))
    assert both == alone == backwards


def test_training_sees_the_same_scores() -> None:
    """`score_with_own`, padded, against the second look of the spider with these weights."""
    state = published_state(MODELS, D=D)
    spider = Spider.from_torch(state, models=MODELS)
    assert spider.own is not None
    sizes = (4, 7)
    given = tasks(*sizes, D=D)
    rng = np.random.default_rng(1)
    C, q = 8, WIDTH
    raw = [{n: rng.normal(size=(c, w)).astype(np.float32) for n, w in OWN.items()} for c in sizes]
    tokens, mask = np.zeros((2, C, D), np.float32), np.arange(C)[None] < np.array(sizes)[:, None]
    own = np.zeros((2, 2, C, q), np.float32)
    rows = np.array([MODELS.index(name) for name in OWN], np.int32)
    for t, c in enumerate(sizes):
        tokens[t, :c] = given[t]
        for r, (name, centres) in enumerate(raw[t].items()):
            own[t, r, :c] = centres @ spider.own.of(MODELS.index(name)).matrix
    weights = Weights(
        **{name: array[0] for name, array in spider.weights.arrays().items()},
        own_project=jnp.asarray(spider.own.project[0]),
        own_bias=jnp.asarray(spider.own.bias[0]),
    )
    chosen = OwnTokens(jnp.asarray(own), jnp.asarray(np.tile(rows, (2, 1))))
    found = score_with_own(weights, jnp.asarray(tokens), jnp.asarray(mask), chosen)
    for t in range(2):
        expected = looked(spider, given[t], raw[t])
        np.testing.assert_allclose(found[t], list(expected.values()), rtol=0, atol=2e-6)


# ---- the order among those that were looked at ---------------------------------------------------


@pytest.mark.parametrize("keep", [True, False])
def test_those_looked_at_stay_in_front(keep: bool) -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        first = rng.normal(size=9)
        seen = np.argsort(-first, kind="stable")[: int(rng.integers(1, 9))]
        z = 3 * rng.normal(size=len(seen))
        new = in_front(first, seen, z, keep=keep)
        rest = np.setdiff1d(np.arange(9), seen)
        assert (new[rest] == first[rest]).all()
        assert np.float32(new[seen].min()) > np.float32(first[rest].max())
        wanted = (first[seen] if keep else 0) + first.std() * z
        assert (np.argsort(-new[seen]) == np.argsort(-wanted)).all()
        np.testing.assert_allclose(np.diff(new[seen]), np.diff(wanted), atol=1e-12)


def test_one_that_was_not_looked_at_keeps_its_place() -> None:
    """The best model has no features: it stays best, the other two change places behind it."""
    first = np.array([9.0, 5.0, 4.0, 1.0])
    new = in_front(first, np.array([1, 2]), np.array([-1.0, 1.0]), keep=False)
    assert np.argsort(-new).tolist()[-1] == 3
    assert new[0] == 9
    assert new[2] > new[1] > 1
