"""Items that cannot be read: named at once, left out while they are few, encoded once mended."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch", reason="features of torch models need torch")
image: Any = pytest.importorskip("PIL.Image", reason="pictures need pillow")

from spider_jax.extract import extract, task_from
from spider_jax.extract.export import batches
from spider_jax.zoo.store import FeatureStore
from support import toy_extract
from support.command_line import Command
from support.toy_extract import SPEC, WIDTH, write_folder

Refused = Callable[..., AbstractContextManager[None]]
OTHER = SPEC.replace(":tiny", ":other")
BEFORE = 2 + 1 + 4 + 4 + 1  # rows that are encoded before: for the head, the width and the guard


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "pets", per_class=20)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of every batch that a model is run on, the first for its head and width left out."""
    found: list[int] = []
    forward = toy_extract.Tiny.forward

    def counted(self: Any, x: Any) -> Any:
        found.append(len(x))
        return forward(self, x)

    monkeypatch.setattr(toy_extract.Tiny, "forward", counted)
    monkeypatch.setattr(batches, "BLOCK_ROWS", 8)
    return found


def broken(*paths: Path) -> dict[Path, bytes]:
    before = {path: path.read_bytes() for path in paths}
    for path in paths:
        path.write_bytes(before[path][:60])
    return before


def features(zoo: Path, model: str = "tiny") -> Any:
    return FeatureStore(zoo).features(model, "pets")


def test_all_are_named_and_the_mended_go_on(
    pets: Path, tmp_path: Path, seen: list[int], command: Command
) -> None:
    data, zoo = f"folder:{pets}", tmp_path / "zoo"
    extract([SPEC], [data], tmp_path / "whole", batch=4)
    names = [pets / "cat" / "3.png", pets / "dog" / "0.png", pets / "dog" / "12.png"]
    before = broken(*names)
    found = command("extract", "--model", SPEC, "--data", data, "--out", zoo, "--batch", 4)
    lines = found.err.splitlines()
    assert (found.code, found.out, len(lines)) == (2, "", 3)
    assert "3 of 40 items cannot be read, at most 1.00% are left out" in lines[0]
    for name, line in zip(names, lines, strict=True):
        assert str(name) in line
    assert not (zoo / "labels").exists()
    for path, content in before.items():
        path.write_bytes(content)
    seen.clear()
    assert extract([SPEC], [data], zoo, batch=4).written == [("tiny", "pets")]
    assert sum(seen) - BEFORE == 3 * 4  # the batches of the broken, whole
    assert (features(zoo) == features(tmp_path / "whole")).all()
    assert not (zoo / ".extract").exists()


def test_few_are_left_out(pets: Path, tmp_path: Path, command: Command) -> None:
    data, zoo = f"folder:{pets}", tmp_path / "zoo"
    extract([SPEC], [data], tmp_path / "whole", batch=4)
    names = [pets / "cat" / "0.png", pets / "dog" / "7.png"]
    before = broken(*names)
    arguments = ("--data", data, "--out", zoo, "--left-out", 0.05, "--batch", 4)
    found = command("extract", "--model", SPEC, *arguments)
    assert (found.code, found.out) == (3, "written: tiny on pets\n")
    assert all(f"left out: {name}" in found.err for name in names)
    store = FeatureStore(zoo)
    rows = sorted(path.as_posix() for path in pets.rglob("*.png"))
    kept = [i for i, path in enumerate(rows) if Path(path) not in names]
    assert (store.labels("pets") == np.repeat([0, 1], 19)).all()
    np.testing.assert_allclose(features(zoo), features(tmp_path / "whole")[kept], atol=1e-6)
    for path, content in before.items():  # mended: the zoo's other models have not seen them
        path.write_bytes(content)
    again = command("extract", "--model", SPEC, OTHER, *arguments)
    assert (again.code, again.out.splitlines()) == (
        3,
        ["written: other on pets", "there already: tiny on pets"],
    )
    assert "2 of 40 rows are left out, as in" in again.err
    assert "2 of them can be read now" in again.err
    assert features(zoo, "other").shape == (38, WIDTH)
    np.save(tmp_path / "f.npy", np.array(features(zoo)))
    np.save(tmp_path / "g.npy", np.array(features(tmp_path / "whole")))
    made = [f"f=features:{tmp_path / 'f.npy'}", f"g=features:{tmp_path / 'g.npy'}"]
    imported = command("extract", "--model", *made, *arguments)
    assert imported.out == "written: f on pets\n"
    assert "g.npy and labels of 'pets'" in imported.err
    assert FeatureStore(zoo).problems == []


def test_the_share_and_the_last_row_of_a_class(pets: Path, tmp_path: Path) -> None:
    for i in range(1, 20):
        (pets / "dog" / f"{i}.png").unlink()
    broken(pets / "dog" / "0.png")
    (problem,) = extract([SPEC], [f"folder:{pets}"], tmp_path / "zoo", left_out=0.5).problems
    assert "a class would lose all its rows" in problem.message
    for share in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="left_out must be a share"):
            extract([SPEC], [f"folder:{pets}"], tmp_path / "zoo", left_out=share)


def test_an_item_that_changed_is_encoded_again(pets: Path, tmp_path: Path, seen: list[int]) -> None:
    """The export stops half-way; a picture of what is done is replaced, with as many bytes."""
    data, zoo = f"folder:{pets}", tmp_path / "zoo"
    changed = pets / "cat" / "1.png"
    for path in pets.rglob("*.png"):  # bitmaps all have the same size
        image.open(path).save(path, format="BMP")
    extract([SPEC], [data], zoo, batch=4, shard=(1, 2))
    size = changed.stat().st_size
    image.new("RGB", (toy_extract.SIDE,) * 2, (255, 0, 0)).save(changed, format="BMP")
    assert changed.stat().st_size == size
    seen.clear()
    assert extract([SPEC], [data], zoo, batch=4).written == [("tiny", "pets")]
    assert sum(seen) - BEFORE == 2 * 8 + 4  # two blocks that were missing, and one batch
    extract([SPEC], [data], tmp_path / "whole", batch=4)
    assert (features(zoo) == features(tmp_path / "whole")).all()


def test_a_changed_item_of_a_finished_export(pets: Path, tmp_path: Path) -> None:
    data, zoo = f"folder:{pets}", tmp_path / "zoo"
    extract([SPEC], [data], zoo)
    file = pets / "dog" / "3.png"
    image.open(file).rotate(90).save(file)
    (problem,) = extract([SPEC], [data], zoo).problems
    assert "was exported from other data" in problem.message


def test_shards_name_the_broken_of_each_other(pets: Path, tmp_path: Path, seen: list[int]) -> None:
    data, zoo = f"folder:{pets}", tmp_path / "zoo"
    broken(pets / "cat" / "0.png", pets / "dog" / "0.png")  # rows 0 and 20: blocks 0 and 2
    assert extract([SPEC], [data], zoo, batch=4, shard=(2, 2)).waiting == [("tiny", "pets")]
    assert extract([SPEC], [data], zoo, batch=4, shard=(1, 2)).problems != []
    found = extract([SPEC], [data], zoo, batch=4, shard=(2, 2)).problems
    assert [path in str(found) for path in ("cat/0.png", "dog/0.png")] == [True, True]


def test_a_target_task_without_the_broken(
    pets: Path, caplog: pytest.LogCaptureFixture, monkeypatch: Any, refused: Refused
) -> None:
    broken(pets / "cat" / "0.png", pets / "dog" / "5.png")
    with refused("2 of 40 items cannot be read", "cat/0.png", "dog/5.png"):
        task_from(f"folder:{pets}", SPEC)
    monkeypatch.setattr("spider_jax.extract.target_task.LEFT_OUT", 0.05)
    task = task_from(f"folder:{pets}", SPEC)
    assert (task.rows, task.classes) == (38, ("cat", "dog"))
    assert caplog.text.count("left out: ") == 2


def test_every_item_is_broken(pets: Path, tmp_path: Path, refused: Refused) -> None:
    broken(*pets.rglob("*.png"))
    problems = extract([SPEC], [f"folder:{pets}"], tmp_path / "zoo").problems
    assert len(problems) == 40
    with refused("not a readable picture"):
        task_from(f"folder:{pets}", SPEC)
