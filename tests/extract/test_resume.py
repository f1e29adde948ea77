"""An export that was killed, or dealt over processes, ends in the same bytes as one in one go."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch", reason="features of torch models need torch")
pytest.importorskip("PIL", reason="pictures need pillow")

from programs import killed_extract
from spider_jax.extract import extract
from spider_jax.extract.export import batches
from spider_jax.zoo.store import FeatureStore
from support import toy_extract
from support.command_line import one_line, rows_of
from support.toy_extract import SPEC, write_arrays

pytestmark = pytest.mark.slow

LINE = (sys.executable, "-c", "from spider_jax.cli.app import main; main()", "extract")


def contents(zoo: Path) -> dict[str, bytes]:
    """Every file that is not hidden, by its path in the zoo."""
    files = (path for path in zoo.rglob("*") if path.is_file())
    found = {path.relative_to(zoo).as_posix(): path.read_bytes() for path in files}
    if "manifest.json" in found:
        found["manifest.json"] = without_times(found["manifest.json"])
    return {name: data for name, data in found.items() if not Path(name).name.startswith(".")}


def without_times(manifest: bytes) -> bytes:
    """What does not hang on the clock: no two runs take the same time."""
    content = json.loads(manifest)
    for entry in content["models"].values():
        entry["measured"] = {"memory": entry["measured"]["memory"]}
    return json.dumps(content).encode()


def test_killed_at_any_step_then_resumed(tmp_path: Path, monkeypatch: Any) -> None:
    data = f"arrays:{write_arrays(tmp_path / 'toys.npz', 11)}"
    (tmp_path / "zoos").mkdir()
    program = [sys.executable, killed_extract.__file__, str(tmp_path / "zoos"), data]
    subprocess.run(program, check=True, cwd=Path(__file__).parents[1])
    monkeypatch.setattr(batches, "BLOCK_ROWS", 4)
    extract([f"tiny={SPEC}"], [data], tmp_path / "whole", batch=killed_extract.BATCH)
    wanted = contents(tmp_path / "whole")
    zoos = sorted((tmp_path / "zoos").iterdir())
    assert len(zoos) > 20  # three blocks, two matrices, labels, manifest, folders
    assert set(wanted) == {
        "labels/toys.npy",
        "features/tiny/toys.npy",
        "probabilities/tiny/toys.npy",
        "manifest.json",
    }
    for zoo in zoos:
        assert contents(zoo) == wanted, zoo.name
        assert not (zoo / ".extract").exists(), zoo.name


def test_two_shards_as_two_processes_equal_one(tmp_path: Path) -> None:
    data = f"arrays:{write_arrays(tmp_path / 'toys.npz', 700)}"
    arguments = ["--model", f"tiny={SPEC}", "--data", data, "--out", str(tmp_path / "zoo"), "-q"]
    running = [
        subprocess.Popen(
            [*LINE, *arguments, "--shard", f"{shard}/2"],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[1],
        )
        for shard in (1, 2)
    ]
    said = sorted(process.communicate()[0] for process in running)
    assert [process.returncode for process in running] == [0, 0]
    assert said[-1] == "written: tiny on toys\n"
    extract([f"tiny={SPEC}"], [data], tmp_path / "one")
    assert contents(tmp_path / "zoo") == contents(tmp_path / "one")
    assert not (tmp_path / "zoo" / ".extract").exists()


def test_goes_on_where_it_stopped(tmp_path: Path, command: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(batches, "BLOCK_ROWS", 4)
    data, zoo = f"arrays:{write_arrays(tmp_path / 'toys.npz', 11)}", tmp_path / "zoo"
    seen: list[int] = []
    counted = toy_extract.Tiny.forward

    def forward(self: Any, x: Any) -> Any:
        seen.append(len(x))
        return counted(self, x)

    monkeypatch.setattr(toy_extract.Tiny, "forward", forward)
    waiting = extract([f"tiny={SPEC}"], [data], zoo, batch=2, shard=(2, 2)).waiting
    assert waiting == [("tiny", "toys")]
    assert not (zoo / "labels").exists()  # nothing of it in the zoo yet
    seen.clear()
    assert extract([f"tiny={SPEC}"], [data], zoo, batch=2).written == [("tiny", "toys")]
    probes = 2 + 1 + 5  # for the head, for the widths, and before the export: 2, 2 again, 1 alone
    assert sum(seen) - probes == 4 + 3  # blocks 0 and 2; block 1 was there
    assert FeatureStore(zoo).features("tiny", "toys").shape == (11, 6)


def test_inspect_shows_what_is_unfinished(tmp_path: Path, command: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(batches, "BLOCK_ROWS", 4)
    data, zoo = f"arrays:{write_arrays(tmp_path / 'toys.npz', 11)}", tmp_path / "zoo"
    extract([f"tiny={SPEC}"], [f"done={data}"], zoo, batch=2)
    extract([f"tiny={SPEC}"], [data], zoo, batch=2, shard=(1, 2))
    found = command("inspect", zoo)
    assert "unfinished: tiny on toys, 2 of 3 blocks" in found.out
    assert rows_of(command("inspect", zoo, "--json"), "inspection")[0]["model"] == "tiny"


def test_an_unfinished_export_of_other_data_is_not_mixed(tmp_path: Path) -> None:
    zoo = tmp_path / "zoo"
    data = f"toys=arrays:{write_arrays(tmp_path / 'toys.npz', 300)}"
    extract([f"tiny={SPEC}"], [data], zoo, shard=(1, 2))
    more = f"toys=arrays:{write_arrays(tmp_path / 'more.npz', 301)}"
    (problem,) = extract([f"tiny={SPEC}"], [more], zoo).problems
    assert "unfinished export with another rows" in problem.message
    assert extract([f"tiny={SPEC}"], [data], zoo).written == [("tiny", "toys")]


def test_a_batch_without_memory_is_halved(tmp_path: Path, monkeypatch: Any, caplog: Any) -> None:
    data = f"arrays:{write_arrays(tmp_path / 'toys.npz', 16)}"
    extract([f"tiny={SPEC}"], [data], tmp_path / "wide")
    whole = toy_extract.Tiny.forward

    def forward(self: Any, x: Any) -> Any:
        if len(x) > 5:
            raise torch.OutOfMemoryError("no memory")
        return whole(self, x)

    monkeypatch.setattr(toy_extract.Tiny, "forward", forward)
    extract([f"tiny={SPEC}"], [data], tmp_path / "narrow")
    assert "no memory for a batch of 16" in caplog.text
    wide, narrow = (FeatureStore(tmp_path / zoo) for zoo in ("wide", "narrow"))
    np.testing.assert_allclose(
        narrow.features("tiny", "toys"), wide.features("tiny", "toys"), atol=1e-6
    )


# ---- a disk that is full ---------------------------------------------------------------------


@pytest.mark.parametrize("limit", [5000, 10000])
def test_a_file_size_limit(tmp_path: Path, limit: int) -> None:
    """At 5,000 bytes no block of 256 rows fits, at 10,000 no matrix of 700."""
    pytest.importorskip("resource", reason="the limit is POSIX")
    data, zoo = f"arrays:{write_arrays(tmp_path / 'toys.npz', 700)}", tmp_path / "zoo"
    arguments = ["--model", f"tiny={SPEC}", "--data", data, "--out", str(zoo)]
    program = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
    done = subprocess.run(
        [sys.executable, "-c", program + LINE[2], "extract", *arguments],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        check=False,
    )
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "spider-jax" in line]
    assert "File too large" in line
    assert "row" in line
    assert not (zoo / "features").exists()
    assert not (zoo / "labels").exists()
    after = real_run_here("extract", *arguments)
    assert (after.returncode, after.stdout) == (0, "written: tiny on toys\n")


def real_run_here(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*LINE[:3], *arguments],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        check=False,
    )


def test_shards_are_checked(tmp_path: Path, command: Any) -> None:
    data = f"arrays:{write_arrays(tmp_path / 'toys.npz', 6)}"
    for shard in ("0/2", "3/2", "half"):
        found = command(
            "extract", "--model", SPEC, "--data", data, "--out", tmp_path / "zoo", "--shard", shard
        )
        one_line(found, "i/n")
    assert not (tmp_path / "zoo").exists()
