"""The published weighted tau of nine metrics, reproduced from their published scores.

The table: README of zhangyikaii/Model-Spider at d2a53e4, ten ImageNet models on eight datasets.
"""

import csv
import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from spider_jax.ranking.measures import weighted_tau

DATASETS = ("Caltech101", "Cars", "CIFAR10", "CIFAR100", "DTD", "Pet", "SUN397")
PUBLISHED = {
    "H-Score": (0.738, 0.616, 0.797, 0.784, 0.395, 0.610, 0.918),
    "NCE": (0.752, 0.771, 0.694, 0.617, 0.403, 0.696, 0.892),
    "NLEEP": (0.599, 0.622, 0.768, 0.776, 0.074, 0.787, 0.730),
    "LogME": (0.666, 0.677, 0.802, 0.798, 0.429, 0.628, 0.870),
}
MEANS = {  # with Aircraft, whose published scores are not those of the published tau
    "H-Score": 0.648,
    "NCE": 0.666,
    "LEEP": 0.408,
    "NLEEP": 0.454,
    "LogME": 0.676,
    "PACTranDirichlet": 0.397,
    "OTCE": 0.149,
    "LFC": 0.034,
    "GBC": 0.095,
}
Table = dict[str, dict[str, dict[str, float]]]


@pytest.fixture(scope="module")
def scores() -> Table:
    """metric -> dataset -> model -> published score, and the truth under "accuracy"."""
    data = os.environ.get("SPIDER_JAX_DATA")
    if not data:
        pytest.skip("set SPIDER_JAX_DATA to the folder that holds model_spider to run this test")
    found: Table = defaultdict(lambda: defaultdict(dict))
    folder = Path(data) / "model_spider"
    with (folder / "baseline_scores_10.csv").open() as file:
        for row in csv.DictReader(file):
            for metric in MEANS:
                found[metric][row["Dataset"]][row["Model"]] = float(row[metric])
    with (folder / "single_source_10_finetune.csv").open() as file:
        for row in csv.DictReader(file):
            dataset = row.pop("dataset")
            found["accuracy"][dataset] = {
                m: float(v) for m, v in row.items() if m in found["LogME"].get(dataset, {})
            }
    return found


def tau(scores: Table, metric: str, dataset: str) -> float:
    models = sorted(scores[metric][dataset])
    truth, guess = ([scores[of][dataset][m] for m in models] for of in ("accuracy", metric))
    return weighted_tau(truth, guess, rank=None)


@pytest.mark.parametrize("metric", PUBLISHED)
def test_every_cell_but_aircraft(scores: Table, metric: str) -> None:
    found = [tau(scores, metric, dataset) for dataset in DATASETS]
    np.testing.assert_allclose(found, PUBLISHED[metric], atol=0.001)


@pytest.mark.parametrize("metric", MEANS)
def test_every_mean(scores: Table, metric: str) -> None:
    found = np.mean([tau(scores, metric, dataset) for dataset in (*DATASETS, "Aircraft")])
    assert found == pytest.approx(MEANS[metric], abs=0.006)
