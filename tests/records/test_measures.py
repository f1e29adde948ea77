"""What the name of a measure tells, and which words are directions."""

from collections.abc import Callable

import pytest

from spider_jax.records.measures import direction_word, find_measure, is_route

INF = float("inf")


@pytest.mark.parametrize(
    ("name", "low", "high", "larger"),
    [
        ("accuracy", 0, 1, True),
        ("Zero-shot accuracy", 0, 1, True),
        ("top-1 accuracy", 0, 1, True),
        ("macro_f1", 0, 1, True),
        ("ndcg_at_10", 0, 1, True),
        ("nDCG@10", 0, 1, True),
        ("recall@1", 0, 1, True),
        ("map_at_1000", 0, 1, True),
        ("max_over_subqueries_map_at_1000", 0, 1, True),
        ("max_ap", 0, 1, True),
        ("mrr_at_5", 0, 1, True),
        ("v_measure", 0, 1, True),
        ("AUC", 0, 1, True),
        ("mcc", -1, 1, True),
        ("cosine_spearman", -1, 1, True),
        ("kendalltau", -1, 1, True),
        ("p-MRR", -1, 1, True),
        ("R²", -INF, 1, True),
        ("rmse", 0, INF, False),
        ("mae", 0, INF, False),
        ("log loss", 0, INF, False),
        ("word_perplexity", 1, INF, False),
        ("WER", 0, INF, False),
        ("error rate", 0, 1, False),
    ],
)
def test_measures_of_real_tables(name: str, low: float, high: float, larger: bool) -> None:
    found = find_measure(name)
    assert found is not None
    assert (found.low, found.high, found.larger_is_better) == (low, high, larger)


@pytest.mark.parametrize("name", ["", "likes", "relative accuracy", "0.71", "accuracy drop", "elo"])
def test_other_names_have_no_range(name: str) -> None:
    assert find_measure(name) is None


def test_directions(refused: Callable[..., object]) -> None:
    words = ["larger", "Higher", " lower ", "smaller", "min", ""]
    assert [direction_word(w) for w in words] == [True, True, False, False, False, None]
    with refused("'sideways'", "larger or smaller"):
        direction_word("sideways")


def test_routes() -> None:
    assert is_route(["image", "", "text"])
    assert is_route(["en-de", "de -> en"])
    for words in (["sideways"], ["", ""], ["image", "larger"], ["min-max"], ["lower-better"]):
        assert not is_route(words)
