"""The strictest modes for every test, and what tests share: zoos, a spider, a command."""

import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import jaxtyping
import pytest
from hypothesis import settings

from support.small_zoo import write_small_zoo

if TYPE_CHECKING:
    from spider_jax.spider.spider import Spider
    from support.command_line import Command, Result

# Shapes and types of every function of the package are checked, which works only if the hook
# comes before the first import: tests import the package themselves, fixtures import it late.
jaxtyping.install_import_hook("spider_jax", "beartype.beartype")
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
settings.register_profile("deterministic", derandomize=True, database=None, deadline=None)
settings.load_profile("deterministic")

collect_ignore = ["support/toyset"]  # a dataset of TFDS, registered where it is imported
# What compares bits is compiled as users do. `pytest -o quick=false` compiles all tests so.
AS_USERS = (
    "tests/spider/test_own_attention.py",
    "tests/spider/test_scoring.py",
    "tests/training/test_precision.py",
    "tests/written_before",
)
pytest.register_assert_rewrite("support.command_line")
# Programs that tests start import the same `support`.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
)


def pytest_configure(config: pytest.Config) -> None:
    """What one worker, or a program that a test starts, has compiled no other compiles again."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="compiled-")
        config.add_cleanup(folder.cleanup)
        os.environ["JAX_COMPILATION_CACHE_DIR"] = folder.name
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.01"
        # As pytest's own: half an entry, of a worker that writes it or was killed, costs time only.
        half = "ignore:Error reading persistent compilation cache entry"
        os.environ["PYTHONWARNINGS"] = ",".join(
            [*filter(None, [os.environ.get("PYTHONWARNINGS")]), half]
        )
    # JAX was imported before these were set.
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.01)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Whether tests compile quickly: there is much to compile and little to run."""
    parser.addini("quick", "compile all but AS_USERS quickly", type="bool", default=True)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """All but AS_USERS compile quickly; no program goes from one kind of test to the other."""
    from support.quick_compilation import compile_quickly

    place = item.path.relative_to(item.config.rootpath).as_posix()
    compile_quickly(bool(item.config.getini("quick")) and not place.startswith(AS_USERS))
    return (yield)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's cache, or another test's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def refused() -> Callable[..., AbstractContextManager[None]]:
    """`with refused("labels", "N=3"):` the block raises InputError, one line with these words."""
    from spider_jax.errors import InputError

    @contextmanager
    def refused(*mentions: object) -> Iterator[None]:
        with pytest.raises(InputError) as caught:
            yield
        message = str(caught.value)
        assert message.splitlines() == [message]
        assert [m for m in mentions if str(m) not in message] == [], message

    return refused


@pytest.fixture
def small_zoo(tmp_path: Path) -> Path:
    """The zoo of `write_small_zoo`, for a test to do with as it likes."""
    return write_small_zoo(tmp_path / "small_zoo")


@pytest.fixture
def real_zoo() -> Path:
    """23 real models on 14 real tasks; needs the environment variable SPIDER_JAX_DATA."""
    data = os.environ.get("SPIDER_JAX_DATA")
    if not data:
        pytest.skip("set SPIDER_JAX_DATA to the folder that holds real_zoo to run this test")
    return Path(data) / "real_zoo"


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> "Iterator[Command]":
    """command("score", zoo, ...): runs here; the level of the log is put back."""
    from spider_jax.cli.app import main
    from support.command_line import Result

    def command(*arguments: object) -> "Result":
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(left.value.code, captured.out, captured.err)

    log = logging.getLogger("spider_jax")
    level = log.level
    yield command
    log.setLevel(level)


@pytest.fixture(scope="session")
def trained_spiders() -> "dict[str, Spider]":
    """What `spider` has trained: the zoo is the same in every test, so once is enough."""
    return {}


@pytest.fixture
def spider(small_zoo: Path, trained_spiders: "dict[str, Spider]") -> "Spider":
    """A spider of the small zoo, trained in a few steps."""
    from spider_jax.zoo.store import FeatureStore
    from support.small_training import train

    if "spider" not in trained_spiders:
        trained_spiders["spider"] = train(FeatureStore(small_zoo))
    return trained_spiders["spider"]


@pytest.fixture
def saved(spider: "Spider", tmp_path: Path) -> Path:
    """The folder of the saved spider."""
    spider.save(tmp_path / "spider")
    return tmp_path / "spider"
