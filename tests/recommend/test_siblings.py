"""Which tasks are one task in other clothes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spider_jax.recommend.siblings import plain_name, sibling_groups


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("ImageNet-v2", "imagenet"),
        ("CIFAR-100", "cifar"),
        ("mlqa.de_test", "mlqa"),
        ("2048", "2048"),
        ("de", "de"),
        ("Éclair-de", "éclair"),
        ("задача v1.2", "задача"),
        ("", ""),
        ("—", ""),
    ],
)
def test_plain_names(name, plain):
    assert plain_name(name) == plain


def test_names_in_other_alphabets_do_not_share_a_suffix():
    assert sibling_groups(["текст-de", "вопрос-de", "текст-fr"], {}).tolist() == [0, 1, 0]
    assert sibling_groups(["数据 v1", "图像 v1"], {}).tolist() == [0, 1]


def test_columns_join():
    tasks = ["a1x", "b2x", "c3x", "d4x", "e5x"]
    facts = {
        "dataset": ["one", "", "", "one", ""],
        "base": ["", "other", "other", "", ""],
        "adapted_from": ["", "", "e5x|elsewhere", "", ""],
        "type": ["same"] * 5,
    }
    assert sibling_groups(tasks, facts).tolist() == [0, 1, 1, 0, 1]


def test_tasks_from_one_that_is_not_there_are_siblings():
    facts = {"derived_from": ["root", "root", ""]}
    assert sibling_groups(["alpha", "beta", "gamma"], facts).tolist() == [0, 0, 1]


def test_names_without_a_word_stay_apart():
    assert sibling_groups(["—", "…", "☆"], {}).tolist() == [0, 1, 2]


@given(st.lists(st.text(max_size=6), min_size=1, max_size=8, unique=True), st.randoms())
def test_another_order_is_the_same_partition(names, random):
    order = list(range(len(names)))
    random.shuffle(order)
    one = sibling_groups(names, {})
    two = sibling_groups([names[i] for i in order], {})
    same = one[order][:, None] == one[order][None]
    assert np.array_equal(same, two[:, None] == two[None])
    assert sorted(set(one)) == list(range(one.max() + 1))
