"""The command line: `train`; what it leaves on disk, killed and run again, in two processes.

And the synthetic zoo to train on: what is known of it.
"""

import importlib.util
import json
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np
import pytest

from spider_jax.spider.spider import Spider
from spider_jax.storage.files import digests, read_json
from spider_jax.storage.run_folder import CHECKPOINTS, CHECKSUMS
from spider_jax.training.training_set import source_datasets
from spider_jax.zoo.store import FeatureStore
from support.command_line import (
    DONE,
    TIMEOUT,
    Command,
    Result,
    Running,
    ended,
    one_line,
    trained_in,
    training,
)
from support.processes import free_port
from support.small_zoo import write_small_zoo

pytestmark = pytest.mark.slow

Refused = Callable[..., AbstractContextManager[None]]

EPOCHS, STEPS = 10, 6  # of an epoch: 24 tasks by 4
CONFIG = f"""
width = 8
members = 2
epochs = {EPOCHS}
batch = 4
held_out = 1
components = 4
memory = 1.0
optimizer = "sgd"
learning_rate = 0.01
teachers = ["knn"]
checkpoint_every = {2 * STEPS}

[tasks]
count = 24
max_classes = 4
rows = 32
min_per_class = 4
max_per_class = 8
"""


def lines_of(run: Path) -> list[dict[str, Any]]:
    path = run / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def wait_for_epochs(run: Path, count: int, process: Running) -> None:
    """Until so many are done, or the process is."""
    until = time.monotonic() + TIMEOUT
    while len(lines_of(run)) < count and process.poll() is None and time.monotonic() < until:
        time.sleep(0.01)


def arrays_of(folder: Path) -> dict[str, np.ndarray]:
    """Every array of a saved spider by name."""
    spider = Spider.load(folder)
    parts = {"weights": spider.weights, "scaling": spider.scaling, "memory": spider.memory}
    leaves, _ = jax.tree.flatten_with_path(parts)
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path]:
    """A training that nobody stopped, and the folder of its spider."""
    folder = tmp_path_factory.mktemp("trained")
    return trained_in(folder, write_small_zoo(folder / "zoo"), CONFIG)


# ---- what is left on disk --------------------------------------------------------------------


def test_train_writes_the_spider_and_its_run(trained: tuple[Result, Path]) -> None:
    found, out = trained
    assert (found.code, found.err) == (DONE, "")
    (line,) = found.out.splitlines()
    assert line.startswith("4 models, 4 source datasets, held-out weighted tau ")
    assert line.endswith(f"written to {out}")
    run = out.with_name("spider.run")
    assert sorted(path.name for path in run.iterdir()) == ["metrics.jsonl", "run.json"]
    assert {path.name for path in out.iterdir()} == {"spider.json", "checksums.json", "arrays"}
    said = read_json(run / "run.json", "training-run")["identity"]
    assert (said["epochs"], said["tasks"]["count"]) == (EPOCHS, 24)
    assert said["datasets"] == ["apples", "birds", "cars", "dice"]


def test_the_figures_of_every_epoch_are_there(trained: tuple[Result, Path]) -> None:
    lines = lines_of(trained[1].with_name("spider.run"))
    assert [line["epoch"] for line in lines] == list(range(1, EPOCHS + 1))
    assert [line["step"] for line in lines] == list(range(STEPS, STEPS * EPOCHS + 1, STEPS))
    assert all(line["loss"] > 0 and line["tasks_per_second"] > 0 for line in lines)
    assert all(-1 <= line["held_out_tau"] <= 1 for line in lines)
    assert np.ptp([line["loss"] for line in lines]) > 0
    best = max(line["held_out_tau"] for line in lines)
    assert f"held-out weighted tau {best:.3f} " in trained[0].out


# ---- interrupted -----------------------------------------------------------------------------


def test_killed_and_run_again_it_gives_the_same_spider(
    trained: tuple[Result, Path], small_zoo: Path, tmp_path: Path
) -> None:
    out, run = tmp_path / "spider", tmp_path / "elsewhere" / "run"
    page = trained[1].with_name("page.toml")
    command = small_zoo, "--config", page, "--out", out, "--run", run, "-v"
    cache = trained[1].with_name("cache")
    first = training(cache, *command)
    wait_for_epochs(run, 3, first)
    first.send_signal(signal.SIGKILL)
    assert ended(first)[0].code == -signal.SIGKILL
    assert 3 <= len(lines_of(run)) < EPOCHS
    assert not out.exists()

    (again,) = ended(training(cache, *command))
    assert again.code == DONE, again.err
    (went_on,) = [line for line in again.err.splitlines() if "going on from step" in line]
    assert int(went_on.split()[-1]) >= 2 * STEPS
    assert (out / "spider.json").read_bytes() == (trained[1] / "spider.json").read_bytes()
    found, wanted = arrays_of(out), arrays_of(trained[1])
    assert {n: a.tobytes() for n, a in found.items()} == {n: a.tobytes() for n, a in wanted.items()}
    assert len(lines_of(run)) == EPOCHS
    assert not (run / CHECKPOINTS).exists()
    assert not (run / CHECKSUMS).exists()
    assert not out.with_name("spider.run").exists()


def test_another_training_in_the_same_run_is_refused(
    trained: tuple[Result, Path], small_zoo: Path, command: Command, tmp_path: Path
) -> None:
    run, page = trained[1].with_name("spider.run"), tmp_path / "page.toml"
    before = {path: path.read_bytes() for path in run.iterdir()}
    train = ("train", small_zoo, "--config", page, "--out", tmp_path / "other", "--run", run)
    for change, mentions in {
        "width = 16": ("width", "8", "16"),
        "count = 12": ("tasks.count", "24", "12"),
    }.items():
        name = change.split(" ")[0]
        old = next(line for line in CONFIG.splitlines() if line.startswith(name))
        page.write_text(CONFIG.replace(old, change))
        one_line(command(*train), run, "holds another training", *mentions)
    page.write_text(CONFIG)
    one_line(command(*train, "--seed", 1), "holds another training", "seed")
    one_line(command(*train, "--hold-out", "dice"), "holds another training", "datasets")
    assert {path: path.read_bytes() for path in run.iterdir()} == before
    assert not (tmp_path / "other").exists()


def test_a_run_in_a_foreign_folder_is_refused(
    small_zoo: Path, command: Command, tmp_path: Path
) -> None:
    train = ("train", small_zoo, "--out", tmp_path / "spider", "--run")
    one_line(command(*train, small_zoo), "is not empty and no training run")
    one_line(command(*train, small_zoo / "manifest.json"), "is a file")


# ---- several processes -----------------------------------------------------------------------


def two(small_zoo: Path, page: Path, folder: Path) -> list[Running]:
    """Two processes that train together; the second is given another OUT, and must not use it.

    Of several processes, JAX lets the first alone keep what is compiled: they share its folder.
    """
    together = "--coordinator", f"127.0.0.1:{free_port()}", "--processes", 2, "--process"
    train = small_zoo, "--config", page, "--run", folder / "run"
    kept = page.with_name("compiled")
    return [
        training(folder / f"cache{i}", *train, "--out", folder / out, *together, i, compiled=kept)
        for i, out in enumerate(("spider", "unused"))
    ]


def same_within_rounding(folder: Path, other: Path) -> None:
    found, wanted = arrays_of(folder), arrays_of(other)
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=1e-5, err_msg=name)


def test_two_processes_train_the_same_spider_and_write_it_once(
    trained: tuple[Result, Path], small_zoo: Path, tmp_path: Path
) -> None:
    first, second = ended(*two(small_zoo, trained[1].with_name("page.toml"), tmp_path))
    assert (first.code, second.code) == (DONE, DONE), first.err + second.err
    said = [len(result.out.splitlines()) for result in (first, second)]
    assert said == [1, 0]  # one of them writes, and says so
    assert not (tmp_path / "unused").exists()
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "metrics.jsonl",
        "run.json",
    ]
    same_within_rounding(tmp_path / "spider", trained[1])


def test_two_processes_go_on_where_they_can_after_they_were_killed(
    trained: tuple[Result, Path], small_zoo: Path, tmp_path: Path
) -> None:
    page, run = trained[1].with_name("page.toml"), tmp_path / "run"
    both = two(small_zoo, page, tmp_path)
    wait_for_epochs(run, 3, both[0])
    for process in both:
        process.send_signal(signal.SIGKILL)
    assert [r.code for r in ended(*both)] == [-signal.SIGKILL] * 2
    assert 3 <= len(lines_of(run)) < EPOCHS
    newest = max(int(path.name) for path in (run / CHECKPOINTS).iterdir() if path.name.isdigit())
    for path in (run / CHECKPOINTS / str(newest)).rglob("*"):
        if path.is_file():
            path.write_bytes(b"")

    first, second = ended(*two(small_zoo, page, tmp_path))
    assert (first.code, second.code) == (DONE, DONE), first.err + second.err
    for words in (first.err, second.err):
        assert f"checkpoint of step {newest} cannot be read" in words
    assert sorted(path.name for path in run.iterdir()) == ["metrics.jsonl", "run.json"]
    assert len(lines_of(run)) == EPOCHS
    same_within_rounding(tmp_path / "spider", trained[1])


@pytest.mark.parametrize(
    ("flags", "mentions"),
    [
        (("--processes", 2), ("all three or none",)),
        (("--coordinator", "127.0.0.1:4567"), ("all three or none",)),
        (("--process", 0, "--processes", 2), ("all three or none",)),
        (
            ("--coordinator", "127.0.0.1", "--processes", 2, "--process", 0),
            ("coordinator must be host:port", "'127.0.0.1'"),
        ),
        (
            ("--coordinator", "127.0.0.1:4567", "--processes", 2, "--process", 2),
            ("process must be in 0..1", "2"),
        ),
        (
            ("--coordinator", "127.0.0.1:4567", "--processes", 0, "--process", 0),
            ("processes must be at least 1", "0"),
        ),
        (
            ("--coordinator", "192.0.2.1:4567", "--processes", 2, "--process", 0),
            ("cannot listen on coordinator 192.0.2.1:4567",),
        ),
    ],
)
def test_wrong_flags_are_one_line(
    small_zoo: Path,
    command: Command,
    tmp_path: Path,
    flags: tuple[object, ...],
    mentions: tuple[str, ...],
) -> None:
    one_line(command("train", small_zoo, "--out", tmp_path / "spider", *flags), *mentions)
    assert not (tmp_path / "spider.run").exists()


def test_a_number_that_is_none_exits_2(small_zoo: Path, command: Command, tmp_path: Path) -> None:
    found = command("train", small_zoo, "--out", tmp_path / "spider", "--processes", "two")
    assert found.code == 2
    assert "two" in found.err
    assert "Traceback" not in found.err


# ---- a synthetic zoo to train on -------------------------------------------------------------


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    script = Path(__file__).parents[2] / "bench" / "zoos" / "make_synthetic.py"
    spec = importlib.util.spec_from_file_location("make_synthetic_zoo", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SIZES = {"models": 7, "tasks": 4, "classes": 5, "latent": 3}


def write_synthetic(maker: ModuleType, out: Path, **changes: Any) -> Any:
    truth = maker.make_truth(**SIZES)
    maker.write_zoo(out, truth, **{"rows": 40, "widths": (3, 6), "held_out": 1} | changes)
    return truth


def test_the_known_accuracy_is_that_of_the_nearest_centre(maker: ModuleType) -> None:
    centres = np.random.default_rng(1).normal(size=(6, 3))
    deviation = np.array([0.3, 0.7, 1.5])
    found = maker.best_accuracy(centres, deviation, np.random.default_rng(2))
    draws = 40_000
    rng, wanted = np.random.default_rng(3), []
    for s in deviation:
        labels = np.arange(draws) % 6
        rows = centres[labels] + s * rng.normal(size=(draws, 3))
        nearest = ((rows[:, None] - centres) ** 2).sum(-1).argmin(1)
        wanted.append((nearest == labels).mean())
    error = np.sqrt(0.25 / draws + 0.25 / maker.DRAWS)
    np.testing.assert_allclose(found, wanted, atol=4 * error)
    assert list(found) == sorted(found, reverse=True)


def test_a_synthetic_zoo_is_what_its_truth_says(maker: ModuleType, tmp_path: Path) -> None:
    truth = write_synthetic(maker, tmp_path / "zoo")
    zoo = FeatureStore(tmp_path / "zoo")
    assert (zoo.problems, len(zoo.models), zoo.extractor) == ([], 7, "extractor")
    assert source_datasets(zoo) == ("task00", "task01", "task02")  # task03 is held out
    for m, model in enumerate(zoo.models):  # "extractor" sorts before "model00001"
        for t, task in enumerate(zoo.tasks):
            assert zoo.accuracies[model, task] == pytest.approx(truth.accuracy[m, t], abs=1e-6)
    orders = np.argsort(-truth.sigma, axis=0)
    assert (np.diff(np.take_along_axis(truth.accuracy, orders, 0), axis=0) >= 0).all()
    assert len({tuple(order) for order in orders.T}) > 1  # it changes with the task
    # rows of a class scatter by SPREAD and sigma: R R^T keeps of SPREAD^2 the L of D dimensions
    labels, x = zoo.labels("task00"), np.asarray(zoo.features("extractor", "task00"), np.float64)
    within = np.mean([x[labels == c].var(0, ddof=1).sum() for c in range(5)])
    assert within == pytest.approx(3 * maker.SPREAD**2 + 6 * truth.sigma[0, 0] ** 2, rel=0.25)


def test_a_synthetic_zoo_is_the_same_again_or_not_at_all(
    maker: ModuleType, refused: Refused, tmp_path: Path
) -> None:
    zoos = [tmp_path / name for name in ("one", "two", "other")]
    for zoo, seed in zip(zoos, (0, 0, 1), strict=True):
        write_synthetic(maker, zoo, seed=seed)
    one, two, other = (digests(zoo) for zoo in zoos)
    assert one == two
    assert one["features/extractor/task00.npy"] != other["features/extractor/task00.npy"]
    with refused("exists"):
        write_synthetic(maker, zoos[0])
    with refused("widths must be at least latent (3)", "(2, 6)"):
        write_synthetic(maker, tmp_path / "none", widths=(2, 6))
    with refused("rows must be at least 2 * classes (10)"):
        write_synthetic(maker, tmp_path / "none", rows=9)
    assert not (tmp_path / "none").exists()
