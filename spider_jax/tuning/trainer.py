"""All runs of one method: learning rates, penalties, temperatures and seeds side by side."""

import hashlib
import logging
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float32, Float64, Int, Int32

from spider_jax.heads.blocks import blocks
from spider_jax.heads.measures import TASK_MEASURES
from spider_jax.runtime.progress import Bar
from spider_jax.storage.run_folder import RunFolder
from spider_jax.tuning.config import Hyperparameters, TuneConfig, choices
from spider_jax.tuning.loss import METHODS, Frozen, Hyper, task_loss, teacher_weights
from spider_jax.tuning.problem import TuningProblem
from spider_jax.tuning.steps import (
    Block,
    Constants,
    Rules,
    State,
    batches,
    compiled_epoch,
    compiled_outputs,
    loops_well,
)
from spider_jax.tuning.students import Params
from spider_jax.tuning.teachers import Live

log = logging.getLogger("spider_jax")

MEMORY = 1 << 30  # bytes that the params of runs side by side may take, with momentum and gradient
HEAD_DEVIATION = 0.01


class Outcome(NamedTuple):
    """R runs that have ended.

    Attributes:
        choices: the hyper-parameters of each.
        seeds: of each.
        validation: score on validation rows of each; NaN where it diverged.
        loss: on validation rows of each.
        params: with a leading axis for the runs.
    """

    choices: tuple[Hyperparameters, ...]
    seeds: tuple[int, ...]
    validation: Float64[np.ndarray, " R"]
    loss: Float64[np.ndarray, " R"]
    params: Params


class Trainer:
    """Runs of one method that fit into memory together; they begin, or go on from a checkpoint.

    Args:
        problem: a student, its task and its teachers.
        method: name in METHODS.
        runs: hyper-parameters and seed of each.
        config: settings.

    Attributes:
        state: params and momentum of all runs.
        epoch: how many are done.
        history: validation score and loss of every run, where they were measured.
    """

    def __init__(
        self,
        problem: TuningProblem,
        method: str,
        runs: list[tuple[Hyperparameters, int]],
        config: TuneConfig,
    ) -> None:
        self.problem, self.method, self.runs, self.config = problem, method, runs, config
        teachers = problem.teachers
        live = Live()
        if teachers is not None and METHODS[method].guide == "predictions":
            live = teachers.live()
        self.rules = Rules(
            problem.student.apply,
            live.applies,
            method,
            problem.targets.kind,
            config.momentum,
            config.weight_decay,
            config.head_rate,
        )
        put = jax.tree.map(jnp.asarray, (problem.student.params, problem.student.frozen))
        frozen = Frozen(put[0], jnp.asarray(problem.mean))
        self.constants = Constants(frozen, put[1], live.params, live.means)
        self.views = len(problem.inputs)
        sample = jnp.asarray(problem.inputs[0, :1])
        self.loops = loops_well(problem.student.apply, put[0], sample, put[1])
        width = max(1, int(np.prod(problem.inputs.shape[2:])) * self.views)
        self.block_rows = len(next(blocks(problem.split.train, width)))
        self._guide = self._guides()
        self._kept: Block | None = None
        self.state = State(params := self._first(), jax.tree.map(jnp.zeros_like, params))
        self.epoch, self.history = 0, list[dict[str, Any]]()

    # ---- what it begins with -----------------------------------------------------------------

    def _guides(self) -> Float32[np.ndarray, "V n ..."]:
        """What the method reads of teachers on the training rows; of width 0 for nothing."""
        teachers, rows = self.problem.teachers, self.problem.split.train
        guide = METHODS[self.method].guide
        if guide is None or teachers is None:
            return np.zeros((self.views, len(rows), 0), np.float32)
        read = teachers.predictions if guide == "predictions" else teachers.best_features
        return read(rows, self.views)

    def _first(self) -> Params:
        """Params [R, ...]: the student as it is, heads drawn by seed."""
        C, D = self.problem.mean.shape
        each = []
        for _, seed in self.runs:
            rng = np.random.default_rng([seed, C, D])
            params: dict[str, Any] = {
                "head": {
                    "W": (HEAD_DEVIATION * rng.normal(size=(D, C))).astype(np.float32),
                    "b": np.zeros(C, np.float32),
                }
            }
            if METHODS[self.method].guide == "features":
                size = (D, self._guide.shape[2])
                params["projection"] = (rng.normal(size=size) / np.sqrt(D)).astype(np.float32)
            if not METHODS[self.method].frozen:
                params["student"] = self.problem.student.params
            each.append(params)
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)

    def hyper(self) -> Hyper:
        """Learning rate, weight and teachers' weights of every run, at this epoch."""
        config, teachers = self.config, self.problem.teachers
        late = self.epoch >= config.decay_at * config.epochs
        rates = [choice.learning_rate * (0.1 if late else 1) for choice, _ in self.runs]
        scores = np.zeros(1) if teachers is None else teachers.scores
        pi = [
            teacher_weights(scores, choice.temperature or 1.0, standardise=config.standardised)
            for choice, _ in self.runs
        ]
        weights = [choice.weight for choice, _ in self.runs]
        return Hyper(*(jnp.asarray(np.asarray(a, np.float32)) for a in (rates, weights, pi)))

    # ---- training ----------------------------------------------------------------------------

    def train(self, run: RunFolder | None, bar: Bar) -> Outcome:
        """Train to the end, with a checkpoint every few epochs.

        Args:
            run: folder for checkpoints; None for none.
            bar: of rows.

        Returns:
            What came of the runs.
        """
        if run is not None:
            self._restore(run)
        rows = len(self.runs) * len(self.problem.split.train)
        bar.update(self.epoch * rows)
        while self.epoch < self.config.epochs:
            self.advance()
            bar.update(rows)
            done = self.epoch == self.config.epochs
            if done or (run is not None and self.epoch % self.config.checkpoint_every == 0):
                self._measure()
                if run is not None:
                    self._save(run)
        last = self.history[-1]
        validation, loss = (
            np.array([np.nan if v is None else v for v in last[name]], np.float64)
            for name in ("validation", "validation_loss")
        )
        chosen, seeds = zip(*self.runs, strict=True)
        return Outcome(chosen, seeds, validation, loss, self.state.params)

    def advance(self) -> None:
        """One more epoch of all runs."""
        run = compiled_epoch(self.rules, len(self.runs))
        hyper = self.hyper()
        for number, part in enumerate(self._parts()):
            order, block = self._orders(number, len(part)), self._block(part)
            size = order.shape[1] if self.loops else 1
            for i in range(0, order.shape[1], size):
                steps = order[:, i : i + size]
                self.state = run(self.state, block, steps, hyper, self.constants)
        self.epoch += 1

    def _parts(self) -> list[Int[np.ndarray, " _"]]:
        """Positions among the training rows, dealt anew to the blocks in every epoch."""
        n = len(self.problem.split.train)
        if n <= self.block_rows:
            return [np.arange(n)]
        mixed = np.random.default_rng([self.config.seed, self.epoch]).permutation(n)
        starts = range(0, n, self.block_rows)
        return [np.sort(mixed[i : i + self.block_rows]) for i in starts]  # sorted: for the disk

    def _orders(self, number: int, n: int) -> Int32[np.ndarray, "R S B"]:
        """Positions in a block; runs of one seed see the same rows in the same order."""
        made = {
            seed: batches(seed, self.epoch, number, n, self.views, self.config.batch)
            for seed in {seed for _, seed in self.runs}
        }
        return np.stack([made[seed] for _, seed in self.runs])

    def _block(self, part: Int[np.ndarray, " n"]) -> Block:
        """Rows on the device; a block that holds all of them stays there."""
        if self._kept is not None:
            return self._kept
        rows, guide = self.problem.split.train[part], self._guide[:, part]
        x = np.asarray(self.problem.inputs[:, rows])
        flat = [jnp.asarray(a.reshape(len(a) * a.shape[1], *a.shape[2:])) for a in (x, guide)]
        block = Block(flat[0], jnp.asarray(self.problem.targets.values[rows]), flat[1])
        if len(part) == len(self.problem.split.train):
            self._kept = block
        return block

    def _measure(self) -> None:
        """Validation score and loss of every run into the history."""
        rows = self.problem.split.validation
        outputs = outputs_of_runs(self.problem, self.rules, self.state.params, rows)
        Y, kind = jnp.asarray(self.problem.targets.values[rows]), self.problem.targets.kind
        losses = [float(task_loss(jnp.asarray(one), Y, kind).mean()) for one in outputs]
        scores = [score(self.problem, one, rows) for one in outputs]
        self.history.append(
            {
                "epoch": self.epoch,
                "validation": [v if np.isfinite(v) else None for v in scores],
                "validation_loss": [v if np.isfinite(v) else None for v in losses],
            }
        )

    # ---- checkpoints -------------------------------------------------------------------------

    def _save(self, run: RunFolder) -> None:
        leaves = jax.tree.leaves(self.state)
        arrays = {str(i): np.asarray(leaf) for i, leaf in enumerate(leaves)}
        run.save(self.epoch, arrays, {"epoch": self.epoch, "history": self.history})
        run.log(self.history)

    def _restore(self, run: RunFolder) -> None:
        saved = run.restore()
        if saved is None:
            return
        leaves, shape = jax.tree.flatten(self.state)
        leaves = [jnp.asarray(saved.arrays[str(i)]) for i in range(len(leaves))]
        self.state = jax.tree.unflatten(shape, leaves)
        self.epoch, self.history = saved.progress["epoch"], saved.progress["history"]
        log.info("%s goes on at epoch %d of %d", run.folder, self.epoch, self.config.epochs)


def outputs_of_runs(
    problem: TuningProblem, rules: Rules, params: Params, rows: Int[np.ndarray, " n"]
) -> Float32[np.ndarray, "R n C"]:
    """Outputs of the heads of runs on some rows, plain view.

    Args:
        problem: with the inputs.
        rules: what is compiled in.
        params: of the runs, with a leading axis.
        rows: their numbers.
    """
    runs = len(jax.tree.leaves(params)[0])
    run = compiled_outputs(rules, runs)
    put = jax.tree.map(jnp.asarray, (problem.student.params, problem.student.frozen))
    constants = Constants(Frozen(put[0], jnp.asarray(problem.mean)), put[1], (), ())
    x, width = problem.inputs[0], max(1, int(np.prod(problem.inputs.shape[2:])))
    found = [np.asarray(run(params, np.asarray(x[p]), constants)) for p in blocks(rows, width)]
    return np.concatenate(found, axis=1)


def score(
    problem: TuningProblem, outputs: Float[np.ndarray, "n C"], rows: Int[np.ndarray, " n"]
) -> float:
    """The task's measure of outputs of a head.

    Args:
        problem: with the measure and the truth.
        outputs: of the head.
        rows: that they are of.

    Returns:
        Larger is better; NaN where outputs are not finite.
    """
    if not np.isfinite(outputs).all():
        return float("nan")
    measure = TASK_MEASURES[problem.measure]
    with np.errstate(over="ignore", invalid="ignore"):  # of a run that is about to diverge
        return measure.score(problem.truth[rows], problem.targets.answers(outputs, measure))


def memory_groups(
    problem: TuningProblem, method: str, config: TuneConfig
) -> list[list[tuple[Hyperparameters, int]]]:
    """All runs of a method, in groups that fit into memory side by side.

    Args:
        problem: with the student, whose size counts.
        method: name in METHODS.
        config: settings.

    Returns:
        Hyper-parameters and seed of every run, by groups.
    """
    seeds = range(config.seed, config.seed + config.seeds)
    runs = [(choice, seed) for choice in choices(method, config) for seed in seeds]
    size = config.together
    if size == 0:
        leaves = [*jax.tree.leaves(problem.student.params), problem.mean]
        size = max(1, MEMORY // (3 * sum(np.asarray(leaf).nbytes for leaf in leaves)))
    return [runs[i : i + size] for i in range(0, len(runs), size)]


SHAPES_A_RUN = (
    "seed",
    "epochs",
    "batch",
    "momentum",
    "weight_decay",
    "head_rate",
    "decay_at",
    "standardised",
)


def train_method(
    problem: TuningProblem, method: str, config: TuneConfig, run: Path | None, bar: Bar
) -> Outcome:
    """Train every run of a method.

    Args:
        problem: a student, its task and its teachers.
        method: name in METHODS.
        config: settings.
        run: folder for checkpoints; None for none.
        bar: of rows.

    Returns:
        What came of the runs.
    """
    found = []
    for runs in memory_groups(problem, method, config):
        trainer = Trainer(problem, method, runs, config)
        if run is None:
            found.append(trainer.train(None, bar))
            continue
        about: dict[str, Any] = {"method": method, "problem": problem.identity}
        about["runs"] = [[*choice, seed] for choice, seed in runs]
        about["config"] = {name: getattr(config, name) for name in SHAPES_A_RUN}
        digest = hashlib.sha256(repr(about).encode()).hexdigest()[:16]
        kept = RunFolder(run / f"{method}-{digest}", about)
        try:
            found.append(trainer.train(kept, bar))
        finally:
            kept.close()
    return Outcome(
        sum((o.choices for o in found), ()),
        sum((o.seeds for o in found), ()),
        np.concatenate([o.validation for o in found]),
        np.concatenate([o.loss for o in found]),
        jax.tree.map(lambda *leaves: np.concatenate(leaves), *(o.params for o in found)),
    )
