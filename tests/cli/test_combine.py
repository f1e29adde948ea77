"""`spider-jax combine`: a table for people, JSON for programs, an ensemble on disk."""

import json

import numpy as np

from spider_jax.ensemble import Ensemble
from spider_jax.zoo.store import FeatureStore
from support.command_line import BAD_INPUT, DONE, SKIPPED


def test_combine(small_zoo, tmp_path, command):
    given = ("combine", small_zoo, "apples", "--models", "auto:2", "--no-cache", "-q")
    found = command(*given, "--out", tmp_path / "out", "--json")
    content = json.loads(found.out)
    assert found.code == DONE
    assert content["format"] == "spider_jax/combination"
    assert Ensemble.load(tmp_path / "out").members == tuple(content["members"])
    assert "passes" in command(*given).out
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine").touch()
    assert command(*given, "--out", tmp_path / "other").code == BAD_INPUT


def test_a_broken_model_is_skipped_by_name(small_zoo, command):
    F = np.array(FeatureStore(small_zoo).features("wide", "apples"))
    F[2] = np.inf
    FeatureStore.write_features(small_zoo, "wide", "apples", F)
    found = command("combine", small_zoo, "apples", "--models", "wide", "narrow", "--no-cache")
    assert found.code == SKIPPED
    assert "wide on apples" in found.err
    found = command("combine", small_zoo, "apples", "--models", "wide", "--no-cache")
    assert found.code == BAD_INPUT
    assert len(found.err.strip().splitlines()) == 1
