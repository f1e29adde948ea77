"""TFDS without TensorFlow: array_record through extract, tokens and rank; the rest is refused."""

import shutil
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch", reason="the toy models are torch's")
pytest.importorskip("PIL", reason="pictures need pillow")
pytest.importorskip("array_record", reason="these data are in array_record")

from spider_jax.extract import extract, task_from
from spider_jax.extract.data import tfds as tfds_data
from spider_jax.extract.network import reachable
from spider_jax.extract.readers import open_data
from spider_jax.extract.target_task import EXTRACTOR, rank_data
from spider_jax.tasks.tokens import task_tokens
from spider_jax.zoo.store import FeatureStore
from support.command_line import Command, one_line
from support.small_training import CONFIG, train
from support.toy_extract import SPEC, normalised, tiny, write_arrays

Refused = Callable[..., AbstractContextManager[None]]
pytestmark = pytest.mark.filterwarnings("default")  # TFDS warns of itself


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy dataset, prepared once."""
    import tensorflow_datasets as tfds

    from support.toyset.toyset_dataset_builder import Builder

    home = tmp_path_factory.mktemp("tfds")
    tfds.disable_progress_bar()
    Builder(data_dir=home, file_format="array_record").download_and_prepare()
    return home


@pytest.fixture
def home(prepared: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    shutil.copytree(prepared, tmp_path / "tfds")
    return tmp_path / "tfds"


def change(home: Path, file: str, old: str, new: str) -> None:
    path = home / "toyset" / "1.0.0" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_pictures_and_labels(prepared: Path, caplog: Any) -> None:
    from support.toyset.toyset_dataset_builder import pictures

    data = open_data(f"tfds:toyset:train?data_dir={prepared}")
    assert (data.rows, data.modality, data.kind) == (24, "image", "classification")
    assert data.classes == ("ant", "bee", "cow")
    assert "dodo" in caplog.text  # the class without rows
    assert data.labels is not None
    originals, seen = pictures(), set()
    for row in range(24):
        (number,) = np.flatnonzero((originals == np.asarray(data.item(row))).all((1, 2, 3)))
        assert data.labels[row] == number % 3
        seen.add(int(number))
    assert len(seen) == 24


def test_a_slice_of_a_split(prepared: Path) -> None:
    whole = open_data(f"tfds:toyset:train?data_dir={prepared}")
    part = open_data(f"part=tfds:toyset:train[:50%]?data_dir={prepared}&version=1.0.0")
    assert (part.name, part.rows) == ("part", 12)
    assert part.labels is not None
    assert whole.labels is not None
    assert (part.labels == whole.labels[:12]).all()


def test_through_extract_tokens_and_rank(
    prepared: Path, tmp_path: Path, refused: Refused, monkeypatch: Any
) -> None:
    options, zoo = SPEC.partition("?")[2], tmp_path / "zoo"
    models = [
        f"{name}=torch:support.toy_extract:{name}?{options}" for name in ("other", "headless")
    ]
    own = [
        f"arrays:{write_arrays(tmp_path / f'{task}.npz', 90 + n)}" for n, task in enumerate("abc")
    ]
    target = f"toys=tfds:toyset:train?data_dir={prepared}"
    assert extract([f"psi={SPEC}"], [*own, target], zoo, extractor=True).problems == []
    assert extract(models, own, zoo).problems == []
    store = FeatureStore(zoo)
    assert (store.extractor, store.tasks) == ("psi", ("a", "b", "c", "toys"))
    spider = train(store, replace(CONFIG, epochs=2), datasets=["a", "b", "c"])
    ranking = spider.rank_task(store, "toys")
    assert set(ranking.names) == {"other", "headless", "psi"}

    data = open_data(target)
    with torch.no_grad():
        x = normalised(np.stack([np.asarray(data.item(row)) for row in range(24)]))
        features = torch.relu(tiny().convolution(x)).mean((2, 3)).numpy()
    task = task_from(target, f"psi={SPEC}", zoo=store)
    assert (task.rows, task.classes, task.tokens.extractor) == (24, ("ant", "bee", "cow"), "psi")
    wanted = task_tokens(features, data.labels)
    np.testing.assert_allclose(task.tokens.centres, wanted.centres, atol=1e-5)
    assert task.tokens.deviations is not None
    np.testing.assert_allclose(task.tokens.deviations, wanted.deviations, atol=1e-5)

    again = rank_data(spider, target, f"psi={SPEC}")
    assert again.names == ranking.names
    np.testing.assert_allclose(again.scores, ranking.scores, atol=1e-5)
    monkeypatch.delenv(EXTRACTOR, raising=False)
    with refused("--extractor psi=READER:WHAT", EXTRACTOR):
        rank_data(spider, target)
    monkeypatch.setenv(EXTRACTOR, SPEC)
    with refused("must be 'psi', got 'tiny'", "psi=torch:support.toy_extract:tiny"):
        rank_data(spider, target)
    monkeypatch.setenv(EXTRACTOR, f"psi={SPEC}")
    named = rank_data(spider, target)
    assert named.names == ranking.names


# ---- what is refused -------------------------------------------------------------------------


def test_tfrecord_needs_tensorflow(home: Path, tmp_path: Path, command: Command) -> None:
    change(home, "dataset_info.json", '"array_record"', '"tfrecord"')
    data = f"tfds:toyset:train?data_dir={home}"
    found = command("extract", "--model", SPEC, "--data", data, "--out", tmp_path / "zoo")
    one_line(found, "tfrecord, which needs TensorFlow", "file_format='array_record'", "data_dir=")
    assert not (tmp_path / "zoo").exists()


def test_no_feature_names_code_to_import(home: Path, tmp_path: Path, refused: Refused) -> None:
    made = tmp_path / "made"
    package = tmp_path / "evil_features.py"
    package.write_text(f"open({str(made)!r}, 'w')\nclass Image: pass\n")
    name = "tensorflow_datasets.core.features.image_feature.Image"
    change(home, "features.json", name, "evil_features.Image")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(tmp_path)
        with refused("features.json", "names code to import", "evil_features.Image"):
            open_data(f"tfds:toyset:train?data_dir={home}")
    assert not made.exists()


def test_no_data_outside_the_folder(home: Path, refused: Refused) -> None:
    change(home, "dataset_info.json", "{DATASET}-{SPLIT}", "../../{DATASET}-{SPLIT}")
    with refused("has data outside it"):
        open_data(f"tfds:toyset:train?data_dir={home}")


def test_no_network_fails_fast(tmp_path: Path, refused: Refused, monkeypatch: Any) -> None:
    """No one listens on the discard port of this machine, as if there were no network."""
    monkeypatch.setattr(tfds_data, "DOWNLOADS", ("127.0.0.1", 9))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with refused("no network", "file_format='array_record'", str(tmp_path)):
        open_data(f"tfds:mnist:train?data_dir={tmp_path}")
    with refused("nor known to TFDS"):
        open_data(f"tfds:nonesuch:train?data_dir={tmp_path}")


def test_whether_there_is_network(monkeypatch: Any) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert reachable(("127.0.0.1", port))
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        assert reachable(("nowhere.invalid", 443))  # the proxy is what counts
    assert not reachable(("127.0.0.1", 9))  # the proxy is gone


def test_bad_names(prepared: Path, refused: Refused) -> None:
    for what in ("toyset", "toyset:", "a.b:train", "../toyset:train"):
        with refused("tfds:NAME[/config]:split"):
            open_data(f"tfds:{what}?data_dir={prepared}")
    with refused("Unknown split 'none'"):
        open_data(f"tfds:toyset:none?data_dir={prepared}")
    with refused("label must be one of", "'kind'"):
        open_data(f"tfds:toyset:train?data_dir={prepared}&label=kind")
    with refused("a dataset, not a folder above"):
        open_data(f"tfds:toyset/../toyset:train?data_dir={prepared}")


def test_damaged_records_are_one_line(home: Path, tmp_path: Path) -> None:
    (path,) = (home / "toyset" / "1.0.0").glob("*.array_record*")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = bytes(64)
    path.write_bytes(bytes(data))
    (problem,) = extract(
        [SPEC], [f"toys=tfds:toyset:train?data_dir={home}"], tmp_path / "zoo"
    ).problems
    assert "toyset" in problem.message
    assert not (tmp_path / "zoo" / "features").exists()
