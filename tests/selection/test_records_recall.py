"""Recall by records: what results elsewhere say of the described task decides who starts."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from spider_jax.recommend.records_prior import RecordsPrior
from spider_jax.recommend.saved_prior import save_prior
from spider_jax.selection.run import SelectConfig, run_name
from spider_jax.selection.two_phases import select_models
from spider_jax.zoo.store import FeatureStore
from support.command_line import Command, one_line
from support.small_records import records_of, table_of
from support.small_selection import HEAD
from support.small_zoo import SMALL_MODELS

pytestmark = pytest.mark.slow
CONFIG = SelectConfig(budget=4, epochs=2, recall="records", head=HEAD)
TASKS = ("plums", "owls", "vans", "apples", "figs")


@pytest.fixture(scope="module")
def known() -> RecordsPrior:
    """Of all models but the last, the results on apples held out."""
    records = records_of(table_of(5, 5), (*SMALL_MODELS[:3], "else", "more"), TASKS)
    return RecordsPrior.fit(records, hold_out=["apples"])


def test_the_records_decide_who_starts(
    small_zoo: Path, tmp_path: Path, known: RecordsPrior
) -> None:
    zoo = FeatureStore(small_zoo)
    found = select_models(zoo, "apples", CONFIG, run=tmp_path / "run", records=known)
    entries = list(found.selector.entries.values())
    belief = known.belief("apples")
    order = [n for n in np.array(belief.names)[np.argsort(-belief.mean)] if n in SMALL_MODELS]
    assert [e.model for e in entries] == [*order, SMALL_MODELS[3]]  # without records: last
    assert [e.fate == "not started" for e in entries] == [False] * 3 + [True]


def test_another_prior_is_another_selection(small_zoo: Path, known: RecordsPrior) -> None:
    other = RecordsPrior.fit(records_of(table_of(4, 4, seed=9), SMALL_MODELS, TASKS[:4]))
    zoo = FeatureStore(small_zoo)
    names = {run_name(zoo, "apples", CONFIG, records=p) for p in (known, other, None)}
    assert len(names) == 3


def test_a_prior_that_has_seen_the_task_is_refused(
    small_zoo: Path, tmp_path: Path, refused: Callable[..., object]
) -> None:
    seen = RecordsPrior.fit(records_of(table_of(4, 5), SMALL_MODELS, TASKS))
    zoo = FeatureStore(small_zoo)
    with refused("'apples'", "--hold-out"):  # type: ignore[attr-defined]
        select_models(zoo, "apples", CONFIG, run=tmp_path / "a", records=seen)
    with refused("recall='records' needs a prior"):  # type: ignore[attr-defined]
        select_models(zoo, "apples", CONFIG, run=tmp_path / "b")


def test_the_command_takes_the_folder_of_a_prior(
    command: Command, small_zoo: Path, tmp_path: Path, known: RecordsPrior
) -> None:
    save_prior(known, tmp_path / "prior")
    asked = ("select", small_zoo, "apples", "--recall", tmp_path / "prior", "--budget", "4")
    options = ("--epochs", "2", "--describe", "fruit", "--run", tmp_path / "run", "--json")
    done = command(*asked, *options)
    assert done.code == 0, done.err
    rows = json.loads(done.out)["rows"]
    assert {row["model"] for row in rows} == set(SMALL_MODELS)
    again = command(*asked, *options[:2], "--run", tmp_path / "run")
    one_line(again, str(tmp_path / "run"))  # described otherwise
