"""A spider ranks: what it reads, what it refuses, and what its seed decides."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spider_jax.spider.spider import Spider
from spider_jax.tasks.tokens import task_tokens
from spider_jax.zoo.store import FeatureStore
from support.small_training import CONFIG, Refused, tokens, train, with_resolution
from support.small_training import PSI_WIDTH as WIDTH
from support.small_zoo import SMALL_MODELS as MODELS
from support.small_zoo import SMALL_WIDTHS


def ranking_bytes(spider: Spider, zoo: Path, tmp_path: Path) -> bytes:
    spider.rank_task(FeatureStore(zoo), "apples").to_json(tmp_path / "ranking.json")
    return (tmp_path / "ranking.json").read_bytes()


# ---- ranking ---------------------------------------------------------------------------------


def test_ranks_every_model_and_shows_what_is_known(spider: Spider, small_zoo: Path) -> None:
    zoo = FeatureStore(small_zoo)
    ranking = spider.rank_task(zoo, "birds")
    assert spider.models == MODELS
    assert sorted(ranking.names) == sorted(MODELS)
    assert ranking.task == "birds"
    assert ranking.accuracies == {m: zoo.accuracies[m, "birds"] for m in MODELS}
    tokens = task_tokens(zoo.features("psi", "birds"), zoo.labels("birds"))
    assert dict(zip(ranking.names, ranking.scores, strict=True)) == dict(
        zip(MODELS, spider.scores([tokens])[0], strict=True)
    )


def test_reads_the_extractor_only(spider: Spider, small_zoo: Path, tmp_path: Path) -> None:
    wanted = ranking_bytes(spider, small_zoo, tmp_path)
    for model in SMALL_WIDTHS:
        shutil.rmtree(small_zoo / "features" / model)
    assert ranking_bytes(spider, small_zoo, tmp_path) == wanted


def test_tokens_may_be_plain_lists(spider: Spider) -> None:
    ranking = spider.rank(tokens().astype(np.float64).tolist(), task="mine")
    assert ranking.task == "mine"
    assert ranking.scores.tolist() == spider.rank(tokens()).scores.tolist()


def test_other_tasks_and_the_order_of_classes_leave_a_score(spider: Spider) -> None:
    tasks = [tokens(0, 3), tokens(1, 9), tokens(2, 2)]
    together = spider.scores(tasks)
    alone = np.concatenate([spider.scores([task[::-1].copy()]) for task in tasks])
    assert together.shape == (3, len(MODELS))
    np.testing.assert_allclose(together, alone, atol=1e-6 * max(1.0, np.ptp(together)))
    assert np.ptp(together, axis=0).min() > 0  # tasks do differ


@pytest.mark.parametrize(
    ("wrong", "mention"),
    [
        (np.zeros((3, WIDTH + 1), np.float32), f"[C, {WIDTH}]"),
        (np.zeros(WIDTH, np.float32), f"[C, {WIDTH}]"),
        (np.zeros((0, WIDTH), np.float32), "(0, 6)"),
        (np.full((3, WIDTH), np.nan, np.float32), "finite"),
        (np.full((3, WIDTH), np.inf, np.float32), "finite"),
        (np.full((3, WIDTH), 1e300), "finite"),
        ([[1.0] * WIDTH, [1.0]], "no array of numbers"),
        ([["a"] * WIDTH], "no array of numbers"),
    ],
    ids=["width", "one axis", "no class", "NaN", "infinity", "too large", "ragged", "text"],
)
def test_tokens_that_do_not_fit_are_refused(
    spider: Spider, refused: Refused, wrong: Any, mention: str
) -> None:
    with refused("tokens", mention):
        spider.rank(wrong)
    with refused("tokens of task 1", mention):
        spider.scores([tokens(), wrong])


def test_another_extractor_is_refused(spider: Spider, small_zoo: Path, refused: Refused) -> None:
    FeatureStore.write_manifest(small_zoo, extractor="narrow")
    with refused("'narrow'", "'psi'"):
        spider.rank_task(FeatureStore(small_zoo), "apples")


def test_a_zoo_that_names_no_extractor_may_hold_its_features(
    spider: Spider, small_zoo: Path, tmp_path: Path, refused: Refused
) -> None:
    wanted = ranking_bytes(spider, small_zoo, tmp_path)
    FeatureStore.write_manifest(small_zoo)
    assert ranking_bytes(spider, small_zoo, tmp_path) == wanted
    shutil.rmtree(small_zoo / "features" / "psi")
    with refused("no features of 'psi' on 'apples'"):
        spider.rank_task(FeatureStore(small_zoo), "apples")


def test_an_unknown_task_is_refused(spider: Spider, small_zoo: Path, refused: Refused) -> None:
    with refused("unknown task 'pears'", "apples"):
        spider.rank_task(FeatureStore(small_zoo), "pears")


def test_another_resolution(spider: Spider) -> None:
    """Of a spider that does not know how sure it is: the others' places come from their beliefs."""
    spider = replace(spider, beliefs=None)
    wider = with_resolution(spider, 99.0)
    assert wider.rank(tokens()).rank_intervals().tolist() == [[1, 4]] * 4
    assert wider.scores([tokens()]).tolist() == spider.scores([tokens()]).tolist()


# ---- seeds -----------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes(
    spider: Spider, saved: Path, small_zoo: Path, tmp_path: Path
) -> None:
    again = train(FeatureStore(small_zoo))
    wanted = ranking_bytes(spider, small_zoo, tmp_path)
    assert ranking_bytes(again, small_zoo, tmp_path) == wanted
    again.save(tmp_path / "again")
    description = (tmp_path / "again" / "spider.json").read_bytes()
    assert description == (saved / "spider.json").read_bytes()


def test_another_seed_gives_another_spider(spider: Spider, small_zoo: Path, tmp_path: Path) -> None:
    other = train(FeatureStore(small_zoo), replace(CONFIG, seed=1))
    assert ranking_bytes(other, small_zoo, tmp_path) != ranking_bytes(spider, small_zoo, tmp_path)
    assert not np.array_equal(other.scores([tokens()]), spider.scores([tokens()]))
