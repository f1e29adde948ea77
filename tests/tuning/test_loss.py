"""The B-Tuning loss and its gradient against NumPy in float64; what is frozen stays so."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import cho_factor, cho_solve

from spider_jax.metrics.methods.logme import fit_logme
from spider_jax.tuning.loss import METHODS, Frozen, Hyper, teacher_weights
from spider_jax.tuning.steps import Constants, Rules, batch_loss
from support.toy_tuning import C, D, P, linear, toy

pytestmark = pytest.mark.slow

Refused = Callable[..., AbstractContextManager[None]]
B, K = 7, 2
KINDS = ("classification", "multi-label", "regression")


def rules(method: str, kind: str, live: tuple[Any, ...] = ()) -> Rules:
    return Rules(linear, live, method, kind, 0.9, 0.0, 10.0)


def drawn(kind: str = "classification") -> dict[str, Any]:
    """A batch and constants in float64, the last row is padding."""
    rng = np.random.default_rng(1)
    Y = rng.normal(size=(B, C))
    if kind == "classification":
        Y = np.eye(C)[rng.integers(C, size=B)]
    elif kind == "multi-label":
        Y = (Y > 0).astype(np.float64)
    return {
        "A": rng.normal(size=(P, D)),
        "W": rng.normal(size=(D, C)),
        "b": rng.normal(size=C),
        "x": rng.normal(size=(B, P)),
        "Y": Y,
        "guide": rng.normal(size=(B, K, C)),
        "row": np.array([1.0] * (B - 1) + [0.0]),
        "M": rng.normal(size=(C, D)),
        "pi": np.array([0.7, 0.3]),
        "lambda": np.array(3.0),
    }


def reference(g: dict[str, Any], kind: str) -> tuple[float, dict[str, Any]]:
    """Loss and gradient from the formula, by hand."""
    f = g["x"] @ g["A"]
    out = f @ g["W"] + g["b"]
    if kind == "classification":
        p = np.exp(out) / np.exp(out).sum(1, keepdims=True)
        task, d_out = -np.log((p * g["Y"]).sum(1)), p - g["Y"]
    elif kind == "multi-label":
        p = 1 / (1 + np.exp(-out))
        task = -(g["Y"] * np.log(p) + (1 - g["Y"]) * np.log(1 - p)).mean(1)
        d_out = (p - g["Y"]) / C
    else:
        task, d_out = ((out - g["Y"]) ** 2).mean(1), 2 * (out - g["Y"]) / C
    gap = f @ g["M"].T - (g["pi"][0] * g["guide"][:, 0] + g["pi"][1] * g["guide"][:, 1])
    share = (g["row"] / g["row"].sum())[:, None]
    loss = (share[:, 0] * (task + g["lambda"] * (gap**2).mean(1))).sum()
    d_out = share * d_out
    d_f = d_out @ g["W"].T + share * g["lambda"] * 2 / C * gap @ g["M"]
    return loss, {"A": g["x"].T @ d_f, "W": f.T @ d_out, "b": d_out.sum(0)}


def given(g: dict[str, Any]) -> tuple[Any, ...]:
    """The arguments of `batch_loss` but for the rules."""
    g = {name: jnp.asarray(value) for name, value in g.items()}
    params = {"student": {"A": g["A"]}, "head": {"W": g["W"], "b": g["b"]}}
    hyper = Hyper(jnp.ones((), g["x"].dtype), g["lambda"], g["pi"])
    constants = Constants(Frozen({"A": g["A"]}, g["M"]), None, (), ())
    return params, g["x"], g["Y"], g["guide"], g["row"], hyper, constants


@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradient_are_the_formulas(kind: str) -> None:
    g = drawn(kind)
    wanted, slopes = reference(g, kind)
    with jax.enable_x64(True):
        loss, down = jax.value_and_grad(batch_loss)(*given(g), rules("b-tuning", kind))
        found = {"A": down["student"]["A"], **down["head"]}
        np.testing.assert_allclose(loss, wanted, rtol=1e-12)
        for name, slope in slopes.items():
            np.testing.assert_allclose(found[name], slope, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_float32_is_close(kind: str) -> None:
    g = drawn(kind)
    wanted, slopes = reference(g, kind)
    single = {name: value.astype(np.float32) for name, value in g.items()}
    loss, down = jax.value_and_grad(batch_loss)(*given(single), rules("b-tuning", kind))
    np.testing.assert_allclose(loss, wanted, rtol=1e-5)
    np.testing.assert_allclose(down["student"]["A"], slopes["A"], rtol=1e-4, atol=1e-4)


def test_frozen_parts_get_no_gradient() -> None:
    """Posterior means, teachers' weights, exported predictions, teachers that run."""
    g = {name: value.astype(np.float32) for name, value in drawn().items()}
    params, x, Y, guide, row, hyper, constants = given(g)
    hyper = hyper._replace(pi=jnp.array([0.5, 0.3, 0.2]))
    live = constants._replace(live_params=({"A": params["student"]["A"]},), live_means=(g["M"],))

    def loss(constants: Constants, guide: Any, pi: Any) -> Any:
        those = hyper._replace(pi=pi)
        return batch_loss(
            params, x, Y, guide, row, those, constants, rules("b-tuning", KINDS[0], (linear,))
        )

    down = jax.grad(loss, (0, 1, 2))(live, guide, hyper.pi)
    assert [leaf for leaf in jax.tree.leaves(down) if np.any(np.asarray(leaf))] == []


def test_the_head_alone_learns() -> None:
    g = {name: value.astype(np.float32) for name, value in drawn().items()}
    down = jax.grad(batch_loss)(*given(g), rules("head-only", KINDS[0]))
    assert not np.any(down["student"]["A"])
    assert np.any(down["head"]["W"])


def test_penalties_of_the_other_methods() -> None:
    g = {name: value.astype(np.float32) for name, value in drawn().items()}
    params, x, Y, _, row, hyper, constants = given(g)
    plain = batch_loss(params, x, Y, x, row, hyper, constants, rules("fine-tuning", KINDS[0]))

    moved = constants._replace(frozen=Frozen({"A": params["student"]["A"] + 0.5}, g["M"]))
    near = batch_loss(params, x, Y, x, row, hyper, moved, rules("l2-sp", KINDS[0]))
    np.testing.assert_allclose(near - plain, 3.0 * 0.5 * 0.25 * P * D, rtol=1e-5)

    taught = params | {"projection": jnp.zeros((D, P), jnp.float32)}
    gap = batch_loss(taught, x, Y, x, row, hyper, constants, rules("distillation", KINDS[0]))
    np.testing.assert_allclose(gap - plain, 3.0 * (g["x"][:-1] ** 2).mean(), rtol=1e-5)
    assert set(METHODS) >= {"b-tuning", "fine-tuning", "l2-sp", "distillation", "head-only"}


# ---- the teachers' target ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_target_is_the_sum_of_predictive_means(kind: str) -> None:
    """m = (F^T F + t I)^-1 F^T y by Cholesky in float64, at the t of largest evidence."""
    made = toy(kind, views=2)
    problem, train = made.problem, made.problem.split.train
    assert problem.teachers is not None
    Y = problem.targets.values.astype(np.float64)
    rows, wanted = np.arange(len(Y)), np.zeros((2, *Y.shape))
    pi = teacher_weights(problem.teachers.scores, 1.0)
    for weight, teacher in zip(pi, made.teachers, strict=True):
        F = teacher.features[0, train].astype(np.float64)
        t = np.minimum(fit_logme(F, Y[train]).ratio, 1e30)  # infinite: no signal, m = 0
        for c in range(C):
            m = cho_solve(cho_factor(F.T @ F + t[c] * np.eye(F.shape[1])), F.T @ Y[train, c])
            wanted[..., c] += weight * teacher.features @ m
    predictions = problem.teachers.predictions(rows, 2)
    found = np.einsum("k,vnkc->vnc", pi, predictions)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_weights_of_teachers() -> None:
    raw = teacher_weights([0.95, 0.93], 0.1, standardise=False)
    np.testing.assert_allclose(raw[0] / raw[1], np.exp(0.2))
    heated = teacher_weights([0.95, 0.93], 0.5)  # z = 1, -1
    np.testing.assert_allclose(heated[0] / heated[1], np.exp(4.0))
    np.testing.assert_allclose(teacher_weights([0.9, 0.9, 0.9], 1.0), 1 / 3)
    np.testing.assert_allclose(teacher_weights([-3.0], 1.0), 1.0)


def test_what_is_refused(refused: Refused) -> None:
    with refused("temperature must be > 0", 0):
        teacher_weights([1.0], 0.0)
    with refused("scores must be finite"):
        teacher_weights([1.0, np.nan], 1.0)
