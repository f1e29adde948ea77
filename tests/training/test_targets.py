"""Which results count as accuracies in a training."""

from pathlib import Path

import pytest

from spider_jax.training.targets import known_accuracies
from spider_jax.training.training_set import readable_datasets
from spider_jax.zoo.store import FeatureStore


def test_results_in_another_measure_are_no_accuracies(
    small_zoo: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = (small_zoo / "accuracies.csv").read_text().replace(",cars,0.", ",cars,-3.")
    (small_zoo / "accuracies.csv").write_text(text)
    facts = {"apples": {"measure": "balanced accuracy"}, "cars": {"measure": "log-loss"}}
    FeatureStore.write_manifest(small_zoo, extractor="psi", tasks=facts)
    zoo, names = FeatureStore(small_zoo), ("apples", "birds", "cars")
    assert list(known_accuracies(zoo, ("wide", "narrow"), names)) == ["apples", "birds"]
    assert "results on 'cars' are in log-loss" in caplog.text
    kept, lost = readable_datasets(zoo, names, "accuracies")
    assert (kept, [problem.task for problem in lost]) == (("apples", "birds"), ["cars"])
    assert readable_datasets(zoo, names)[0] == names
