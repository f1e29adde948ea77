"""A TOML page becomes settings of any kind, or one line that says what is wrong with it."""

import re
import tomllib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path

import pytest

from spider_jax.errors import InputError
from spider_jax.selection.run import SelectConfig
from spider_jax.storage.toml_page import read_page, settings_from, with_options
from spider_jax.tasks.sampling import TaskConfig
from spider_jax.training.config import TrainConfig, load_config, read_config
from spider_jax.tuning.config import TuneZooConfig

Refused = Callable[..., AbstractContextManager[None]]
CONFIGS = Path(__file__).parents[2] / "configs"
PAGES = sorted(CONFIGS.rglob("*.toml"))
KINDS = {"train": TrainConfig, "select": SelectConfig, "tune": TuneZooConfig}
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


# ---- any dataclass ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Leg:
    length: float = 1.0
    toes: tuple[int, ...] = (5,)

    def __post_init__(self) -> None:
        if self.length <= 0:
            raise InputError(f"length must be > 0, got {self.length}")


@dataclass(frozen=True)
class Body:
    legs: int | None = 8
    leg: Leg = field(default_factory=Leg)


@dataclass(frozen=True)
class Animal:
    name: str = "spider"
    marks: tuple[str, ...] | None = None
    body: Body = field(default_factory=Body)


def test_tables_in_tables(tmp_path: Path) -> None:
    text = 'name = "ant"\n[body]\nlegs = 6\n[body.leg]\nlength = 2\ntoes = []'
    wanted = Animal("ant", None, Body(6, Leg(2.0, ())))
    assert read_page(page(tmp_path, text), Animal) == wanted


def test_none_is_a_word_where_it_is_allowed(tmp_path: Path) -> None:
    text = 'marks = ["cross"]\n[body]\nlegs = "none"'
    assert read_page(page(tmp_path, text), Animal) == Animal("spider", ("cross",), Body(None))
    assert settings_from({"marks": None}, Animal, "animal.json") == Animal()


@pytest.mark.parametrize(
    ("text", "mentions"),
    [
        ("[body]\nlegs = 0.5", ('page.toml [body]: legs must be int or "none", got 0.5',)),
        ("[body]\nlimbs = 8", ("page.toml [body]: unknown key 'limbs', did you mean 'legs'?",)),
        ("[body]\nleg = 8", ("page.toml: body.leg must be a table, [body.leg]",)),
        ("[body.leg]\nlength = 0", ("page.toml [body.leg]: length must be > 0, got 0.0",)),
        ("[body.leg]\ntoes = [1, 2.5]", ("[body.leg]: toes, entry 1 must be int, got 2.5",)),
        ('marks = "x"', ("marks must be a list of str or \"none\", got 'x'",)),
    ],
)
def test_a_message_names_page_table_and_key(
    tmp_path: Path, refused: Refused, text: str, mentions: tuple[str, ...]
) -> None:
    path = page(tmp_path, text)
    with refused(*mentions):
        read_page(path, Animal)


def test_options_go_before_a_page_in_tables_too() -> None:
    animal = Animal("ant", None, Body(6, Leg(2.0)))
    assert with_options(animal, {}) == animal
    found = with_options(animal, {"name": "bee", "legs": None, "toes": (3,)})
    assert found == Animal("bee", None, Body(None, Leg(2.0, (3,))))
    assert with_options(animal, {"body": Body(4)}) == Animal("ant", None, Body(4))
    assert animal == Animal("ant", None, Body(6, Leg(2.0)))
    with pytest.raises(InputError, match="length must be > 0"):
        with_options(animal, {"length": -1.0})
    with pytest.raises(TypeError, match="wings"):
        with_options(animal, {"wings": 2})


# ---- a spider's JSON -------------------------------------------------------------------------


def test_a_spiders_settings_are_read_again(refused: Refused) -> None:
    config = TrainConfig(epochs=3, teachers=("knn",), tasks=TaskConfig(count=7))
    assert read_config(asdict(config)) == config
    assert read_config({}) == TrainConfig()
    with refused("spider.json: unknown key 'epochz'"):
        read_config({"epochz": 3})
    with refused("spider.json [tasks]: count must be at least 1, got 0"):
        read_config({"tasks": {"count": 0}})


# ---- the pages that ship ---------------------------------------------------------------------


def test_pages_ship() -> None:
    assert {"real_zoo.toml", "smoke.toml"} <= {path.name for path in PAGES}
    assert {path.parent.name for path in PAGES} == set(KINDS)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_page_loads_and_names_its_command(path: Path) -> None:
    header = re.match(r"(#.*\n)+", path.read_text())
    assert header
    command = rf"spider-jax {path.parent.name} .*--config {path.relative_to(CONFIGS.parent)}"
    assert re.search(command, header[0])


def said(settings: object, content: Mapping[str, object]) -> None:
    """The settings hold what the page says, table by table."""
    for key, value in content.items():
        found = getattr(settings, key)
        if isinstance(value, dict):
            said(found, value)
        elif value == "none":
            assert found is None
        else:
            assert found == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_page_means_what_it_says(path: Path) -> None:
    said(read_page(path, KINDS[path.parent.name]), tomllib.loads(path.read_text()))


def all_keys(settings: object) -> dict[str, object]:
    """Fields by name, of a table as a dict."""
    assert is_dataclass(settings)
    names = [one.name for one in fields(settings)]
    values = {name: getattr(settings, name) for name in names}
    return {name: all_keys(v) if is_dataclass(v) else None for name, v in values.items()}


def keys(content: Mapping[str, object]) -> dict[str, object]:
    return {name: keys(v) if isinstance(v, dict) else None for name, v in content.items()}


@pytest.mark.parametrize("name", ["train/real_zoo", "select/default", "tune/default"])
def test_a_default_page_writes_all_defaults_out(name: str) -> None:
    path = CONFIGS / f"{name}.toml"
    default = KINDS[path.parent.name]()
    assert read_page(path, KINDS[path.parent.name]) == default
    assert keys(tomllib.loads(path.read_text())) == all_keys(default)


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
        ("[tasks]\nsingle = 2", ("page.toml [tasks]: single must be in [0, 1], got 2",)),
        ("[tasks]\nmin_classes = 30", ("max_classes must be", "got 20: min_classes is 30")),
        ("learning_rates = [0.1, 0.0]\nmembers = 2", ("learning_rates", "must be positive", "0.0")),
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
