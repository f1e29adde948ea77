"""Folded scores against full attention in float64, and what must not change a score."""

from functools import cache
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spider_jax.runtime.device_kinds import CPU
from spider_jax.spider import scoring
from spider_jax.spider.attention import score_tasks
from spider_jax.spider.folding import fold_checkpoint
from spider_jax.spider.scoring import score_chunk, score_pairs, task_side
from spider_jax.spider.weights import Weights
from spider_jax.tasks.padding import PaddedTokens, class_bucket, pad_tokens
from spider_jax.tasks.tokens import TaskTokens
from support.references import ranking_and_spider as reference

CHUNK, LOOPED = CPU.rows, CPU._replace(compiled_loop=True)
D, WIDTH = 6, 8  # keys in token space; WIDE tokens are projected
WIDE = 40
EXAMPLES = settings(max_examples=15)
SQUARE = {"W_q": "query", "W_k": "key", "W_v": "value", "W_o": "output"}
VECTORS = {
    "b_U": "project_bias",
    "b_o": "output_bias",
    "ln_gain": "norm_scale",
    "ln_bias": "norm_bias",
    "head_ln_gain": "head_norm_scale",
    "head_ln_bias": "head_norm_bias",
    "head_w": "head",
    "head_b": "head_bias",
}


def weights(models=5, seed=0, D=D):
    """Random weights; the first models are the same for any number of them."""
    rng = np.random.default_rng(seed)
    shapes = {
        "project": (D, WIDTH),
        **dict.fromkeys(SQUARE.values(), (WIDTH, WIDTH)),
        **dict.fromkeys(VECTORS.values(), (WIDTH,)),
        "head_bias": (),
    }
    drawn = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    for name in ("project", *SQUARE.values()):
        drawn[name] /= len(drawn[name]) ** 0.5
    drawn["theta"] = rng.normal(size=(models, WIDTH))
    return Weights(**{name: jnp.asarray(value, jnp.float32) for name, value in drawn.items()})


def centres(classes, seed=1, D=D):
    return np.random.default_rng(seed).normal(size=(classes, D)).astype(np.float32)


def expected_score(w, model, tokens):
    """The reference in torch's convention W x: every matrix transposed."""
    params = {name: getattr(w, ours) for name, ours in VECTORS.items()}
    params |= {name: getattr(w, ours).T for name, ours in {**SQUARE, "U": "project"}.items()}
    return reference.full_attention_score(params, w.theta[model], tokens)


score = jax.jit(score_tasks)


def with_padding(tokens, classes):
    """One task [1, C, D] with rubbish in the padding, and its mask."""
    padded = np.full((1, classes, tokens.shape[1]), 7.0, np.float32)
    padded[0, : len(tokens)] = tokens
    return padded, np.arange(classes)[None] < len(tokens)


def members(*w, **settings):
    """An ensemble, folded as the spider does."""
    return fold_checkpoint(jax.tree.map(lambda *a: jnp.stack(a), *w), **settings)


def padded_tasks(*tasks):
    return pad_tokens([TaskTokens(task) for task in tasks])[:2]


def in_chunks(folded, tokens, mask):
    return score_pairs(folded, PaddedTokens(np.asarray(tokens), np.asarray(mask)))


def close(found, expected, tolerance):
    """Within the tolerance relative to max(1, spread of the scores)."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * max(1, np.ptp(expected)))


# ---- the algebra ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("models", "classes", "padded"),
    [(1, 1, 1), (8, 8, 8), (300, 2, 8), (300, 60, 64), (1, 400, 512)],
)
def test_a_folded_score_is_full_attention_in_float64(models, classes, padded):
    w, tokens = weights(models), centres(classes)
    some = sorted({0, models - 1})
    found = np.asarray(score(w, *with_padding(tokens, padded)))
    assert found.shape == (1, models)
    close(found[0, some], [expected_score(w, m, tokens) for m in some], 2e-6)


def test_more_models_than_classes_takes_the_same_sum_in_another_order():
    w, tokens = weights(12), centres(10)
    wide, narrow = (np.asarray(score(w, *with_padding(tokens, size))) for size in (10, 16))
    close(narrow, wide, 1e-6)


@pytest.mark.parametrize("form", CHUNK)
def test_members_and_tasks_together_score_as_full_attention(form):
    w = [weights(CHUNK[form] + 3, seed) for seed in (0, 1)]
    tokens, mask = padded_tasks(centres(3), centres(7))
    found = in_chunks(members(*w, form=form), tokens, mask)
    assert found.shape == (2, 2, CHUNK[form] + 3)
    for e, t, m in [(0, 0, 0), (1, 0, CHUNK[form]), (0, 1, CHUNK[form] - 1), (1, 1, -1)]:
        close(found[e, t, m], expected_score(w[e], m, tokens[t][mask[t]]), 2e-6)


@pytest.mark.parametrize("form", CHUNK)
@pytest.mark.parametrize("D", [D, WIDE])
@pytest.mark.parametrize(("models", "classes"), [(1, 1), (5000, 2), (700, 33), (42, 400)])
def test_compiled_chunks_score_as_full_attention_in_float64(models, classes, D, form):
    w, tokens = weights(models, D=D), centres(classes, D=D)
    found = in_chunks(members(w, form=form), *with_padding(tokens, class_bucket(classes)))
    assert found.shape == (1, 1, models)
    some = sorted({0, models // 2, models - 1})
    close(found[0, 0, some], [expected_score(w, m, tokens) for m in some], 2e-6)


@pytest.mark.parametrize("form", CHUNK)
def test_a_compiled_loop_over_chunks_scores_the_same(form):
    w = jax.tree.map(lambda a: a[None], weights(CHUNK[form] * 2 + 3))
    task = with_padding(centres(5), 8)
    looped = in_chunks(fold_checkpoint(w, form=form, kind=LOOPED), *task)
    close(looped, in_chunks(fold_checkpoint(w, form=form, kind=CPU), *task), 1e-6)


@pytest.mark.parametrize("D", [D, WIDE])
def test_bfloat16_is_near_and_is_not_float32(D):
    w = jax.tree.map(lambda a: a[None], weights(60, D=D))
    task = with_padding(centres(30, D=D), 32)
    exact = in_chunks(fold_checkpoint(w), *task)
    rough = in_chunks(fold_checkpoint(w, precision="bfloat16"), *task)
    assert 1e-5 < np.abs(rough - exact).max() < 5e-2 * np.ptp(exact)


@pytest.mark.parametrize("models", [4, 20])  # averages of 7 classes are projected, or 7 classes
def test_gradients_are_the_differences_of_a_float64_reference(models):
    w, tokens = weights(models), centres(7)
    slope = np.random.default_rng(2).normal(size=models)
    padded, mask = map(jnp.asarray, with_padding(tokens, 8))
    gradient = jax.jit(jax.grad(lambda w: (score_tasks(w, padded, mask)[0] * slope).sum()))(w)
    wide = {name: np.asarray(array, np.float64) for name, array in w.arrays().items()}

    def total(**moved):
        at = SimpleNamespace(**wide | moved)
        return slope @ [expected_score(at, m, tokens.astype(np.float64)) for m in range(models)]

    for name, start in wide.items():
        way = np.random.default_rng(3).normal(size=start.shape)
        ahead, behind = (total(**{name: start + h * way}) for h in (1e-5, -1e-5))
        found = float((np.asarray(getattr(gradient, name), np.float64) * way).sum())
        assert found == pytest.approx((ahead - behind) / 2e-5, rel=1e-4, abs=1e-4), name


def test_an_unknown_precision_or_form_is_refused(refused):
    with refused("precision", "float16"):
        fold_checkpoint(jax.tree.map(lambda a: a[None], weights()), precision="float16")
    with refused("form", "some"):
        members(weights(), form="some")


def test_a_new_task_of_a_known_bucket_compiles_nothing():
    scored = in_chunks(PAIR, *padded_tasks(*(centres(11, seed) for seed in range(3))))
    compiled = (score_chunk, task_side)
    before = [call._cache_size() for call in compiled]
    again = in_chunks(PAIR, *padded_tasks(*(centres(c, 9) for c in (16, 9, 3))))
    assert [call._cache_size() for call in compiled] == before
    assert again.shape == scored.shape


@pytest.mark.parametrize(("form", "classes"), [("many", 33), ("many", 100), ("few", 100)])
def test_pieces_of_one_core_score_as_a_compiled_loop_of_all_cores(form, classes):
    w = weights(700, D=WIDE), weights(700, 1, D=WIDE)
    tasks = padded_tasks(*(centres(classes, seed, D=WIDE) for seed in range(3)))
    loop = members(*w, form=form, kind=LOOPED)
    pieces = members(*w, form=form)
    close(in_chunks(pieces, *tasks), in_chunks(loop, *tasks), 1e-6)
    alone = [in_chunks(pieces, *(a[t : t + 1] for a in tasks)) for t in range(3)]
    close(np.concatenate(alone, 1), in_chunks(pieces, *tasks), 1e-6)


@pytest.mark.parametrize("padded", [64, 65, 67])
def test_halves_of_any_number_of_classes_make_the_task(padded):
    w, task = weights(9, D=WIDE), with_padding(centres(61, D=WIDE), padded)
    found = in_chunks(members(jax.tree.map(jnp.asarray, w)), *task)[0]
    close(found[0], [expected_score(w, m, centres(61, D=WIDE)) for m in range(9)], 2e-6)


@pytest.mark.parametrize("size", [30, 3000])
def test_attention_that_looks_at_one_token_only_stays_finite(size):
    w, tokens = weights(3), size * centres(4)
    found = score(w, *with_padding(tokens, 8))
    # float32 logits of this size are off by 1e-7 of it: only clear winners agree to 2e-6
    assert np.isfinite(found).all()
    expected = [expected_score(w, m, tokens) for m in range(3)]
    close(found[0], expected, 2e-6 * size)


# ---- what must not change a score -------------------------------------------------------------

PAIR = members(weights(20, 0), weights(20, 1))


@given(order=st.permutations(range(7)))
@EXAMPLES
def test_the_order_of_classes_does_not_count(order):
    tokens, mask = with_padding(centres(7), 8)
    moved, _ = with_padding(centres(7)[list(order)], 8)
    expected = in_chunks(PAIR, tokens, mask)
    close(in_chunks(PAIR, moved, mask), expected, 1e-6)


@given(classes=st.integers(1, 8), rubbish=st.floats(-1e6, 1e6, width=32))
@EXAMPLES
def test_padding_does_not_count(classes, rubbish):
    tokens, mask = with_padding(centres(8), 16)
    mask = mask & (np.arange(16) < classes)
    expected = in_chunks(PAIR, *with_padding(centres(8)[:classes], 8))
    changed = np.where(mask[..., None], tokens, np.float32(rubbish))
    close(in_chunks(PAIR, changed, mask), expected, 1e-6)


@given(sizes=st.lists(st.integers(1, 16), min_size=3, max_size=3))
@EXAMPLES
def test_a_batch_of_one_is_its_task_in_a_batch(sizes):
    tasks = [centres(size, seed) for seed, size in enumerate((*sizes, 16))]
    together = in_chunks(PAIR, *padded_tasks(*tasks))
    for t, task in enumerate(tasks):
        alone = in_chunks(PAIR, *padded_tasks(task))
        close(together[:, t], alone[:, 0], 1e-6)


MANY = {width: weights(CHUNK["many"] + 47, D=width) for width in (D, WIDE)}


def scores_of(models, form, width):
    """Scores of these models of MANY as a zoo of their own, folded and scored alone."""
    zoo = MANY[width]._replace(theta=MANY[width].theta[np.array(models)])
    return in_chunks(members(zoo, form=form), *with_padding(centres(5, D=width), 8))[0, 0]


KINDS = [(form, width) for form in CHUNK for width in MANY]


@cache
def of_everyone(kind):
    return scores_of(range(CHUNK["many"] + 47), *kind)


@given(
    models=st.one_of(
        st.permutations(range(CHUNK["many"] + 47)),
        st.lists(st.integers(0, CHUNK["many"] + 46), min_size=1, max_size=200),
    ),
    kind=st.sampled_from(KINDS),
)
@EXAMPLES
def test_other_models_leave_a_score_as_it_is_to_the_bit(models, kind):
    np.testing.assert_array_equal(scores_of(models, *kind), of_everyone(kind)[np.array(models)])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("wide", [D, WIDE, 700])
@pytest.mark.parametrize(("classes", "count"), [(3, 1), (16, 1), (40, 1), (16, 2)])
def test_one_call_or_two_is_the_same_to_the_bit(monkeypatch, classes, count, wide, precision):
    ensemble = [weights(CHUNK["many"] + 47, seed, D=wide) for seed in range(count)]
    folded = members(*ensemble, precision=precision)
    task = padded_tasks(centres(classes, D=wide))
    found = {}
    for cores in ((0,), (0,) * 8):  # more chunks than cores: a call for the task's side, and theirs
        monkeypatch.setattr(scoring, "usable_cores", lambda cores=cores: cores)
        assert scoring._side_in_every_call(folded, *task[1].shape) == (len(cores) == 8)
        found[len(cores)] = in_chunks(folded, *task)
    np.testing.assert_array_equal(found[1], found[8])


def test_scores_tell_models_apart():  # else the test above could not fail
    assert all(len(set(scores)) == len(scores) for scores in map(of_everyone, KINDS))


def test_an_ensemble_is_its_members_one_by_one():
    w = [weights(20, seed) for seed in (0, 1)]
    tokens, mask = padded_tasks(centres(3), centres(7))
    together = in_chunks(members(*w), tokens, mask)
    close(together, np.stack([score(one, tokens, mask) for one in w]), 1e-6)
