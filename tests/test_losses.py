"""The Plackett-Luce loss against its sum, its probabilities and float64 derivatives of both."""

import math
from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from spider_jax.losses import plackett_luce_loss

EXAMPLES = settings(max_examples=30)
SIZES = st.sampled_from([2, 6])  # every size compiles
SMALL = st.integers(-3, 3).map(float)  # many ties


@st.composite
def lists(draw, spread=20):
    """(scores, targets), both float32 [M], targets with ties."""
    size = draw(SIZES)
    scores = st.floats(-spread, spread, width=32)
    return tuple(draw(hnp.arrays(np.float32, size, elements=e)) for e in (scores, SMALL))


def random_list(size, spread, seed=0, ties=True):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, size // 2, size) if ties else rng.permutation(size)
    return np.float32(spread * rng.uniform(-0.5, 0.5, size)), np.float32(targets)


@jax.jit
def loss(scores, targets, where=None):
    return plackett_luce_loss(scores, targets, where=where)


@jax.jit
def gradient(scores, targets, where=None):
    return jax.grad(lambda s: plackett_luce_loss(s, targets, where=where).sum())(scores)


@jax.jit
@jax.grad
def explicit(s, targets, where):
    """d/ds of the O(M^2) form."""
    below = (targets[None] <= targets[:, None]) & where[None]
    tails = jax.nn.logsumexp(jnp.where(below, s[None], -jnp.inf), axis=1)
    return jnp.where(where, tails - s, 0).sum() / (where.sum() - 1).astype(s.dtype)


def explicit_gradient(scores, targets, where=None):
    """`explicit` in float64."""
    where = np.ones(len(scores), bool) if where is None else where
    with jax.enable_x64(True):
        return np.asarray(explicit(np.float64(scores), targets, where))


# ---- values -----------------------------------------------------------------------------------


@given(pair=lists())
@EXAMPLES
def test_the_loss_is_its_sum(pair):
    np.testing.assert_allclose(loss(*pair), reference.plackett_luce(*pair), rtol=1e-5, atol=1e-5)


def test_the_loss_in_float64_is_its_sum_to_rounding():
    with jax.enable_x64(True):
        for spread in (1, 30, 1e4):
            pair = [np.float64(a) for a in random_list(24, spread)]
            found = float(loss(*pair))
            assert found == pytest.approx(reference.plackett_luce(*pair), rel=1e-13)


def test_without_ties_the_loss_is_minus_ln_of_the_probability():
    scores = np.array([0.5, -1.0, 2.0, 0.25], np.float32)
    for order in permutations(range(4)):
        targets = np.zeros(4, np.float32)
        targets[list(order)] = [4, 3, 2, 1]
        probability = reference.plackett_luce_probability(scores, order)
        assert 3 * loss(scores, targets) == pytest.approx(-math.log(probability), rel=1e-5)


@pytest.mark.parametrize("size", [2, 4, 6])
def test_the_probabilities_of_all_orders_sum_to_one(size):
    scores, _ = random_list(size, 6)
    targets = np.array(list(permutations(range(size))), np.float32)
    losses = loss(np.broadcast_to(scores, targets.shape), targets)
    assert np.exp(-np.float64(losses) * (size - 1)).sum() == pytest.approx(1, abs=1e-5)


def test_by_hand():
    # Best first 1, 0: ln(e^0 + e^ln3) - ln 3 + 0 = ln 4/3. Tied: 2 ln 4 - ln 3.
    scores = np.float32([0, np.log(3)])
    assert loss(scores, np.float32([1, 2])) == pytest.approx(np.log(4 / 3), rel=1e-6)
    assert loss(scores, np.float32([5, 5])) == pytest.approx(np.log(16 / 3), rel=1e-6)


@given(pair=lists(spread=5), shift=st.integers(-64, 64))
@EXAMPLES
def test_a_constant_added_to_the_scores_changes_nothing(pair, shift):
    scores, targets = pair
    np.testing.assert_allclose(loss(scores + shift, targets), loss(*pair), atol=1e-4)
    np.testing.assert_allclose(gradient(scores + shift, targets), gradient(*pair), atol=1e-4)


@given(pair=lists(), data=st.data())
@EXAMPLES
def test_the_order_of_items_does_not_count(pair, data):
    moved = list(data.draw(st.permutations(range(len(pair[0])))))
    np.testing.assert_allclose(loss(*(a[moved] for a in pair)), loss(*pair), rtol=1e-6, atol=1e-6)


@given(pair=lists())
@EXAMPLES
def test_only_the_order_of_the_targets_counts(pair):
    scores, targets = pair
    assert loss(scores, np.exp(targets)) == loss(scores, targets)


# ---- gradients --------------------------------------------------------------------------------


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("spread", [1, 10, 30])
def test_the_gradient_is_that_of_the_explicit_sum(spread, ties):
    pair = random_list(24, spread, ties=ties)
    expected = explicit_gradient(*pair)
    size = np.abs(expected).max()
    np.testing.assert_allclose(gradient(*pair), expected, rtol=1e-5, atol=1e-5 * size)


@pytest.mark.parametrize("ties", [False, True])
def test_the_gradient_is_the_slope_of_the_reference(ties):
    scores, targets = (np.float64(a) for a in random_list(6, 4, ties=ties))
    step = 1e-5
    slopes = [
        (
            reference.plackett_luce(scores + step * e, targets)
            - reference.plackett_luce(scores - step * e, targets)
        )
        / (2 * step)
        for e in np.eye(6)
    ]
    with jax.enable_x64(True):
        found = np.asarray(gradient(scores, targets))
    np.testing.assert_allclose(found, slopes, atol=1e-8)


def test_the_gradient_sums_to_zero():  # as the loss does not change with a constant
    assert np.asarray(gradient(*random_list(24, 10))).sum() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("agree", [1, -1])
def test_a_huge_spread_stays_finite(agree):
    scores, _ = random_list(24, 1e4)
    targets = agree * scores
    found, slope = loss(scores, targets), gradient(scores, targets)
    assert found == pytest.approx(reference.plackett_luce(scores, targets), rel=1e-6, abs=1e-2)
    np.testing.assert_allclose(slope, explicit_gradient(scores, targets), rtol=1e-3, atol=1e-3)


# ---- masks and batches ------------------------------------------------------------------------


@given(pair=lists(), data=st.data())
@EXAMPLES
def test_a_masked_item_is_not_there(pair, data):
    where = data.draw(hnp.arrays(bool, len(pair[0])))
    scores, targets = pair
    found, slope = loss(*pair, where), np.asarray(gradient(*pair, where))
    assert (slope[~where] == 0).all()
    if where.sum() < 2:
        assert found == 0
        assert (slope == 0).all()
        return
    expected = reference.plackett_luce(scores[where], targets[where])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    expected = explicit_gradient(scores, targets, where)
    size = max(1, np.abs(expected).max())
    np.testing.assert_allclose(slope, expected, rtol=1e-5, atol=1e-5 * size)


@pytest.mark.parametrize("hidden", [np.inf, -np.inf, np.nan, 3e38])
def test_what_stands_behind_a_mask_does_not_count(hidden):
    scores, targets = random_list(6, 4)
    where = np.arange(6) < 4
    changed = np.where(where, scores, np.float32(hidden)), np.where(where, targets, np.float32(7))
    assert loss(*changed, where) == loss(scores, targets, where)
    np.testing.assert_array_equal(gradient(*changed, where), gradient(scores, targets, where))


@pytest.mark.parametrize("size", [1, 6])
@pytest.mark.parametrize("valid", [0, 1])
def test_fewer_than_two_items_have_no_order(size, valid):
    scores = targets = np.ones(size, np.float32)
    where = np.arange(size) < valid
    assert loss(scores, targets, where) == 0
    np.testing.assert_array_equal(gradient(scores, targets, where), np.zeros(size))


def test_nan_stays_visible():
    scores, targets = random_list(6, 4)
    scores[2] = np.nan
    assert np.isnan(loss(scores, targets))


def test_a_batch_is_its_lists_one_by_one():
    rng, batch = np.random.default_rng(1), (2, 3)
    scores = rng.normal(size=(*batch, 6)).astype(np.float32)
    targets = rng.integers(0, 4, (*batch, 6)).astype(np.float32)
    where = rng.random((*batch, 6)) < 0.7
    found, slope = loss(scores, targets, where), np.asarray(gradient(scores, targets, where))
    assert found.shape == batch
    for at in np.ndindex(batch):
        one = scores[at], targets[at], where[at]
        np.testing.assert_allclose(found[at], loss(*one), rtol=1e-6)
        np.testing.assert_allclose(slope[at], gradient(*one), rtol=1e-6, atol=1e-7)


def test_vmap_changes_nothing():
    scores, targets = (
        np.stack(a) for a in zip(*(random_list(6, 4, s) for s in range(3)), strict=True)
    )
    together = loss(scores, targets)
    np.testing.assert_allclose(jax.vmap(loss)(scores, targets), together, rtol=1e-6)
