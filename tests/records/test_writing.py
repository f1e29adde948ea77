"""Records are written all or nothing, and what is written is read."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spider_jax.records.files import values as values_module
from spider_jax.records.table import Records
from support.records_folders import folder, same

Refused = Callable[..., object]
names = st.text(st.characters(exclude_categories=("Cc", "Cs", "Cn")), min_size=1, max_size=6)
cells = st.tuples(names, names, st.floats(allow_nan=False, allow_infinity=False), st.floats(0, 1))


@settings(max_examples=25)
@given(st.lists(cells, max_size=8, unique_by=lambda row: row[:2]), names)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, rows: list, fact: str
) -> None:
    import unicodedata

    clean = {
        tuple(unicodedata.normalize("NFC", name).strip() for name in row[:2]): row[2:]
        for row in rows
    }
    known = [(*pair, *numbers) for pair, numbers in clean.items() if all(pair)]
    plain = Records.from_rows((m, t, 1e3 + abs(v), s) for m, t, v, s in known).without_single()
    records = Records(
        plain.models, plain.tasks, plain.model, plain.task, plain.value, plain.stderr,
        {"org": (fact.strip(),) * len(plain.models)}, {"type": ("",) * len(plain.tasks)},
        set_aside=plain.set_aside,
    )  # fmt: skip
    where = tmp_path_factory.mktemp("written")
    records.write(where)
    same(Records.read(where), records)
    records.write(where)
    same(Records.read(where), records)


def test_blocks_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "".join(f"m{i % 7},t{i % 11},{i % 77}\n{chr(10) * (i % 3 == 0)}" for i in range(300))
    where = folder(tmp_path, "model,task,value\n" + rows)
    whole = Records.read(where)
    monkeypatch.setattr(values_module, "BLOCK", 7)
    same(Records.read(where), whole)


def test_foreign_folders_stay_as_they_are(tmp_path: Path, refused: Refused) -> None:
    records = Records.read(folder(tmp_path / "mine"))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_text("")
    with refused("photos is not empty and holds no records"):
        records.write(tmp_path / "photos")
    with refused("is a file"):
        records.write(tmp_path / "mine" / "values.csv")
    (tmp_path / "mine" / "models.csv").mkdir()
    with refused("models.csv is a folder"):
        records.write(tmp_path / "mine")


def test_other_files_of_the_folder_stay(tmp_path: Path) -> None:
    where = folder(tmp_path)
    (where / "README.md").write_text("mine")
    Records.read(where).write(where)
    assert sorted(p.name for p in where.iterdir()) == [
        "README.md",
        "models.csv",
        "tasks.csv",
        "values.csv",
    ]


@pytest.mark.parametrize("step", range(6))
def test_a_writer_that_is_killed_leaves_old_or_new(
    step: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every rename is a point where a process may end: readers see one whole state at each."""
    where = folder(tmp_path, models="model,org\na,x\n", tasks="task,type\nt,x\n")
    old = Records.read(where)
    new = old.with_records([("c", "u", 0.25), ("d", "u", 0.5)])
    real, count = os.replace, 0

    class Killed(BaseException):
        """The end of the process."""

    def replace(*paths: object) -> None:
        nonlocal count
        if count == step:
            raise Killed
        count += 1
        real(*paths)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "replace", replace)
    with contextlib.suppress(Killed):
        new.write(where)
    monkeypatch.undo()
    found = Records.read(where)
    same(found, old if len(found) == len(old) else new)
    assert (len(found) == len(old)) == (step < 3)  # three files, then the rename, then three moves
    new.write(where)
    same(Records.read(where), new)
    assert not (where / ".changes").exists()


WRITER = """
import sys
from spider_jax.records.table import Records
where = sys.argv[1]
big = Records.from_rows((f"m{i}", f"t{j}", i + j + 5.0) for i in range(60) for j in range(40))
small = big.for_models(["m0", "m1"])
print("ready", flush=True)
while True:
    big.write(where)
    small.write(where)
"""


@pytest.mark.slow
def test_kill_9_leaves_one_whole_state(tmp_path: Path) -> None:
    """A process that writes two tables in turn is killed: one of them is there, whole."""
    where = tmp_path / "records"
    for wait in (0.05, 0.31):
        command = [sys.executable, "-c", WRITER, str(where)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            time.sleep(wait)
            writer.kill()
        if where.exists() and any(where.glob("values*")):
            found = Records.read(where)
            assert (len(found.models), len(found)) in ((60, 2400), (2, 80))
            assert (found.value == found.model + found.task + 5.0).all()
    Records.from_rows([("a", "t", 0.5), ("b", "t", 0.5)]).write(where)
    assert len(Records.read(where)) == 2
