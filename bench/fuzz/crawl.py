"""Every JSON, TOML, CSV and .npy that the command line reads, spoiled in many ways: it answers.

    python bench/fuzz/crawl.py --examples 2000

A file of a zoo, a spider, an index, records, a prior, a search, facts, a result, a page of settings
or past results is damaged: bytes flipped, cut, nested, swapped with another file, given huge
numbers, renamed, replaced by a FIFO or a link. Then a command that reads it runs in this process.
It must end with exit code 0, 2 or 3 within the limit, without a traceback, and nothing outside its
folders may change. Damage that nobody can see, as a bit of a feature, ends with 0. Prints what
fails, and exits with the number of failures. About five minutes on one core.
"""

import contextlib
import io
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import numpy as np
import tyro

from spider_jax.cli.app import main as command_line
from spider_jax.index.zoo_index import ZooIndex
from spider_jax.recommend.records_prior import RecordsPrior
from spider_jax.recommend.saved_prior import save_prior
from spider_jax.recommend.search import RunSearch
from spider_jax.records.performance import PastResults
from spider_jax.records.table import Records
from spider_jax.spider.spider import Spider
from spider_jax.tasks.sampling import TaskConfig
from spider_jax.training.config import TrainConfig
from spider_jax.training.train_spider import train
from spider_jax.zoo.store import FeatureStore

EXPECTED = {0, 2, 3}
SUFFIXES = (".json", ".toml", ".csv", ".npy", ".txt", ".gz")
HUGE = ("1e999", "-1", "9" * 400, "1e9", "NaN", "4294967296", "0.5")
PAGE = 'budget = 8\nrecall = "logme"\n[head]\nhidden = 0\nlearning_rate = 0.001\n'


# ---- what is spoiled, and who reads it -------------------------------------------------------


@dataclass(frozen=True)
class Base:
    """Sound folders that the examples spoil and mend again.

    Attributes:
        folder: holds zoo/, spider/, index/, records/, prior/ and single files, and nothing else.
        task: of the zoo.
    """

    folder: Path
    task: str

    @property
    def page(self) -> Path:
        """Where a page may be written: apart from all that must not change."""
        return Path(os.environ["XDG_CACHE_HOME"]) / "page.html"

    def files(self) -> list[Path]:
        """Those that are spoiled, in a fixed order."""
        found = (p for p in sorted(self.folder.rglob("*")) if p.suffix in SUFFIXES)
        return [path for path in found if path.is_file()]

    def commands(self, path: Path) -> list[list[str]]:
        """What reads a file."""
        parts = ("zoo", "spider", "index", "records", "prior", "search.json")
        zoo, spider, index, records, prior, search = (str(self.folder / name) for name in parts)
        rank = ["rank", spider, zoo, self.task, "--json"]
        top = ["index", "top-k", index, zoo, self.task, "-k", "2"]
        by_part = {
            "zoo": [
                ["inspect", zoo, "--check"],
                ["score", zoo, self.task, "--metrics", "knn", "--no-cache"],
                rank,
            ],
            "spider": [rank],
            "index": [top, ["index", "verify", index]],
            "records": [["records", "check", records]],
            "prior": [
                ["rank", prior, "--describe", "birds that sing", "--json"],
                ["next", prior, "--describe", "birds that sing"],
            ],
            "search.json": [["next", prior, "--state", search]],
            "facts.csv": [[*rank, "--facts", str(path), "--where", "params <= 5M"]],
            "result.json": [["report", str(path), "--out", str(self.page)]],
            # The task is unknown: these end once page and results are read.
            "page.toml": [["select", zoo, "nobody", "--config", str(path)]],
            "past.json": [["select", zoo, "nobody", "--repository", str(path)]],
        }
        return by_part[path.relative_to(self.folder).parts[0]]


def make_base(folder: Path) -> Base:
    """A small zoo with a spider, an index, a page of settings and past results of it."""
    rng, zoo = np.random.default_rng(0), folder / "zoo"
    widths = {"psi": 6, "vgg": 5, "org/vit": 8}
    for task, classes in (("apples", 3), ("birds", 4), ("cars", 3)):
        labels = rng.permutation(np.arange(40) % classes)
        FeatureStore.write_labels(zoo, task, labels)
        for model, width in widths.items():
            features = rng.normal(size=(classes, width))[labels] + rng.normal(size=(40, width))
            FeatureStore.write_features(zoo, model, task, features.astype(np.float32))
    FeatureStore.write_manifest(zoo, extractor="psi", models={name: {} for name in widths})
    rows = [f"{model},apples,0.5" for model in widths]
    (zoo / "accuracies.csv").write_text("\n".join(["model,task,accuracy", *rows, ""]))
    small = TaskConfig(count=12, max_classes=3, rows=24, min_per_class=4, max_per_class=8)
    config = TrainConfig(width=8, members=1, epochs=1, batch=4, held_out=1, tasks=small)
    train(FeatureStore(zoo), config).save(folder / "spider")
    return complete_base(folder, "apples")


def complete_base(folder: Path, task: str) -> Base:
    """Splits, an index, a page and past results, beside the zoo and the spider of a folder."""
    zoo = FeatureStore(folder / "zoo")
    rows = len(zoo.labels(task))
    (folder / "zoo" / "splits").mkdir(exist_ok=True)
    split = (np.arange(rows) % 5 == 4).astype(np.int8)
    np.save(folder / "zoo" / "splits" / f"{task}.npy", split)
    ZooIndex.build(Spider.load(folder / "spider"), folder / "index")
    for path in (folder / "index" / "index.json", folder / "spider" / "checksums.json"):
        _unseal(path)
    (folder / "page.toml").write_text(PAGE)
    PastResults.from_accuracies(zoo.accuracies).save(folder / "past.json")
    _add_records(folder)
    (folder / "facts.csv").write_text("model,params,licence\npsi,4M,mit\nvgg,130M,\n")
    Spider.load(folder / "spider").rank_task(zoo, task).to_json(folder / "result.json")
    return Base(folder, task)


def _add_records(folder: Path) -> None:
    """Records of a few models, a prior of them, and a search that has begun."""
    values = np.random.default_rng(1).normal(size=(5, 6))
    models, tasks = ("ada", "bob", "cy", "dan", "eve"), [f"birds {i}" for i in range(6)]
    rows = [(m, t, float(values[i, j])) for i, m in enumerate(models) for j, t in enumerate(tasks)]
    records = Records.from_rows(rows)
    records.write(folder / "records")
    prior = RecordsPrior.fit(records)
    save_prior(prior, folder / "prior")
    RunSearch(prior, "birds that sing", direction="larger").tell("bob", 0.4).save(
        folder / "search.json"
    )


def _unseal(path: Path) -> None:
    """As older versions wrote it: a checksum of the whole would find every damage at once."""
    content = json.loads(path.read_text())
    for name in ("checksum", "description"):
        content.pop(name, None)
    path.write_text(json.dumps(content))


# ---- damage ----------------------------------------------------------------------------------

Damage = Callable[[bytes, random.Random, Sequence[Path]], bytes]


def flip(content: bytes, rng: random.Random, others: Sequence[Path]) -> bytes:
    """Some bytes are others."""
    spoiled = bytearray(content or b"\0")
    for _ in range(rng.choice((1, 1, 2, 8))):
        spoiled[rng.randrange(min(len(spoiled), rng.choice((16, 128, 1 << 20))))] = rng.randrange(
            256
        )
    return bytes(spoiled)


def cut(content: bytes, rng: random.Random, others: Sequence[Path]) -> bytes:
    """The end is missing."""
    return content[: rng.randrange(len(content) + 1)]


def grow(content: bytes, rng: random.Random, others: Sequence[Path]) -> bytes:
    """Something stands behind the end."""
    return content + rng.choice((b"\0", content, b"]", b"\n,,,,\n", b"\xff\xfe"))


def nest(content: bytes, rng: random.Random, others: Sequence[Path]) -> bytes:
    """Everything, or one value, is deep within lists or objects."""
    depth = rng.choice((1, 60, 900, 100_000))
    opening, closing = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    if content.startswith(b"{"):
        content = json.dumps(_with_value(json.loads(content), rng, "@@")).encode()
        return content.replace(b'"@@"', opening * depth + b"1" + closing * depth, 1)
    return b"a = " + opening * depth + b"1" + closing * depth


def change_value(content: bytes, rng: random.Random, others: Sequence[Path]) -> bytes:
    """One value of a JSON is of another kind; of other files, one word."""
    odd: object = rng.choice(
        (None, True, -1, 2.5, 1e300, 10**40, "", "x" * 300, "\x1b[31m", [], {}, [[]])
    )
    if content.startswith(b"{"):
        return json.dumps(_with_value(json.loads(content), rng, odd)).encode()
    return re.sub(rb"[a-z]+", str(odd).encode(), content, count=rng.choice((1, 3)))


def huge_number(content: bytes, rng: random.Random, others: Sequence[Path]) -> bytes:
    """One number is huge, negative or none."""
    places = list(re.finditer(rb"(?<![\w.])-?\d+(\.\d+)?", content[:10_000]))
    if not places:
        return content + rng.choice(HUGE).encode()
    at = rng.choice(places)
    return content[: at.start()] + rng.choice(HUGE).encode() + content[at.end() :]


def swap(content: bytes, rng: random.Random, others: Sequence[Path]) -> bytes:
    """Another file stands there."""
    return rng.choice(others).read_bytes()


def reverse_lines(content: bytes, rng: random.Random, others: Sequence[Path]) -> bytes:
    """Lines, as of names, are in another order."""
    return b"\n".join(reversed(content.split(b"\n")))


DAMAGE: tuple[Damage, ...] = (
    *(flip, cut, grow, nest, change_value, huge_number, swap, reverse_lines),
)
PLACES = ("renamed", "missing", "folder", "fifo", "link")  # instead of another content


def _with_value(content: object, rng: random.Random, value: object) -> object:
    """One leaf of a JSON, or a part of it, is another value."""
    if isinstance(content, dict) and content and rng.random() < 0.9:
        key = rng.choice(sorted(content))
        return content | {key: _with_value(content[key], rng, value)}
    if isinstance(content, list) and content and rng.random() < 0.9:
        at = rng.randrange(len(content))
        return [*content[:at], _with_value(content[at], rng, value), *content[at + 1 :]]
    return value


@contextlib.contextmanager
def spoiled(path: Path, rng: random.Random, others: Sequence[Path]) -> Iterator[str]:
    """Spoil a file inside the block; yields how."""
    content, aside = path.read_bytes(), path.with_name(f"{path.name}.moved")
    how = rng.choice((*(damage.__name__ for damage in DAMAGE), rng.choice(PLACES)))
    try:
        if how in PLACES:
            path.rename(aside)
            _put(path, how, aside)
        else:
            damage = next(d for d in DAMAGE if d.__name__ == how)
            path.write_bytes(damage(content, rng, others))
        yield how
    finally:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        aside.unlink(missing_ok=True)
        path.write_bytes(content)


def _put(path: Path, how: str, aside: Path) -> None:
    if how == "renamed":
        aside.rename(path.with_name(f"{path.stem}.moved"))
        path.with_name(f"{path.stem}.moved").rename(aside)
    elif how == "folder":
        path.mkdir()
    elif how == "fifo":
        os.mkfifo(path)
    elif how == "link":
        path.symlink_to("/dev/zero")


# ---- one example -----------------------------------------------------------------------------


class _Hang(BaseException):
    """A command took longer than the limit; no `except Exception` of it may answer."""


def _stop(number: int, frame: FrameType | None) -> None:
    raise _Hang


def run(arguments: Sequence[str], limit: float) -> tuple[object, str]:
    """A command in this process: its exit code, or what it failed with, and what it says."""
    said = io.StringIO()
    before = signal.signal(signal.SIGALRM, _stop)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(said):
            command_line(list(arguments))
    except SystemExit as left:
        return left.code, said.getvalue()
    except _Hang:
        return "hang", traceback.format_exc(limit=-4)
    except BaseException:
        return "traceback", traceback.format_exc(limit=-6)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return "no exit", ""


def example(base: Base, seed: int, limit: float) -> tuple[str, str]:
    """One file spoiled and read.

    Returns:
        How it ended, and what is wrong with that ("" where nothing is).
    """
    rng = random.Random(seed)
    files = base.files()
    text = [path for path in files if path.suffix != ".npy"]
    zoo = [path for path in files if path.is_relative_to(base.folder / "zoo")]
    path = rng.choice(rng.choice((text, text, zoo, files)))
    command = rng.choice(base.commands(path))
    before = snapshot(base)
    with spoiled(path, rng, files) as how:
        code, said = run(command, limit)
    where = f"seed {seed}: {path.relative_to(base.folder)} {how}, {' '.join(command[:2])}"
    wrong = ""
    if code not in EXPECTED:
        wrong = f"{where}: {code}\n{said}"
    elif code != 0 and (not said.startswith("spider-jax: ") or "Traceback" in said):
        wrong = f"{where}: exit {code} without a line\n{said}"
    elif "\x1b" in said:
        wrong = f"{where}: control characters\n{said!r}"
    elif snapshot(base) != before:
        wrong = f"{where}: it wrote something"
    return str(code), wrong


def snapshot(base: Base) -> dict[str, int]:
    """Files around the folder, but for the page, and their sizes."""
    around = [p for p in base.folder.parent.rglob("*") if p.is_file() and p != base.page]
    return {str(path): path.stat().st_size for path in around}


def crawl(base: Base, seeds: Sequence[int], limit: float) -> tuple[Counter[str], list[str]]:
    """Many examples: how often they ended how, and what was wrong."""
    ends: Counter[str] = Counter()
    wrong = []
    for seed in seeds:
        end, problem = example(base, seed, limit)
        ends[end] += 1
        if problem:
            wrong.append(problem)
    return ends, wrong


def main(examples: int = 2000, first: int = 0, limit: float = 5.0) -> None:
    """Crawl.

    Args:
        examples: how many.
        first: seed of the first; the others follow.
        limit: seconds that a command may take.
    """
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["XDG_CACHE_HOME"] = f"{temporary}/cache"
        base = make_base(Path(temporary) / "base")
        ends, wrong = crawl(base, range(first, first + examples), limit)
    print("\n".join(wrong))
    print(f"{examples} examples, exit codes {dict(ends)}, {len(wrong)} wrong")
    sys.exit(min(len(wrong), 100))


if __name__ == "__main__":
    tyro.cli(main)
