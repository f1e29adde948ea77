"""Tuning: choice on validation rows, runs side by side, views, live teachers, kill and go on."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from spider_jax.heads.blocks import blocks
from spider_jax.storage.run_folder import RunFolder
from spider_jax.tuning.config import TuneConfig, choices
from spider_jax.tuning.problem import make_problem
from spider_jax.tuning.steps import loops_well
from spider_jax.tuning.teachers import Teacher, fit_teachers
from spider_jax.tuning.trainer import Trainer, memory_groups
from spider_jax.tuning.tune_student import tune
from support.toy_tuning import CONFIG, N, linear, toy

pytestmark = pytest.mark.slow

Refused = Callable[..., AbstractContextManager[None]]
ALL = ("b-tuning", "fine-tuning", "l2-sp", "distillation", "head-only")
KINDS = ("classification", "multi-label", "regression")


def flat(params: Any) -> Any:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])


def trainer(made: Any, method: str = "b-tuning", config: TuneConfig = CONFIG) -> Trainer:
    return Trainer(made.problem, method, memory_groups(made.problem, method, config)[0], config)


# ---- one run -------------------------------------------------------------------------------------


def softmax_slope(x: Any, Y: Any, w: dict[str, Any]) -> dict[str, Any]:
    f = x @ w["A"]
    p = np.exp(f @ w["W"] + w["b"])
    d_out = (p / p.sum(1, keepdims=True) - Y) / len(x)
    return {"A": x.T @ (d_out @ w["W"].T), "W": f.T @ d_out, "b": d_out.sum(0)}


def test_an_epoch_is_nesterovs_sgd() -> None:
    """In NumPy, float64: m <- mu m + g + d w; w <- w - rate (g + d w + mu m), head rate tenfold."""
    made = toy()
    one = trainer(made, "fine-tuning")
    params = jax.tree.map(lambda leaf: np.asarray(leaf[0], np.float64), one.state.params)
    w = {"A": params["student"]["A"], **params["head"]}
    m = {name: np.zeros_like(value) for name, value in w.items()}
    x = made.x[0, made.problem.split.train].astype(np.float64)
    Y = made.problem.targets.values[made.problem.split.train].astype(np.float64)
    for at in one._orders(0, len(x))[0]:
        rows = at[at >= 0]
        for name, g in softmax_slope(x[rows], Y[rows], w).items():
            g = g + CONFIG.weight_decay * w[name]
            m[name] = CONFIG.momentum * m[name] + g
            rate = 0.05 * (1 if name == "A" else CONFIG.head_rate)
            w[name] = w[name] - rate * (g + CONFIG.momentum * m[name])
    one.advance()
    found = jax.tree.map(lambda leaf: leaf[0], one.state.params)
    np.testing.assert_allclose(found["student"]["A"], w["A"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["head"]["W"], w["W"], rtol=1e-4, atol=1e-5)


def test_the_rate_falls_to_a_tenth() -> None:
    one = trainer(toy(), config=replace(CONFIG, epochs=4, decay_at=0.5))
    rates = []
    for one.epoch in range(4):
        rates.append(float(one.hyper().learning_rate[0]))
    np.testing.assert_allclose(rates, [0.05, 0.05, 0.005, 0.005], rtol=1e-6)


def test_every_row_once_an_epoch_in_blocks_too() -> None:
    made = toy()
    one = trainer(made)
    one.block_rows = 10
    parts = one._parts()
    assert sorted(np.concatenate(parts).tolist()) == list(range(36))
    assert [len(part) for part in parts] == [10, 10, 10, 6]
    for number, part in enumerate(parts):
        order = one._orders(number, len(part))[0]
        assert sorted(order[order >= 0].tolist()) == list(range(len(part)))
        block = one._block(part)
        np.testing.assert_array_equal(block.x, made.x[0, made.problem.split.train[part]])
    one.epoch = 1
    assert [p.tolist() for p in one._parts()] != [p.tolist() for p in parts]
    assert len(next(blocks(np.arange(N), 6))) == N  # else the other tests see blocks as well


@pytest.mark.parametrize("method", ALL)
def test_runs_side_by_side_are_runs_alone(method: str) -> None:
    made = toy()
    config = replace(CONFIG, learning_rates=(0.01, 0.05), seeds=2, weights=(1.0, 5.0))
    together, alone = (
        tune(made.problem, (method,), replace(config, together=n)).results[0] for n in (0, 1)
    )
    assert together.choice == alone.choice
    np.testing.assert_allclose(flat(together.params), flat(alone.params), rtol=1e-4, atol=1e-5)


def test_a_call_a_step_is_the_loop_on_the_device() -> None:
    found = []
    for loops in (True, False):
        one = trainer(toy(), config=replace(CONFIG, seeds=2))
        assert one.loops
        one.loops = loops
        one.advance()
        found.append(flat(one.state))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5, atol=1e-6)


def test_convolutions_stay_out_of_loops_on_a_cpu() -> None:
    def convolve(params: Any, x: Any) -> Any:
        return jax.lax.conv(x, params, (1, 1), "SAME")

    kernel, x = np.ones((2, 1, 3, 3), np.float32), np.ones((1, 1, 5, 5), np.float32)
    assert loops_well(convolve, kernel, x, None) == (jax.default_backend() != "cpu")


# ---- teachers ------------------------------------------------------------------------------------


def test_teachers_that_run_teach_as_exported_ones() -> None:
    found = [
        tune(toy(live=live, views=2).problem, config=CONFIG).results[0] for live in (True, False)
    ]
    np.testing.assert_allclose(flat(found[0].params), flat(found[1].params), rtol=1e-3, atol=1e-4)


def test_teacher_and_student_see_the_same_view() -> None:
    """A teacher whose features are the student's input: the guide of a row is that row's own."""
    made = toy(views=3)
    problem = made.problem
    train, Y = problem.split.train, problem.targets.values
    fitted = fit_teachers([Teacher("pixels", made.x)], made.x, Y, train)
    one = Trainer(
        problem._replace(teachers=fitted),
        "b-tuning",
        memory_groups(problem, "b-tuning", CONFIG)[0],
        CONFIG,
    )
    block = one._block(np.arange(len(train)))
    wanted = np.asarray(block.x) @ fitted.means[0].T
    np.testing.assert_allclose(block.guide[:, 0], wanted, rtol=1e-4, atol=1e-5)
    views = one._orders(0, len(train)) // len(train)
    assert set(views[views >= 0].tolist()) == {0, 1, 2}


def test_mixed_teachers_keep_their_weights_together() -> None:
    """Exported ones come first, with their scores and means."""
    made = toy()
    exported = [t.features for t in made.teachers]
    A = np.random.default_rng(9).normal(size=(6, 3)).astype(np.float32)
    mixed = [Teacher("runs", None, linear, {"A": A}), Teacher("lies", exported[0])]
    args = made.x, made.problem.targets.values, made.problem.split.train
    fitted = fit_teachers(mixed, *args)
    assert fitted.names == ("lies", "runs")
    assert fitted.exported == 1
    np.testing.assert_allclose(fitted.scores[0], fit_teachers(made.teachers, *args).scores[0])
    assert [m.shape[1] for m in fitted.means] == [4, 3]


def test_a_perfect_teacher_helps_where_labels_are_wrong() -> None:
    """Half of the training labels are shuffled, the teacher knows the truth: its pupil does too."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 300, 6)).astype(np.float32)
    truth = (x[0] @ rng.normal(size=(6, 3))).argmax(1).astype(np.int32)
    made = toy()
    rows = np.arange(300)
    split = made.problem.split._replace(train=rows[:100], validation=rows[100:200], test=rows[200:])
    wrong = truth.copy()
    wrong[:50] = rng.permutation(wrong[:50])
    targets = made.problem.targets._replace(values=np.eye(3, dtype=np.float32)[wrong])
    onehot = np.eye(3, dtype=np.float32)[truth]
    fitted = fit_teachers([Teacher("oracle", onehot)], x, onehot, rows[:100])
    problem = make_problem(made.problem.student, x, targets, truth, split, "accuracy", fitted)
    config = replace(CONFIG, learning_rates=(0.001, 0.01), weights=(30.0,), epochs=30)
    taught, alone = tune(problem, ("b-tuning", "fine-tuning"), config).results
    assert taught.test is not None
    assert alone.test is not None
    assert taught.test[0] > alone.test[0]


# ---- choosing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_task_learns(kind: str) -> None:
    config = replace(CONFIG, learning_rates=(0.001, 0.005), weights=(1.0,), epochs=10)
    for one in tune(toy(kind, n=300).problem, ALL, config).results:
        assert one.test is not None
        assert one.test[0] > 0.6  # chance is a third, a half and 0
        assert one.validation[0] > 0.6


def test_nothing_of_the_test_rows_is_read_before() -> None:
    found, other = (
        tune(toy(other_tests=changed).problem, ALL, replace(CONFIG, learning_rates=(0.01, 0.1)))
        for changed in (False, True)
    )
    for one, two in zip(found.results, other.results, strict=True):
        assert (one.choice, one.validation) == (two.choice, two.validation)
        np.testing.assert_array_equal(flat(one.params), flat(two.params))


def test_diverged_runs_are_not_chosen(refused: Refused) -> None:
    config = replace(CONFIG, learning_rates=(1e18, 0.01))
    assert tune(toy().problem, ("fine-tuning",), config).results[0].choice.learning_rate == 0.01
    with refused("no run of fine-tuning stayed finite", "lower the learning rates"):
        tune(toy().problem, ("fine-tuning",), replace(CONFIG, learning_rates=(1e18,)))


def test_only_what_matters_is_tried() -> None:
    config = TuneConfig(learning_rates=(0.1, 0.2), weights=(1.0, 2.0, 3.0), temperatures=(1.0, 2.0))
    counts = {method: len(choices(method, config)) for method in ALL}
    assert counts == dict(zip(ALL, (12, 2, 6, 6, 2), strict=True))


def test_what_is_refused(refused: Refused, tmp_path: Path) -> None:
    problem = toy(teachers=0).problem
    with refused("b-tuning needs teachers"):
        tune(problem)
    with refused("methods must be some of", "'magic'"):
        tune(problem, ("magic",))
    with refused("methods must be at least one, each once"):
        tune(problem, ("l2-sp", "l2-sp"))
    with refused("distillation reads exported features", "'t"):
        tune(toy(live=True).problem, ("distillation",), CONFIG)
    with refused("must have 2 views"):
        made = toy(views=2)
        flat_teacher = [Teacher("flat", made.teachers[0].features[0])]
        given = made.x, made.problem.targets.values, made.problem.split.train
        tune(made.problem._replace(teachers=fit_teachers(flat_teacher, *given)))
    with refused("teachers must name at least one"):
        fit_teachers([], *given)
    with refused("'hollow' needs features or apply"):
        fit_teachers([Teacher("hollow")], *given)
    with refused("epochs must be >= 1", 0):
        TuneConfig(epochs=0)
    with refused("learning_rates must be > 0"):
        TuneConfig(learning_rates=())
    with refused("decay_at must lie in [0, 1]", 2.0):
        TuneConfig(decay_at=2.0)
    with refused("must be >= 0"):
        TuneConfig(together=-1)


# ---- going on ------------------------------------------------------------------------------------


def test_an_interrupted_run_goes_on(tmp_path: Path) -> None:
    """Stopped after two of three epochs, in a block and across blocks."""
    for rows in (1000, 10):
        whole = trainer(toy())
        whole.block_rows = rows
        for _ in range(3):
            whole.advance()
        first, second = trainer(toy()), trainer(toy())
        first.block_rows = second.block_rows = rows
        first.advance()
        first.advance()
        first._measure()
        run = RunFolder(tmp_path / str(rows), {"training": "toy"})
        first._save(run)
        run.wait()
        second._restore(run)
        run.close()
        assert second.epoch == 2
        second.advance()
        np.testing.assert_array_equal(flat(second.state), flat(whole.state))


def test_a_finished_tuning_is_read_again(tmp_path: Path) -> None:
    config = replace(CONFIG, learning_rates=(0.005,))
    found = [tune(toy().problem, ALL, config, run=tmp_path) for _ in range(2)]
    assert found[0].to_rows() == found[1].to_rows()
    assert len(list(tmp_path.iterdir())) == len(ALL)
    tune(toy(seed=1).problem, ("b-tuning",), config, run=tmp_path)  # another content, beside it
    assert len(list(tmp_path.iterdir())) == len(ALL) + 1


def test_killed_at_any_moment_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    program = Path(__file__).parents[1] / "programs" / "killed_tuning.py"
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    whole, died = (np.load(tmp_path / f"{name}.npy") for name in ("whole", "died"))
    np.testing.assert_array_equal(died, whole)
    deaths = json.loads((tmp_path / "deaths.json").read_text())
    assert len(deaths) == 5
    assert any(death["began"] > 0 for death in deaths)
