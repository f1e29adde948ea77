"""What was probably meant: commands, readers and options that are misspelt or left out."""

import tomllib
from pathlib import Path

import pytest

from spider_jax.errors import InputError
from spider_jax.extract.readers import DATA_READERS, FEATURES, MODEL_READERS
from spider_jax.extract.spec import parse_spec
from spider_jax.runtime.optional import EXTRAS, need
from support.command_line import Command, one_line


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (("rnk", "spider", "zoo"), "spider-jax rank"),
        (("Score", "zoo"), "spider-jax score"),
        (("extarct",), "spider-jax extract"),
        (("build", "spider"), "spider-jax index build"),
        (("index", "bild"), "spider-jax index build"),
        (("records", "ft"), "spider-jax records fit"),
    ],
)
def test_commands(given: tuple[str, ...], meant: str, command: Command) -> None:
    one_line(command(*given), "unknown command", f"did you mean `{meant}`?")


def test_a_command_like_none(command: Command) -> None:
    one_line(command("xyzzy"), "unknown command 'xyzzy'", "known are demo, compare, inspect")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("resnet18", "timm:resnet18"),
        ("vit_base_patch16_224.augreg_in21k", "timm:vit_base_patch16_224.augreg_in21k"),
        ("bert/encoder", "hf:bert/encoder"),
        ("tim:resnet18", "timm:resnet18"),
        ("TorchVision:resnet18", "torchvision:resnet18"),
        ("net.onnx", "onnx:net.onnx"),
        ("deep/features.npy", "features:deep/features.npy"),
        ("f.safetensors", "features:f.safetensors"),
    ],
)
def test_models(given: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"did you mean {meant}\\?"):
        parse_spec(given, (*MODEL_READERS, FEATURES), "model")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("photos", "folder:photos"),
        ("mnist", "tfds:mnist:train"),
        ("a.csv", "csv:a.csv"),
        ("a.csv?label=y", "csv:a.csv\\?label=y"),
        ("a.parquet", "parquet:a.parquet"),
        ("a.npz", "arrays:a.npz"),
        ("org/data", "hf:org/data:train"),
        ("foldr:photos", "folder:photos"),
    ],
)
def test_data(given: str, meant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"did you mean {meant}\\?"):
        parse_spec(given, DATA_READERS, "data")


def test_options(tmp_path: Path, command: Command) -> None:
    (tmp_path / "a.csv").write_text("text,label\na,0\nb,1\n")
    given = ("--model", "timm:resnet18", "--data", f"csv:{tmp_path / 'a.csv'}?labl=label")
    found = command("extract", *given, "--out", tmp_path / "zoo")
    one_line(found, "unknown option 'labl'", "did you mean label?")


def test_the_help_lists_the_options_of_every_reader(command: Command) -> None:
    from spider_jax.extract.data import arrays, hf, images, tables, tfds

    text = " ".join(command("extract", "--help").out.replace("│", " ").split())
    modules = (arrays, hf, images, tables, tfds)
    wanted = {option for module in modules for option in module.OPTIONS}
    wanted |= {"layer", "head", "pooling", "weights", "pretrained", "logits", "layout", "key"}
    assert [option for option in sorted(wanted) if option not in text] == []


def test_every_extra_exists_and_is_named(monkeypatch: pytest.MonkeyPatch, command: Command) -> None:
    page = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    extras = page["project"]["optional-dependencies"]
    for package, extra in EXTRAS.items():
        assert any(entry.startswith(package) for entry in extras[extra]), package
    assert {"timm", "transformers", "onnxruntime"} <= set(extras)
    monkeypatch.setitem(EXTRAS, "no-such-package", "timm")
    with pytest.raises(InputError, match=r'pip install no-such-package, or "spider_jax\[timm\]"'):
        need("no_such_package", "no-such-package", "this")
