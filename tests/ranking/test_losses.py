"""Every loss against its sum in float64; Plackett-Luce against its probabilities as well."""

import inspect
import math
from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from spider_jax.ranking import losses
from spider_jax.ranking.losses import LOSSES
from support.references import ranking_and_spider as reference

EXAMPLES = settings(max_examples=20)
SIZE = 6  # of most lists, as every size compiles; masks make shorter ones
SMALL = st.integers(-3, 3).map(float)  # many ties
ROUNDING = 2.0**-21
every_loss = pytest.mark.parametrize("name", LOSSES)


def listnet(scores, targets):
    """-sum_i p_i ln q_i with p = softmax(targets), q = softmax(scores)."""
    s, y = np.float64(scores), np.float64(targets)
    return sum(
        -math.exp(y[i] - np.logaddexp.reduce(y)) * (s[i] - np.logaddexp.reduce(s))
        for i in range(len(s))
    )


def pairwise(scores, targets):
    """mean over i, j with y_i > y_j of ln(1 + exp(s_j - s_i))."""
    s, y = np.float64(scores), np.float64(targets)
    places = range(len(s))
    found = [np.logaddexp(0, s[j] - s[i]) for i in places for j in places if y[i] > y[j]]
    return sum(found) / max(len(found), 1)


REFERENCES = {
    "plackett_luce": reference.plackett_luce,
    "listnet": listnet,
    "pairwise": pairwise,
}


def jitted(name):
    @jax.jit
    def loss(scores, targets, where=None):
        return LOSSES[name](scores, targets, where=where)

    @jax.jit
    def gradient(scores, targets, where=None):
        return jax.grad(lambda s: LOSSES[name](s, targets, where=where).sum())(scores)

    return loss, gradient


COMPILED = {name: jitted(name) for name in LOSSES}
loss, gradient = COMPILED["plackett_luce"]


@st.composite
def lists(draw, spread=20):
    """(scores, targets), both float32 [SIZE], targets with ties."""
    scores = st.floats(-spread, spread, width=32)
    return tuple(draw(hnp.arrays(np.float32, SIZE, elements=e)) for e in (scores, SMALL))


def random_list(size, spread, seed=0, ties=True):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, size // 2, size) if ties else rng.permutation(size)
    return np.float32(spread * rng.uniform(-0.5, 0.5, size)), np.float32(targets)


def random_batch(*batch, seed=1):
    """(scores, targets, where) [*batch, 6]."""
    rng, shape = np.random.default_rng(seed), (*batch, 6)
    scores, targets = rng.normal(size=shape), rng.integers(0, 4, shape)
    return np.float32(scores), np.float32(targets), rng.random(shape) < 0.7


def in_float64(function, *arrays):
    with jax.enable_x64(True):
        return np.asarray(function(*(np.float64(a) for a in arrays)))


def slopes(function, scores, step=1e-5):
    """Central differences of a float64 function."""
    s = np.float64(scores)
    sides = [(function(s + step * e), function(s - step * e)) for e in np.eye(len(s))]
    return np.array([(up - down) / (2 * step) for up, down in sides])


# ---- every loss: values and gradients ---------------------------------------------------------


@every_loss
@given(pair=lists())
@EXAMPLES
def test_the_loss_is_its_sum(name, pair):
    expected = REFERENCES[name](*pair)
    np.testing.assert_allclose(COMPILED[name][0](*pair), expected, rtol=1e-5, atol=1e-5)


@every_loss
@pytest.mark.parametrize("spread", [1, 30, 1e4])
def test_the_loss_in_float64_is_its_sum_to_rounding(name, spread):
    pair = random_list(24, spread)
    expected = REFERENCES[name](*pair)
    assert in_float64(COMPILED[name][0], *pair) == pytest.approx(expected, rel=1e-13)


@every_loss
@given(pair=lists(spread=5))
@EXAMPLES
def test_the_gradient_is_the_slope_of_the_sum(name, pair):
    expected = slopes(lambda s: REFERENCES[name](s, pair[1]), pair[0])
    np.testing.assert_allclose(in_float64(COMPILED[name][1], *pair), expected, atol=1e-8)


@every_loss
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("spread", [1, 10, 30, 1e4])
def test_the_gradient_in_float32_is_that_in_float64(name, spread, ties):
    pair = random_list(24, spread, ties=ties)
    expected = in_float64(COMPILED[name][1], *pair)
    size = np.abs(expected).max()
    np.testing.assert_allclose(COMPILED[name][1](*pair), expected, rtol=0, atol=1e-6 * size)


@every_loss
@given(pair=lists())
@EXAMPLES
def test_the_gradient_sums_to_zero(name, pair):  # as the loss does not change with a constant
    assert np.asarray(COMPILED[name][1](*pair)).sum() == pytest.approx(0, abs=1e-5)


@every_loss
@given(pair=lists(spread=5), shift=st.integers(-64, 64))
@EXAMPLES
def test_a_constant_added_to_the_scores_changes_nothing(name, pair, shift):
    scores, targets = pair
    for function in COMPILED[name]:
        shifted = function(scores + shift, targets)
        np.testing.assert_allclose(shifted, function(scores, targets), atol=1e-4)


@every_loss
@given(pair=lists(), data=st.data())
@EXAMPLES
def test_the_order_of_items_does_not_count(name, pair, data):
    moved = list(data.draw(st.permutations(range(len(pair[0])))))
    loss, gradient = COMPILED[name]
    there = [a[moved] for a in pair]
    np.testing.assert_allclose(loss(*there), loss(*pair), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(gradient(*there), gradient(*pair)[np.array(moved)], atol=1e-6)


@pytest.mark.parametrize("name", ["plackett_luce", "pairwise"])
@given(pair=lists())
@EXAMPLES
def test_only_the_order_of_the_targets_counts(name, pair):
    scores, targets = pair
    loss = COMPILED[name][0]
    assert loss(scores, np.exp(targets)) == loss(scores, targets)


def test_all_losses_have_one_signature():
    signatures = {str(inspect.signature(loss)) for loss in LOSSES.values()}
    assert len(signatures) == 1
    assert "(scores:" in signatures.pop()
    assert all(loss.__doc__ for loss in LOSSES.values())


# ---- every loss: masks and batches ------------------------------------------------------------


@every_loss
@given(pair=lists(), data=st.data())
@EXAMPLES
def test_a_masked_item_is_not_there(name, pair, data):
    where = data.draw(hnp.arrays(bool, len(pair[0])))
    loss, gradient = COMPILED[name]
    found, slope = loss(*pair, where), np.asarray(gradient(*pair, where))
    assert (slope[~where] == 0).all()
    if where.sum() < 2:
        assert found == 0
        assert (slope == 0).all()
        return
    scores, targets = (a[where] for a in pair)
    np.testing.assert_allclose(found, REFERENCES[name](scores, targets), rtol=1e-5, atol=1e-5)
    expected = slopes(lambda s: REFERENCES[name](s, targets), scores)
    np.testing.assert_allclose(slope[where], expected, rtol=1e-5, atol=1e-5)


@every_loss
@pytest.mark.parametrize("hidden", [np.inf, -np.inf, np.nan, 3e38])
def test_what_stands_behind_a_mask_does_not_count(name, hidden):
    scores, targets = random_list(6, 4)
    where = np.array([1, 0, 1, 1, 0, 1], bool)
    changed = [np.where(where, a, np.float32(hidden)) for a in (scores, targets)]
    for function in COMPILED[name]:
        np.testing.assert_array_equal(function(*changed, where), function(scores, targets, where))


@every_loss
@pytest.mark.parametrize("hidden", [np.inf, np.nan])
def test_what_stands_behind_a_mask_leaves_the_targets_their_gradient(name, hidden):
    scores, targets = random_list(6, 4)
    where = np.arange(6) < 4
    changed = [np.where(where, a, np.float32(hidden)) for a in (scores, targets)]
    slope = jax.jit(jax.grad(lambda s, y: COMPILED[name][0](s, y, where), argnums=1))(*changed)
    assert np.isfinite(slope).all()
    assert (np.asarray(slope)[4:] == 0).all()


@every_loss
def test_padding_changes_nothing(name):
    pair = random_list(6, 4)
    longer = [np.pad(a, (0, 3), constant_values=np.nan) for a in pair]
    where = np.arange(9) < 6
    loss, gradient = COMPILED[name]
    np.testing.assert_allclose(loss(*longer, where), loss(*pair), rtol=1e-6)
    np.testing.assert_allclose(gradient(*longer, where)[:6], gradient(*pair), atol=1e-7)


@every_loss
@pytest.mark.parametrize("size", [1, 6])
@pytest.mark.parametrize("valid", [0, 1])
def test_fewer_than_two_items_have_no_order(name, size, valid):
    scores = targets = np.ones(size, np.float32)
    where = np.arange(size) < valid
    loss, gradient = COMPILED[name]
    assert loss(scores, targets, where) == 0
    np.testing.assert_array_equal(gradient(scores, targets, where), np.zeros(size))


@every_loss
def test_nan_stays_visible(name):
    scores, targets = random_list(6, 4)
    holed = np.where(np.arange(6) == 2, np.float32(np.nan), targets)
    assert np.isnan(COMPILED[name][0](scores + (holed - targets), targets))
    assert np.isnan(COMPILED[name][0](scores, holed))


@every_loss
def test_a_batch_is_its_lists_one_by_one(name):
    given, (loss, gradient) = random_batch(2, 3), COMPILED[name]
    found, slope = loss(*given), np.asarray(gradient(*given))
    assert found.shape == (2, 3)
    for at in np.ndindex(2, 3):
        one = [a[at] for a in given]
        np.testing.assert_allclose(found[at], loss(*one), rtol=1e-6)
        np.testing.assert_allclose(slope[at], gradient(*one), rtol=1e-6, atol=1e-7)


@every_loss
def test_vmap_and_eager_change_nothing(name):
    given, (loss, gradient) = random_batch(3), COMPILED[name]
    together = loss(*given)
    np.testing.assert_allclose(jax.vmap(loss)(*given), together, rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(gradient)(*given), gradient(*given), atol=1e-7)
    scores, targets, where = (jnp.asarray(a[0]) for a in given)
    eager = LOSSES[name](scores, targets, where=where)
    np.testing.assert_allclose(eager, together[0], rtol=1e-6)


# ---- Plackett-Luce ----------------------------------------------------------------------------


def test_without_ties_the_loss_is_minus_ln_of_the_probability():
    scores = np.array([0.5, -1.0, 2.0, 0.25], np.float32)
    for order in permutations(range(4)):
        targets = np.zeros(4, np.float32)
        targets[list(order)] = [4, 3, 2, 1]
        probability = reference.plackett_luce_probability(scores, order)
        assert 3 * loss(scores, targets) == pytest.approx(-math.log(probability), rel=1e-5)


@pytest.mark.parametrize("size", [2, 3, 4, 5, 6])
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


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("spread", [1e2, 1e4, 1e6])
@pytest.mark.parametrize("agree", [1, 0, -1])
def test_a_huge_spread_costs_no_accuracy(agree, spread, ties):
    scores, targets = random_list(24, spread, ties=ties)
    targets = agree * np.round(scores / spread, 1 if ties else 7) if agree else targets
    expected = reference.plackett_luce(scores, targets)
    assert loss(scores, targets) == pytest.approx(expected, rel=ROUNDING, abs=ROUNDING)
    slope = in_float64(gradient, scores, targets)
    size = max(np.abs(slope).max(), 1 / len(scores))  # nothing is left to learn: all but zero
    np.testing.assert_allclose(gradient(scores, targets), slope, rtol=0, atol=1e-6 * size)


@pytest.mark.parametrize("agree", [1, 0, -1])
def test_a_long_list_costs_no_accuracy(agree):
    scores, targets = random_list(20000, 30)
    targets = agree * scores if agree else targets
    slope = in_float64(gradient, scores, targets)
    size = np.abs(slope).max()
    np.testing.assert_allclose(gradient(scores, targets), slope, rtol=0, atol=1e-6 * size)


@pytest.mark.parametrize("far", [-np.inf, np.inf])
def test_an_infinite_target_is_a_last_or_first_place(far):
    scores, targets = random_list(6, 4)
    where = np.array([1, 0, 1, 1, 0, 1], bool)
    place = np.isin(np.arange(6), [2, 5])  # two items tied there, with a masked one between
    infinite, finite = (
        np.where(place, np.float32(end), targets) for end in (far, 9 * np.sign(far))
    )
    np.testing.assert_allclose(loss(scores, infinite, where), loss(scores, finite, where), 1e-6)
    slope = gradient(scores, infinite, where)
    np.testing.assert_allclose(slope, gradient(scores, finite, where), atol=1e-7)


def test_the_curvature_is_the_slope_of_the_gradient():
    scores, targets = random_list(6, 4)
    found = in_float64(jax.jit(jax.jacrev(gradient)), scores, targets)
    expected = slopes(lambda s: in_float64(gradient, s, targets), scores)
    np.testing.assert_allclose(found, expected, atol=1e-8)


# ---- ListNet and pairs ------------------------------------------------------------------------


def test_listnet_is_least_where_scores_are_targets():
    _, targets = random_list(6, 4)
    p = np.exp(targets) / np.exp(targets).sum()
    loss, gradient = COMPILED["listnet"]
    assert loss(targets, targets) == pytest.approx(-(p * np.log(p)).sum(), rel=1e-6)
    np.testing.assert_allclose(gradient(targets, targets), np.zeros(6), atol=1e-7)


def test_pairs_by_hand():
    # Items 0 and 1 are tied; item 2 is better than both: [ln(1 + 1/3) + ln(1 + 1)] / 2.
    scores, targets = np.float32([0, np.log(3), np.log(3)]), np.float32([1, 1, 2])
    expected = (math.log(4 / 3) + math.log(2)) / 2
    assert COMPILED["pairwise"][0](scores, targets) == pytest.approx(expected, rel=1e-6)


def test_no_pair_no_loss():
    loss, gradient = COMPILED["pairwise"]
    scores, targets = random_list(6, 4)[0], np.ones(6, np.float32)
    assert loss(scores, targets) == 0
    np.testing.assert_array_equal(gradient(scores, targets), np.zeros(6))


@pytest.mark.parametrize("pairs", [1, 30, 150])  # rows of one list at once: 1, 1, 4
def test_blocks_of_pairs_change_nothing(pairs, monkeypatch):
    given = random_batch(2, 3)
    expected = [function(*given) for function in COMPILED["pairwise"]]
    monkeypatch.setattr(losses, "PAIRS_AT_ONCE", pairs)
    for function, wanted in zip(jitted("pairwise"), expected, strict=True):
        np.testing.assert_allclose(function(*given), wanted, rtol=1e-6, atol=1e-7)


def test_pairs_of_a_long_list_need_little_memory():
    a = jax.ShapeDtypeStruct((20000,), jnp.float32)
    needed = COMPILED["pairwise"][1].lower(a, a).compile().memory_analysis()
    assert needed.temp_size_in_bytes < 8 * 4 * losses.PAIRS_AT_ONCE  # all pairs: 1.6 GB
