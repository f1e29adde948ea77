"""The rows of the table for accelerators, run on a CPU: the same scores but for rounding."""

import jax
import numpy as np
import pytest

from spider_jax.runtime.device_kinds import CPU, GPU, KINDS, TPU
from spider_jax.spider.folding import FORMS, chunk_rows, fold_checkpoint
from spider_jax.spider.scoring import score_pairs
from spider_jax.tasks.padding import PaddedTokens, pad_tokens
from spider_jax.tasks.tokens import TaskTokens
from support.compiled_programs import members

D, WIDE = 16, 40


def tasks(classes: int, width: int, count: int = 3) -> PaddedTokens:
    rng = np.random.default_rng(classes)
    given = [rng.normal(size=(classes, width)).astype(np.float32) for _ in range(count)]
    return pad_tokens([TaskTokens(one, None, "psi") for one in given])


@pytest.mark.parametrize("width", [D, WIDE])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", [GPU, TPU], ids=lambda kind: kind.name)
def test_scores_differ_by_rounding_between_kinds(kind, form, width):
    models, given = members(width, 140), tasks(30, width)
    here = score_pairs(fold_checkpoint(models, form=form, kind=CPU), given)
    there = score_pairs(fold_checkpoint(models, form=form, kind=kind), given)
    assert there.shape == here.shape == (2, 3, 140)
    np.testing.assert_allclose(there, here, rtol=0, atol=1e-6 * max(1, here.std()))


@pytest.mark.parametrize("kind", [GPU, TPU], ids=lambda kind: kind.name)
def test_a_score_keeps_its_bits_when_others_come_and_go(kind):
    """A chunk and a part of one; its first models with others, without, and in another order."""
    size = kind.rows["few"]
    models, given = members(D, size + 9), tasks(30, D, 1)

    def scores(which):
        some = models._replace(theta=models.theta[:, which])
        return score_pairs(fold_checkpoint(some, form="few", kind=kind), given)

    order = np.random.default_rng(0).permutation(size + 9)
    everyone = scores(np.arange(size + 9))
    assert scores(order).tobytes() == np.ascontiguousarray(everyone[..., order]).tobytes()
    assert scores(order[:5]).tobytes() == np.ascontiguousarray(everyone[..., order[:5]]).tobytes()


def test_tasks_are_scored_in_blocks_of_a_kind():
    """Blocks of one task, of two and of all are the same scores."""
    models, given = members(D, 10), tasks(9, D, 5)
    rows = GPU.rows["few"]
    whole = score_pairs(fold_checkpoint(models, form="few", kind=GPU), given)
    for at_once in (1, 2):
        small = GPU._replace(block_numbers=2 * rows * D * at_once)
        found = score_pairs(fold_checkpoint(models, form="few", kind=small), given)
        np.testing.assert_allclose(found, whole, rtol=0, atol=1e-6 * max(1, whole.std()))


def test_sizes_are_what_a_kind_wants():
    widths = [(E, d) for E in (1, 4, 5) for d in (64, 128, 256, 768, 1024)]
    rows = {name: [chunk_rows("many", *w, kind) for w in widths] for name, kind in KINDS.items()}
    assert min(rows["gpu"]) >= 1 << 14
    assert max(rows["gpu"]) <= 1 << 16
    tiles = [*rows["tpu"], TPU.rows["few"], TPU.span]
    assert [size % 128 for size in tiles] == [0] * len(tiles)
    assert max(rows["cpu"]) <= 512


def test_here_the_kind_is_the_device_that_arrays_are_put_on():
    folded = fold_checkpoint(members(D, 3))
    assert folded.kind is KINDS[jax.devices()[0].platform]
