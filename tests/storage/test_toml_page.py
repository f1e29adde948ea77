"""A TOML page becomes a TrainConfig, or one line that says what is wrong with it."""

import re
import tomllib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import fields, replace
from pathlib import Path

import pytest

from spider_jax.tasks.sampling import TaskConfig
from spider_jax.training.config import TrainConfig, load_config

Refused = Callable[..., AbstractContextManager[None]]
PAGES = sorted((Path(__file__).parents[2] / "configs").rglob("*.toml"))
EVERYTHING = """
seed = 7
width = 16
members = 3
teachers = ["knn", "ridge"]
aggregate = "borda"
targets = "accuracies"
calibration = 0.25
scaling = "raw"
components = 5
spread = true
held_out = 2
epochs = 50
batch = 4
accumulate = 2
loss = "listnet"
optimizer = "sgd"
learning_rate = 1
learning_rates = [0.5, 1, 2.0]
weight_decay = 0.25
dropout = 0.5
token_dropout = 0.125
token_noise = 0.0
memory = 1.5
k_max = 3
own_components = 9
clip = 0.0
patience = 4
parallel = "pmap"
model_shards = 2
checkpoint_every = 7

[tasks]
count = 9
single = 0.5
max_datasets = 2
min_classes = 2
max_classes = 6
rows = 64
min_per_class = 3
max_per_class = 12
resamples = 2
"""


def page(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "page.toml"
    path.write_text(text)
    return path


# ---- what a page means -----------------------------------------------------------------------


def test_an_empty_page_is_the_default(tmp_path: Path) -> None:
    assert load_config(page(tmp_path, "# nothing\n")) == TrainConfig()


def test_every_field_can_be_set(tmp_path: Path) -> None:
    content = tomllib.loads(EVERYTHING)
    tasks = content.pop("tasks")
    assert set(content) | {"tasks"} == {field.name for field in fields(TrainConfig)}
    assert set(tasks) == {field.name for field in fields(TaskConfig)}
    config, default = load_config(page(tmp_path, EVERYTHING)), TrainConfig()
    for name, value in content.items():
        found = getattr(config, name)
        assert found == (tuple(value) if isinstance(value, list) else value)
        assert found != getattr(default, name)
    for name, value in tasks.items():
        assert getattr(config.tasks, name) == value != getattr(default.tasks, name)


def test_a_whole_number_is_a_float_where_one_is_wanted(tmp_path: Path) -> None:
    rate = load_config(page(tmp_path, "learning_rate = 1")).learning_rate
    assert (rate, type(rate)) == (1.0, float)


def test_a_page_may_be_given_as_text(tmp_path: Path) -> None:
    assert load_config(str(page(tmp_path, "seed = 3"))) == replace(TrainConfig(), seed=3)


# ---- the pages that ship ---------------------------------------------------------------------


def test_pages_ship() -> None:
    assert {"real_zoo.toml", "smoke.toml"} <= {path.name for path in PAGES}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_a_page_loads_and_names_its_command(path: Path) -> None:
    assert load_config(path).epochs > 0
    header = re.match(r"(#.*\n)+", path.read_text())
    assert header
    assert f"--config configs/{path.name}" in header[0]


def test_the_real_zoos_page_writes_the_defaults_out() -> None:
    (path,) = [path for path in PAGES if path.name == "real_zoo.toml"]
    content = tomllib.loads(path.read_text())
    assert load_config(path) == TrainConfig()
    assert set(content) == {field.name for field in fields(TrainConfig)}
    assert set(content["tasks"]) == {field.name for field in fields(TaskConfig)}


# ---- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "mentions"),
    [
        ("epochz = 3", ("unknown key 'epochz'", "'epochs'")),
        ("qqqqq = 3", ("unknown key 'qqqqq'", "did you mean")),
        ("[tasks]\ncounts = 3", ("[tasks]", "unknown key 'counts'", "'count'")),
        ("[tusks]\ncount = 3", ("unknown key 'tusks'", "'tasks'")),
        ('seed = "0"', ("seed must be int", "'0'")),
        ("seed = true", ("seed must be int", "True")),
        ("seed = 1.0", ("seed must be int", "1.0")),
        ("spread = 1", ("spread must be bool", "1")),
        ('learning_rate = "fast"', ("learning_rate must be float", "'fast'")),
        ("learning_rate = nan", ("learning_rate must be finite", "nan")),
        ("token_noise = inf", ("token_noise must be finite", "inf")),
        ('teachers = "knn"', ("teachers must be a list", "'knn'")),
        ("teachers = [1]", ("teachers, entry 0 must be str", "1")),
        ('learning_rates = [1.0, "x"]', ("learning_rates, entry 1 must be float", "'x'")),
        ('teachers = ["knm"]', ("teachers must be", "knm")),
        ('aggregate = "mean"', ("aggregate must be", "'mean'")),
        ("tasks = 3", ("tasks must be a table",)),
        ("[tasks]\nsingle = 2", ("single must be in [0, 1]", "2")),
        ("epochs = 0", ("epochs must be at least 1", "0")),
        ("epochs = ", ("not valid TOML",)),
        ("epochs = 1\nepochs = 2", ("not valid TOML",)),
    ],
)
def test_a_wrong_page_is_refused(
    tmp_path: Path, refused: Refused, text: str, mentions: tuple[str, ...]
) -> None:
    path = page(tmp_path, text)
    with refused(path, *mentions):
        load_config(path)


def test_what_is_no_text_file_is_refused(tmp_path: Path, refused: Refused) -> None:
    with refused(tmp_path / "missing.toml", "No such file"):
        load_config(tmp_path / "missing.toml")
    with refused(tmp_path, "directory"):
        load_config(tmp_path)
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"# caf\xe9\n")
    with refused(latin, "not valid TOML"):
        load_config(latin)
