"""What cannot be added, removed or renamed: listed while the others come, or refused in a line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spider_jax.onboarding.edit import remove, rename
from spider_jax.spider.spider import Spider
from spider_jax.zoo.store import FeatureStore
from support.small_training import Refused
from support.small_zoo import SMALL_CLASSES, put
from support.toy_onboarding import KNOWN, add, add_models, trained, write_zoo

pytestmark = pytest.mark.slow


@pytest.fixture
def zoo(tmp_path: Path) -> FeatureStore:
    return write_zoo(tmp_path / "zoo")


@pytest.fixture
def known(tmp_path: Path, trained_spiders: dict[str, Spider]) -> Spider:
    return trained(trained_spiders, tmp_path)


def broken(wide: NDArray[Any]) -> NDArray[Any]:
    return np.where(wide > 1, np.nan, wide)


@pytest.mark.parametrize("cold", [False, True])
def test_what_cannot_be_used_is_listed_and_the_others_come(
    known: Spider, zoo: FeatureStore, cold: bool
) -> None:
    more = add_models(zoo.folder, broken=broken, absent=None)
    (more.folder / "features/twin/dice.npy").unlink()
    added = add(known, FeatureStore(more.folder), cold=cold)
    assert added.models == (("wide", "twin", "absent") if cold else ("wide",))
    problems = {p.model: str(p) for p in added.problems}
    assert problems.keys() == {"broken"} if cold else {"broken", "twin", "absent"}
    assert "NaN" in problems["broken"]
    if not cold:
        assert "twin on dice: no features" in problems["twin"]
        assert "absent on apples: no features" in problems["absent"]


def test_a_file_that_does_not_fit_is_named(
    known: Spider, zoo: FeatureStore, refused: Refused
) -> None:
    put(zoo.folder, "features/wide/dice", np.ones((3, 12), np.float32))
    with refused("wide on dice: ", "wide/dice.npy", "3"):
        add(known, FeatureStore(zoo.folder), ["wide"])


def test_broken_features_stop_no_guess(known: Spider, zoo: FeatureStore, refused: Refused) -> None:
    more = add_models(zoo.folder, broken=broken, absent=None)
    added = add(known, more, ["broken", "absent"], cold=True)
    assert added.models == ("absent",)
    assert [p.model for p in added.problems] == ["broken"]
    with refused("no model could be added", "broken", "NaN"):
        add(known, more, ["broken"])
    with refused("no model could be added", "absent", "add it cold"):
        add(known, more, ["absent"])


def test_names_that_cannot_be_added(known: Spider, zoo: FeatureStore, refused: Refused) -> None:
    for names, mentions in (
        (["psi"], ("knows 'psi' already", "remove it first")),
        (["wide", "pear"], ("knows no model 'pear'",)),
        ([], ("at least one", "none")),
        ("wide", ("list of names", "'wide'")),
    ):
        with refused(*mentions):
            add(known, zoo, names)
    with refused("knows all 5 models"):
        add(known, write_zoo(zoo.folder.parent / "less", KNOWN))
    assert add(known, zoo, ["wide", "wide"]).models == ("wide",)


def changed_labels(folder: Path) -> None:
    labels = np.load(folder / "labels/cars.npy")
    put(folder, "labels/cars", np.roll(labels, 1))


def another_extractor(folder: Path) -> None:
    FeatureStore.write_manifest(folder, extractor="narrow")


def a_wider_extractor(folder: Path) -> None:
    for task in SMALL_CLASSES:
        features = np.load(folder / f"features/psi/{task}.npy")
        put(folder, f"features/psi/{task}", np.tile(features, 2))


def fewer_tasks(folder: Path) -> None:
    (folder / "labels/cars.npy").unlink()


@pytest.mark.parametrize(
    ("change", "mentions"),
    [
        (changed_labels, ("labels", "not those of the training")),
        (another_extractor, ("'narrow'", "needs 'psi'")),
        (a_wider_extractor, ("'psi'", "must be 6 wide", "got 12")),
        (fewer_tasks, ("unknown task 'cars'",)),
    ],
)
def test_a_zoo_that_is_not_the_training_s(
    known: Spider,
    zoo: FeatureStore,
    refused: Refused,
    change: Callable[[Path], None],
    mentions: tuple[str, ...],
) -> None:
    change(zoo.folder)
    with refused(*mentions):
        add(known, FeatureStore(zoo.folder), ["wide"])


def test_what_cannot_be_removed_or_renamed(known: Spider, refused: Refused) -> None:
    with refused("knows no model 'pear'"):
        remove(known, ["psi", "pear"])
    with refused("list of names"):
        remove(known, "psi")
    with refused("at least two", "1 would"):
        remove(known, KNOWN[:4])
    with refused("knows no model 'pear'"):
        rename(known, {"pear": "apple"})
    with refused("two models", "'psi'"):
        rename(known, {"narrow": "psi"})
    with refused("must not be empty"):
        rename(known, {"narrow": ""})
    swapped = rename(known, {"narrow": "psi", "psi": "narrow"})
    assert swapped.models == ("blurred", "middle", "psi", "noise", "narrow")
    widths = known.description.widths
    assert swapped.description.widths["psi"] == widths["narrow"]
    assert swapped.description.widths["narrow"] == widths["psi"]


def test_guesses_alone_measure_nothing(known: Spider, zoo: FeatureStore, refused: Refused) -> None:
    cold = {f"cold {i}": None for i in range(2)}
    guessed = add(known, add_models(zoo.folder, **cold), list(cold), cold=True).spider
    assert guessed.teacher_table is not None
    assert guessed.teacher_table.measured() == list(range(5))
    with refused("too few of the models"):
        add(remove(guessed, KNOWN[:4]), zoo, ["wide"])
