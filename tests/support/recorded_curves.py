"""The recorded fine-tuning of two_phase_nlp and two_phase_cv, for tests."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spider_jax.records.performance import PastResults


def data() -> Path:
    folder = os.environ.get("SPIDER_JAX_DATA")
    if not folder:
        pytest.skip("set SPIDER_JAX_DATA to the folder that holds two_phase_nlp to run this test")
    return Path(folder)


def matrix(name: str) -> NDArray[np.float64]:
    """[M, T] of a published matrix; what is missing, or not above 0 (as published), is NaN."""
    with (data() / name / "matrix.csv").open(newline="") as file:
        _, *lines = csv.reader(file)
    values = np.array([[float(x or "nan") for x in line[1:]] for line in lines]).T
    return np.where(values > 0, values, np.nan)


def curves() -> PastResults:
    """37 models, 20 datasets, 5 epochs; validation rows are not part of the file: 1,000 each."""
    with np.load(data() / "two_phase_nlp" / "curves_dense.npz", allow_pickle=False) as held:
        return PastResults(
            tuple(map(str, held["models"])),
            tuple(map(str, held["datasets"])),
            held["test"],
            held["val"],
            np.full(len(held["datasets"]), 1000, np.int64),
        )
