"""The index on disk: the same best k as the spider, whatever was appended and removed."""

import json
import math
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spider_jax.index import files as index_files
from spider_jax.index.zoo_index import ZooIndex
from spider_jax.spider.spider import Spider
from spider_jax.tasks.scaling import Scaling
from support.toy_index import (
    FEATURES,
    assert_best,
    by_name,
    only,
    snapshot,
    toy_scaling,
    toy_spider,
    toy_tokens,
)

Refused = Callable[..., AbstractContextManager[None]]
CLOSE = 1e-6
SIZES = (3, 9, 1, 5)
TOKENS = toy_tokens()
WIDE = 40  # features, much wider than the spider


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of the least size there is, 1024 rows."""
    monkeypatch.setattr(index_files, "BLOCK_BYTES", 1)


# ---- the best k -------------------------------------------------------------------------------


@pytest.mark.parametrize("features", [FEATURES, WIDE])
@pytest.mark.parametrize(("kind", "members"), [("raw", 1), ("full", 3), ("spread", 3)])
def test_the_best_k_of_the_spider(tmp_path: Path, features: int, kind: str, members: int) -> None:
    spider = toy_spider(300, members=members, features=features, kind=kind)
    index = ZooIndex.build(spider, tmp_path / "index")
    assert index.shared.project.shape[-1] == (8 if features == WIDE else 0)  # both ways to fold
    tasks = [toy_tokens(classes, features, seed=classes) for classes in (3, 7)]
    for ranking, scores in zip(index.top_k_tasks(tasks, 50), spider.scores(tasks), strict=True):
        assert_best(ranking, scores, spider.models, 50, close=CLOSE)


@pytest.mark.usefixtures("small_blocks")
def test_the_best_k_among_some_models(tmp_path: Path, refused: Refused) -> None:
    index = ZooIndex.build(toy_spider(3000), tmp_path / "index").remove(["m5", "m2999"])
    rng, k = np.random.default_rng(0), 7
    whole = index.top_k(TOKENS, 3000)
    everyone = list(zip(whole.names, whole.scores.tolist(), strict=True))
    for share in (0, 0.01, 0.6, 1):
        some = {f"m{i}" for i in range(1100, 3000) if rng.random() < share} | {"m2000"}
        found = index.top_k(TOKENS, k, among={*some, "unheard of"})
        expected = [(name, score) for name, score in everyone if name in some][:k]
        assert list(zip(found.names, found.scores.tolist(), strict=True)) == expected
    with refused("no model that counts"):
        index.top_k(TOKENS, 3, among={"m5", "unheard of"})


@pytest.mark.parametrize("k", [1, 20, 1000])
def test_any_k(tmp_path: Path, k: int) -> None:
    spider = toy_spider(20)
    ranking = ZooIndex.build(spider, tmp_path / "index").top_k(TOKENS, k, task="pets")
    assert_best(ranking, spider.scores([TOKENS])[0], spider.models, k, close=CLOSE)
    assert (ranking.task, ranking.resolution) == ("pets", 0.1)
    assert [note[:20] for note in ranking.notes] == (["the best 1 of 20 mod"] if k == 1 else [])


def test_many_tasks_are_as_each_alone(tmp_path: Path) -> None:
    index = ZooIndex.build(toy_spider(200), tmp_path / "index")
    tasks = [toy_tokens(classes, seed=classes) for classes in SIZES]
    names = [f"task {classes}" for classes in SIZES]
    for ranking, task, name in zip(
        index.top_k_tasks(tasks, 30, tasks=names), tasks, names, strict=True
    ):
        alone = index.top_k(task, 30)
        assert (ranking.names, ranking.task) == (alone.names, name)
        np.testing.assert_allclose(ranking.scores, alone.scores, rtol=0, atol=CLOSE)


def test_what_cannot_be_ranked(tmp_path: Path, refused: Refused) -> None:
    index = ZooIndex.build(toy_spider(2), tmp_path / "index")
    for k in (0, -1):
        with refused("k must be at least 1", k):
            index.top_k(TOKENS, k)
    with refused("tokens", f"[C, {FEATURES}]", (5, WIDE)):
        index.top_k(toy_tokens(features=WIDE), 1)
    with refused("holds no model"):
        index.remove(["m0", "m1"]).top_k(TOKENS, 1)


@pytest.mark.parametrize("small", [False, True])
def test_many_blocks_and_spans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: bool
) -> None:
    if small:
        monkeypatch.setattr(index_files, "BLOCK_BYTES", 1)
    spider = toy_spider(3000)
    index = ZooIndex.build(spider, tmp_path / "index")
    assert [block.rows for block in index.blocks] == ([1024, 1024, 952] if small else [3000])
    ranking = index.top_k(TOKENS, 300)
    assert_best(ranking, spider.scores([TOKENS])[0], spider.models, 300, close=CLOSE)


@pytest.mark.parametrize("small", [False, True])
def test_equal_scores_keep_model_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: bool
) -> None:
    if small:
        monkeypatch.setattr(index_files, "BLOCK_BYTES", 1)
    index = ZooIndex.build(toy_spider(3000, distinct=30), tmp_path / "index")
    ranking = index.top_k(TOKENS, 3000)
    numbers = np.array([int(name[1:]) for name in ranking.names]).reshape(30, 100)
    assert (numbers % 30 == numbers[:, :1] % 30).all()  # equal tokens stand together
    assert (np.diff(numbers, axis=1) > 0).all()
    assert (np.diff(np.reshape(ranking.scores, (30, 100)), axis=1) == 0).all()
    assert index.top_k(TOKENS, 150).names == ranking.names[:150]


# ---- what it is -------------------------------------------------------------------------------


def test_index_json_says_what_it_is(tmp_path: Path) -> None:
    index = ZooIndex.build(toy_spider(3, members=3), tmp_path / "index")
    content = json.loads((tmp_path / "index" / "index.json").read_text())
    assert list(content)[:3] == ["format", "version", "created_with"]
    assert (content["format"], content["version"]) == ("spider_jax/index", 1)
    assert content["created_with"]["numpy"] == np.__version__
    (block,) = content["blocks"]
    assert block == {
        "name": "00000000",
        "rows": 3,
        "names_bytes": len("m0\nm1\nm2\n"),
        "removed": [],
        "guessed": [],
        "checksum": block["checksum"],
    }
    assert (content["members"], content["precision"]) == (3, "float32")
    assert (len(index), list(index.names())) == (3, ["m0", "m1", "m2"])
    assert not (tmp_path / "index" / "building.json").exists()


def test_the_values_map_stands_on_disk_as_in_every_index_so_far(tmp_path: Path) -> None:
    spider = toy_spider(3, members=2)
    index = ZooIndex.build(spider, tmp_path / "index")
    w = spider.weights
    product = np.einsum("eab,ebc,ecd->ead", w.project, w.value, w.output, dtype=np.float64)
    stored = np.load(tmp_path / "index" / "shared" / "value.npy", allow_pickle=False)
    np.testing.assert_allclose(stored, product - product.mean(-1, keepdims=True), atol=1e-6)
    np.testing.assert_array_equal(index.shared.value, stored.swapaxes(1, 2))


def test_any_names_and_an_unknown_resolution_come_back(tmp_path: Path) -> None:
    spider, names = toy_spider(4), ("../x", "é ü", "org/model, v1", "-")
    described = replace(spider.description, models=names, resolution=math.nan)
    index = ZooIndex.build(replace(spider, description=described), tmp_path / "index")
    assert list(index.names()) == list(names)
    assert math.isnan(index.top_k(TOKENS, 1).resolution)


def test_the_folder_needs_nothing_else(tmp_path: Path) -> None:
    index = ZooIndex.build(toy_spider(50, kind="full"), tmp_path / "index")
    before = index.top_k(TOKENS, 50)
    del index
    shutil.move(tmp_path / "index", tmp_path / "moved")
    moved = ZooIndex.open(tmp_path / "moved")
    assert by_name(moved.top_k(TOKENS, 50)) == by_name(before)
    assert moved.verify() == ()


@pytest.mark.parametrize("features", [FEATURES, WIDE])
def test_bfloat16_is_stored_and_close(tmp_path: Path, features: int) -> None:
    spider, tokens = toy_spider(300, features=features), toy_tokens(features=features)
    ZooIndex.build(spider, tmp_path / "index", precision="bfloat16")
    index = ZooIndex.open(tmp_path / "index")
    assert index.about.precision == "bfloat16"
    key = np.load(tmp_path / "index/blocks/00000000/key.npy")
    assert (key.dtype, key.shape) == (np.uint16, (1, 300, FEATURES if features == FEATURES else 8))
    scores = dict(zip(spider.models, spider.scores([tokens])[0], strict=True))
    found = index.top_k(tokens, 300)
    exact = np.array([scores[name] for name in found.names])
    assert 0 < np.abs(exact - found.scores).max() < 2e-2


def test_precision_is_the_spiders_unless_given(tmp_path: Path) -> None:
    low = toy_spider(3, precision="bfloat16")
    assert ZooIndex.build(low, tmp_path / "low").about.precision == "bfloat16"
    full = ZooIndex.build(low, tmp_path / "full", precision="float32")
    assert full.about.precision == "float32"
    exact = by_name(ZooIndex.build(toy_spider(3), tmp_path / "exact").top_k(TOKENS, 3))
    assert by_name(full.top_k(TOKENS, 3)) == exact


def test_an_unknown_precision_is_refused(tmp_path: Path, refused: Refused) -> None:
    with refused("precision must be one of", "float16"):
        ZooIndex.build(toy_spider(3), tmp_path / "index", precision="float16")
    assert not (tmp_path / "index" / "blocks").exists()


# ---- append and remove ------------------------------------------------------------------------


@pytest.mark.usefixtures("small_blocks")
def test_no_other_score_or_file_changes(tmp_path: Path) -> None:
    folder, all_of_them = tmp_path / "index", toy_spider(2300)
    index = ZooIndex.build(only(all_of_them, all_of_them.models[:1500]), folder)
    first, files = by_name(index.top_k(TOKENS, 3000)), snapshot(folder)
    index = index.append(all_of_them)
    second, more_files = by_name(index.top_k(TOKENS, 3000)), snapshot(folder)
    assert (len(index), len(first), len(second)) == (2300, 1500, 2300)
    assert {name: second[name] for name in first} == first
    del files["index.json"]
    assert {name: more_files[name] for name in files} == files
    scores = all_of_them.scores([TOKENS])[0]
    assert_best(index.top_k(TOKENS, 50), scores, all_of_them.models, 50, close=CLOSE)
    gone = [f"m{i}" for i in range(100, 2100, 7)]
    index = index.remove(gone)
    third = by_name(index.top_k(TOKENS, 3000))
    assert third == {name: second[name] for name in second if name not in gone}
    assert len(index) == len(third) == len(list(index.names()))
    index = index.append(all_of_them, gone)
    assert by_name(index.top_k(TOKENS, 3000)) == second
    assert list(index.names()) == [m for m in all_of_them.models if m not in gone] + gone
    assert index.verify() == ()


def test_models_are_appended_in_the_order_named(tmp_path: Path) -> None:
    spider = toy_spider(6)
    index = ZooIndex.build(only(spider, ["m1"]), tmp_path / "index")
    assert list(index.append(spider, ["m4", "m0"]).names()) == ["m1", "m4", "m0"]
    assert list(index.names()) == ["m1"]  # an index is what it was opened as
    index = ZooIndex.open(tmp_path / "index").append(spider)
    assert list(index.names()) == ["m1", "m4", "m0", "m2", "m3", "m5"]
    assert list(index.append(spider).names()) == list(index.names())


@pytest.mark.parametrize(
    ("models", "mentions"),
    [
        (["m5", "m1"], ("holds model 'm1' already",)),
        (["m5", "m9"], ("no model 'm9'",)),
        (["m5", "m5"], ("once each",)),
    ],
)
def test_models_that_cannot_be_appended(
    tmp_path: Path, models: list[str], mentions: tuple[str, ...], refused: Refused
) -> None:
    spider = toy_spider(6)
    index = ZooIndex.build(only(spider, spider.models[:3]), tmp_path / "index")
    before = snapshot(tmp_path)
    with refused(*mentions):
        index.append(spider, models)
    assert snapshot(tmp_path) == before


def other_checkpoints(spider: Spider) -> dict[str, Spider]:
    """Spiders that differ in one thing other than their models."""
    others = {}
    for name, array in spider.weights.arrays().items():
        if name == "theta":
            continue
        changed = array * jnp.float32(1.01)
        others[name] = replace(spider, weights=spider.weights._replace(**{name: changed}))
    mean, matrix, _ = spider.scaling
    others["mean"] = replace(spider, scaling=Scaling(mean + np.float32(0.01), matrix, False))
    others["matrix"] = replace(spider, scaling=Scaling(mean, matrix * np.float32(1.01), False))
    others["spread"] = replace(spider, scaling=toy_scaling(FEATURES, "spread"))
    extractor = {"name": "phi", "width": FEATURES}
    others["extractor"] = replace(
        spider, description=replace(spider.description, extractor=extractor)
    )
    return others


@pytest.mark.parametrize("members", [1, 3])
def test_another_checkpoint_is_not_appended(tmp_path: Path, members: int, refused: Refused) -> None:
    spider = toy_spider(6, members=members)
    index = ZooIndex.build(only(spider, spider.models[:3]), tmp_path / "index")
    before = snapshot(tmp_path)
    for other in other_checkpoints(spider).values():
        with refused("another checkpoint"):
            index.append(other)
    assert snapshot(tmp_path) == before


def test_an_unknown_model_is_not_removed(tmp_path: Path, refused: Refused) -> None:
    index = ZooIndex.build(toy_spider(6), tmp_path / "index").remove(["m3"])
    before = snapshot(tmp_path)
    for unknown in ("m9", "m3"):
        with refused("holds no model", unknown):
            index.remove(["m1", unknown])
    assert snapshot(tmp_path) == before
    assert list(index.names()) == ["m0", "m1", "m2", "m4", "m5"]


POOL = toy_spider(5, distinct=3)  # m3 equals m0, m4 equals m1
SOME = st.lists(st.sampled_from(POOL.models), min_size=1, max_size=3, unique=True)


@settings(max_examples=10)
@given(SOME, st.lists(SOME, max_size=4))
def test_any_history_is_as_a_fresh_build(start: list[str], flips: list[list[str]]) -> None:
    """A flip removes the models of it that are there and appends the others."""
    with TemporaryDirectory() as folder:
        index, alive = ZooIndex.build(only(POOL, start), Path(folder, "index")), start
        for flip in flips:
            index = index.remove([name for name in flip if name in alive])
            new = [name for name in flip if name not in alive]
            index = index.append(POOL, new)
            alive = [name for name in alive if name not in flip] + new
        assert (list(index.names()), len(index)) == (alive, len(alive))
        if alive:
            fresh = ZooIndex.build(only(POOL, alive), Path(folder, "fresh")).top_k(TOKENS, 5)
            found = index.top_k(TOKENS, 5)
            assert (found.names, by_name(found)) == (fresh.names, by_name(fresh))
