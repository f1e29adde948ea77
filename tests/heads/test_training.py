"""Heads: the compiled epoch against a float64 loop, and company that changes nothing."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spider_jax.heads import blocks as head_blocks
from spider_jax.heads.files import head_path, load_head, save_head
from spider_jax.heads.targets import make_targets
from spider_jax.heads.training import HeadConfig, HeadState, init_head, train_epoch

N, D, TRAIN = 30, 4, np.arange(3, 26)
RNG = np.random.default_rng(0)
X = {name: RNG.normal(2.0, 3.0, size=(N, D)).astype(np.float32) for name in "abc"}
LABELS = {
    "classification": RNG.integers(3, size=N).astype(np.int32),
    "multi-label": RNG.integers(2, size=(N, 2)).astype(bool),
    "regression": RNG.normal(5.0, 2.0, size=N).astype(np.float32),
}
KINDS = list(LABELS)
CONFIG = HeadConfig(batch=8, learning_rate=0.05, weight_decay=0.1, least_steps=1)


def heads(names: str, kind: str, config: HeadConfig, epochs: int = 2) -> list[HeadState]:
    targets = make_targets(kind, LABELS[kind], TRAIN)
    features = [X[name] for name in names]
    states = [init_head(n, config, X[n], TRAIN, targets.values.shape[1]) for n in names]
    for epoch in range(epochs):
        states = train_epoch(states, features, targets, TRAIN, config, epoch)
    return states


def gradient(kind: str, out: NDArray[np.float64], Y: NDArray[np.float64]) -> NDArray[np.float64]:
    if kind == "classification":
        p = np.exp(out - out.max(1, keepdims=True))
        return (p / p.sum(1, keepdims=True) - Y) / len(Y)
    if kind == "multi-label":
        return (1 / (1 + np.exp(-out)) - Y) / Y.size
    return 2 * (out - Y) / Y.size


def reference(
    kind: str, name: str, times: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Linear head after two epochs of AdamW that go over the rows so often, written out."""
    targets = make_targets(kind, LABELS[kind], TRAIN)
    rows = X[name][TRAIN].astype(np.float64)
    Z = (rows - rows.mean(0)) / rows.std(0)
    Y = targets.values[TRAIN].astype(np.float64)
    at = {"W": np.zeros((D, Y.shape[1])), "b": np.zeros(Y.shape[1])}
    first, second = ({k: np.zeros_like(v) for k, v in at.items()} for _ in range(2))
    step = 0
    for epoch in range(2):
        rng = np.random.default_rng([CONFIG.seed, epoch])
        orders = [rng.permutation(len(Z)) for _ in range(times)]
        parts = range(0, len(Z), CONFIG.batch)
        for chosen in (order[start : start + CONFIG.batch] for order in orders for start in parts):
            down = gradient(kind, Z[chosen] @ at["W"] + at["b"], Y[chosen])
            step += 1
            for k, g in (("W", Z[chosen].T @ down), ("b", down.sum(0))):
                first[k] = 0.9 * first[k] + 0.1 * g
                second[k] = 0.999 * second[k] + 0.001 * g**2
                m, v = first[k] / (1 - 0.9**step), second[k] / (1 - 0.999**step)
                move = m / (np.sqrt(v) + 1e-8) + CONFIG.weight_decay * at[k]
                at[k] = at[k] - CONFIG.learning_rate * move
    return at["W"], at["b"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("times", [1, 3])
def test_a_linear_head_is_adamw_on_standardised_rows(kind: str, times: int) -> None:
    a_pass = -(-len(TRAIN) // CONFIG.batch)
    config = replace(CONFIG, least_steps=(times - 1) * a_pass + 1)
    (state,) = heads("a", kind, config)
    W, b = reference(kind, "a", times)
    np.testing.assert_allclose(state.params["W"], W, atol=2e-5)
    np.testing.assert_allclose(state.params["b"], b, atol=2e-5)


@pytest.mark.parametrize("hidden", [0, 5])
def test_company_changes_nothing(hidden: int) -> None:
    config = HeadConfig(hidden=hidden, batch=8, learning_rate=0.05)
    alone, together = (
        heads("b", "classification", config)[0],
        heads("abc", "classification", config),
    )
    for name, value in alone.params.items():
        np.testing.assert_allclose(together[1].params[name], value, atol=1e-5)


def test_rows_outside_training_are_not_read() -> None:
    outside = np.setdiff1d(np.arange(N), TRAIN)
    spoilt, targets = X["a"].copy(), make_targets("regression", LABELS["regression"], TRAIN)
    spoilt[outside] = np.nan
    labels = LABELS["regression"].copy()
    labels[outside] = 1e6
    other = make_targets("regression", labels, TRAIN)
    found = []
    for features, goal in ((X["a"], targets), (spoilt, other)):
        state = init_head("a", CONFIG, features, TRAIN, 1)
        found += train_epoch([state], [features], goal, TRAIN, CONFIG, 0)
    np.testing.assert_array_equal(found[0].params["W"], found[1].params["W"])


@pytest.mark.parametrize("rows", [1, 7, 17])  # of a block, in whole batches of 8: 8, 8 and 16
def test_blocks_of_rows_do_not_change_a_head(monkeypatch: pytest.MonkeyPatch, rows: int) -> None:
    whole = heads("a", "classification", CONFIG, epochs=5)[0]
    monkeypatch.setattr(head_blocks, "BLOCK_BYTES", 4 * D * rows)
    assert len(next(head_blocks.blocks(TRAIN, D))) == rows
    in_parts = heads("a", "classification", CONFIG, epochs=5)[0]
    for name, expected in whole.params.items():
        np.testing.assert_allclose(in_parts.params[name], expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(in_parts.scale, whole.scale, rtol=1e-6)


@pytest.mark.parametrize("unit", [1e-12, 1e-7, 1.0, 1e7])
def test_the_unit_of_features_does_not_matter(unit: float) -> None:
    given = (X["a"] * unit).astype(np.float32)
    mean, scale = head_blocks.column_scaling(given, TRAIN)
    np.testing.assert_allclose(mean / unit, X["a"][TRAIN].mean(0), rtol=1e-5)
    np.testing.assert_allclose(scale / unit, X["a"][TRAIN].std(0), rtol=1e-5)
    given[:, 1] = 3.7 * unit  # a constant is no unit
    assert head_blocks.column_scaling(given, TRAIN)[1][1] == 1


def test_predictions_of_every_kind() -> None:
    targets = make_targets("classification", np.array([0, 2, 1]), np.arange(3))
    assert targets.predictions(np.array([[0, 1, 2.0]], np.float32)).tolist() == [2]
    several = make_targets("multi-label", np.array([[True, False]]), np.arange(1))
    assert several.predictions(np.array([[-1, 1.0]], np.float32)).tolist() == [[False, True]]
    numbers = make_targets("regression", np.array([1, 5, 100], np.float32), np.arange(2))
    np.testing.assert_allclose(numbers.values[:2, 0], [-1, 1])
    np.testing.assert_allclose(numbers.predictions(np.array([[1.0]], np.float32)), [[5.0]])


def test_a_constant_column_stays_out() -> None:
    features = np.ones((N, 2), np.float32)
    features[:, 1] = np.arange(N)
    state = init_head("a", CONFIG, features, TRAIN, 3)
    assert state.scale[0] == 1
    assert state.mean[0] == 1


def test_a_head_on_disk_goes_on_where_it_was(tmp_path: Path) -> None:
    config = HeadConfig(hidden=3, batch=8)
    targets = make_targets("classification", LABELS["classification"], TRAIN)
    (once,) = heads("a", "classification", config, epochs=1)
    path = head_path(tmp_path, "org/a")
    save_head(path, once._replace(validation=(0.5,), standard_error=(float("nan"),)))
    read = load_head(path, config)
    assert (read.validation, np.isnan(read.standard_error[0])) == ((0.5,), True)
    (found,) = train_epoch([read], [X["a"]], targets, TRAIN, config, 1)
    (wanted,) = heads("a", "classification", config, epochs=2)
    for name, value in wanted.params.items():
        np.testing.assert_array_equal(found.params[name], value)
        np.testing.assert_array_equal(read.best[name], once.best[name])


def test_a_damaged_head_is_refused(tmp_path: Path, refused) -> None:  # type: ignore[no-untyped-def]
    path = head_path(tmp_path, "a")
    save_head(path, heads("a", "classification", CONFIG, epochs=1)[0])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with refused("a.npz", "no whole head"):
        load_head(path, CONFIG)


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("hidden", -1, ">= 0"),
        ("batch", 0, ">= 1"),
        ("seed", -1, ">= 0"),
        ("learning_rate", 0.0, "> 0"),
        ("learning_rate", float("nan"), "> 0"),
        ("weight_decay", -0.5, ">= 0"),
        ("weight_decay", float("inf"), "finite"),
    ],
)
def test_a_setting_out_of_range_is_refused_by_its_name(
    name: str,
    value: float,
    rule: str,
    refused: Callable[..., AbstractContextManager[None]],
) -> None:
    with refused(f"{name} must be", rule, f"got {value}"):
        HeadConfig(**{name: value})  # type: ignore[arg-type]
