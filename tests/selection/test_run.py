"""The folder of a selection: it goes on after anything, and only as what it is."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from spider_jax.heads.trainer import HeadTrainer
from spider_jax.records.performance import PastResults
from spider_jax.selection.run import SelectConfig, run_name
from spider_jax.selection.two_phases import select_models
from spider_jax.spider.spider import Spider
from spider_jax.zoo.store import FeatureStore
from support.small_selection import HEAD, QUICK, choices, select, with_split

pytestmark = pytest.mark.slow


class CutError(Exception):
    pass


@pytest.mark.parametrize("at", ["before telling", "after telling"])
def test_it_goes_on_after_any_interruption(
    small_zoo: Path, tmp_path: Path, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = select(small_zoo, tmp_path / "whole")
    real, count = HeadTrainer.epoch, [0]

    def cut(self: HeadTrainer, models: list[str], done: int) -> object:
        if at == "before telling":  # heads are written, no score is kept
            real(self, models, done)
            raise CutError
        if count[0]:
            raise CutError
        count[0] += 1
        return real(self, models, done)

    calls = 0
    while True:
        count[0] = 0
        monkeypatch.setattr(HeadTrainer, "epoch", cut)
        if at == "before telling" and calls % 2:
            monkeypatch.setattr(HeadTrainer, "epoch", real)
        try:
            calls += 1
            found = select(small_zoo, tmp_path / "run")
            break
        except CutError:
            continue
    assert calls > 1
    assert choices(found) == choices(whole)
    assert found.test == whole.test


def test_a_finished_run_is_read_again(
    small_zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = select(small_zoo, tmp_path / "run")
    monkeypatch.setattr(HeadTrainer, "epoch", None)
    again = select(small_zoo, tmp_path / "run")
    assert (choices(again), again.test) == (choices(first), first.test)


@pytest.mark.parametrize("harm", ["gone", "cut", "of another epoch"])
def test_heads_that_were_lost_are_trained_again(
    small_zoo: Path, tmp_path: Path, harm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = select(small_zoo, tmp_path / "whole")
    real = HeadTrainer.epoch

    def cut(self: HeadTrainer, models: list[str], done: int) -> object:
        if done == 2:
            raise CutError
        return real(self, models, done)

    monkeypatch.setattr(HeadTrainer, "epoch", cut)
    with pytest.raises(CutError):
        select(small_zoo, tmp_path / "run")
    for path in (tmp_path / "run" / "heads").iterdir():
        if harm == "gone":
            path.unlink()
        elif harm == "cut":
            path.write_bytes(path.read_bytes()[:100])
        else:
            winner = tmp_path / "whole" / "heads" / f"{whole.selector.winner}.npz"
            path.write_bytes(winner.read_bytes() if path.name != winner.name else b"")
    monkeypatch.setattr(HeadTrainer, "epoch", real)
    found = select(small_zoo, tmp_path / "run")
    assert choices(found) == choices(whole)
    assert found.test == whole.test
    (tmp_path / "run" / "heads" / f"{found.selector.winner}.npz").unlink()
    assert select(small_zoo, tmp_path / "run").test == whole.test


def test_heads_without_their_selection_are_refused(
    small_zoo: Path, tmp_path: Path, refused: Callable[..., object]
) -> None:
    select(small_zoo, tmp_path / "run")
    (tmp_path / "run" / "selection.json").unlink()
    with refused("heads", "another folder"):  # type: ignore[attr-defined]
        select(small_zoo, tmp_path / "run")


def test_what_changed_since_is_refused_or_said(
    small_zoo: Path, tmp_path: Path, refused: Callable[..., object]
) -> None:
    first = select(small_zoo, tmp_path / "run")
    table = small_zoo / "accuracies.csv"
    table.write_text(table.read_text().replace(",cars,0.", ",cars,0.1"))
    again = select(small_zoo, tmp_path / "run")
    assert choices(again) == choices(first)
    assert [note for note in again.notes if "past results have changed" in note]
    assert not [note for note in first.notes if "have changed" in note or "earlier" in note]
    past = PastResults.from_accuracies(FeatureStore(small_zoo).accuracies)
    other = past.with_result("of another zoo", "elsewhere", accuracy=0.5)
    said = [
        select_models(
            FeatureStore(small_zoo), "apples", QUICK, run=tmp_path / "own", past=one
        ).notes
        for one in (past, other)
    ]
    assert not [note for note in said[1] if "have changed" in note]  # of none of its models
    with_split(small_zoo)  # rows that were learned from are test rows now
    with refused("another split"):  # type: ignore[attr-defined]
        select(small_zoo, tmp_path / "run")


def test_another_selection_in_the_folder_is_refused(
    small_zoo: Path, tmp_path: Path, refused: Callable[..., object]
) -> None:
    select(small_zoo, tmp_path / "run")
    with refused("another task", "another folder"):  # type: ignore[attr-defined]
        select(small_zoo, tmp_path / "run", task="cars")
    with refused("another config"):  # type: ignore[attr-defined]
        select(small_zoo, tmp_path / "run", SelectConfig(budget=9, epochs=3, head=HEAD))


def test_the_default_folder_tells_selections_apart(small_zoo: Path, saved: Path) -> None:
    def name(
        task: str = "apples", config: SelectConfig = QUICK, spider: Spider | None = None
    ) -> str:
        return run_name(FeatureStore(small_zoo), task, config, spider)

    assert name() == name()
    names = [name(), name("cars"), name(config=SelectConfig())]
    FeatureStore.write_features(small_zoo, "wide", "apples", np.zeros((40, 12), np.float32))
    names.append(name())
    with_split(small_zoo)
    names.append(name())
    FeatureStore.write_manifest(small_zoo, tasks={"apples": {"measure": "matthews"}})
    names.append(name())
    spider = Spider.load(saved)
    assert spider.memory is not None
    moved = spider.weights._replace(project=spider.weights.project + 1)
    other = spider.memory._replace(targets=spider.memory.targets + 1)
    for one in (spider, replace(spider, weights=moved), replace(spider, memory=other)):
        names.append(name(spider=one))
    assert len(set(names)) == len(names)
    assert name(spider=Spider.load(saved)) == name(spider=spider)
