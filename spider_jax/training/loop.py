"""The optimisation of an ensemble: epochs of compiled calls, held-out tasks, checkpoints."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from time import perf_counter
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float32, Shaped
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.ranking.measures import weighted_tau
from spider_jax.runtime.progress import task_bar
from spider_jax.spider.attention import score_tasks
from spider_jax.spider.network import SpiderNet
from spider_jax.spider.weights import Weights
from spider_jax.storage.run_folder import RunFolder, Saved
from spider_jax.training.arrays import Held, TrainingArrays, deal, held_tasks, rates
from spider_jax.training.config import TrainConfig
from spider_jax.training.parallel import Runner, map_rows, pad_rows, runner
from spider_jax.training.state import Members, State
from spider_jax.training.step import direction

log = logging.getLogger("spider_jax")

SPEED = "tasks_per_second"

Line = dict[str, int | float | None]  # figures of an epoch by name; None for what is not finite
Tree = TypeVar("Tree")


class TrainingResult(NamedTuple):
    """What comes of a training.

    Attributes:
        weights: of the best epoch, with a leading axis of E members.
        history: a line of figures an epoch: epoch, step, loss, held_out_tau.
        held_scores: of M models by every member on its own V held-out tasks, of the best epoch.
    """

    weights: Weights
    history: list[Line]
    held_scores: Float32[np.ndarray, "E V M"]


def optimize(
    config: TrainConfig,
    arrays: TrainingArrays,
    *,
    run: RunFolder | None = None,
    devices: Sequence[jax.Device] | None = None,
    show_progress: bool = False,
) -> TrainingResult:
    """Train all members; the epoch with the best held-out tau counts.

    Args:
        config: of the training.
        arrays: the tasks and what is learned of them.
        run: where checkpoints are kept; the training goes on from the newest. None: none are kept.
        devices: to train on; default: all.
        show_progress: a bar on stderr.

    Returns:
        The best weights and the history.

    Raises:
        InputError: the training diverges, the devices cannot be split as `config` says, or the run
            folder holds a training with other targets.
    """
    training = _Training(config, arrays, run, None if devices is None else tuple(devices))
    try:
        with task_bar(training.tasks, "training", show_progress, done=training.done) as bar:
            while not training.over:
                training.advance()
                bar.update(training.done - bar.n)
                bar.set_postfix_str(training.figures())
    finally:
        if run is not None:
            run.close()
    best = jax.tree.map(lambda a: jnp.asarray(whole(a)), training.best)
    return TrainingResult(best, training.history, training.best_scores)


class _Training:
    """Where a training stands: on the devices its state, here the best so far and the history."""

    def __init__(
        self,
        config: TrainConfig,
        arrays: TrainingArrays,
        run: RunFolder | None,
        devices: tuple[jax.Device, ...] | None,
    ) -> None:
        self.config, self.arrays, self.run = config, arrays, run
        self.models = arrays.targets.shape[1]
        self.epoch_steps = -(-len(arrays.targets) // config.batch)
        # seeds, rates and what is on disk are no part of what is compiled
        plain = replace(
            config, seed=0, learning_rate=1.0, learning_rates=(), checkpoint_every=1, patience=0
        )
        steps = self.epoch_steps * config.epochs
        self.runner: Runner = _runner(plain, self.models, steps, devices)
        self.epoch, self.first, self.stale, self.loss = 0, 0, 0, 0.0
        self.lines: list[Line] = []
        self.best_tau = -np.inf
        self.best_scores = np.zeros((*arrays.held.shape, self.models), np.float32)
        self.best: Weights | None = None
        self.seconds, self.trained, self.saved = 0.0, 0, 0
        keys = jax.random.split(jax.random.key(config.seed), config.members)
        widths = arrays.tokens.shape[2], 0 if arrays.own is None else arrays.own.tokens.shape[3]
        state = _start(config.width, self.models, *widths, plain)(keys)
        saved = run.restore() if run is not None else None
        if saved is not None:
            state = self._resume(saved, state)
        state = _pad_state(state, self.runner.rows)
        lanes = deal(arrays, config, self.runner.lanes)
        members = Members(jax.random.key_data(keys), jnp.asarray(rates(config)))
        self.state, self.lanes, self.members = self.runner.place(state, lanes, members)
        self.held: Held = jax.tree.map(jnp.asarray, held_tasks(arrays))

    @property
    def over(self) -> bool:
        """Whether the last epoch is done, or the held-out tasks have not improved for long."""
        impatient = 0 < self.config.patience <= self.stale
        return self.epoch == self.config.epochs or (impatient and self.first == 0)

    @property
    def tasks(self) -> int:
        """Tasks of the whole training, as often as they are drawn."""
        return self.epoch_steps * self.config.epochs * self.config.batch

    @property
    def done(self) -> int:
        """Tasks drawn so far."""
        return self.step * self.config.batch

    @property
    def step(self) -> int:
        """Steps done."""
        return self.epoch * self.epoch_steps + self.first

    @property
    def history(self) -> list[Line]:
        """The lines without what differs from run to run."""
        return [{n: v for n, v in line.items() if n != SPEED} for line in self.lines]

    def figures(self) -> str:
        """Loss and held-out tau of the last epoch, for the bar."""
        if not self.lines:
            return ""
        last = self.lines[-1]
        tau = "-" if last["held_out_tau"] is None else f"{last['held_out_tau']:.3f}"
        return f"loss {last['loss']:.3f}, held-out tau {tau}"

    def advance(self) -> None:
        """One compiled call, at most to the end of the epoch; then judge and save.

        A call is a third of what may be lost, rounded down: less than two of them wait for a
        checkpoint (an epoch's last call is short), and while one more runs it is being written.
        """
        third = max(1, self.config.checkpoint_every // 3)
        count = min(third, self.epoch_steps - self.first)
        begun = perf_counter()
        window = (self.epoch, self.first, count)
        self.state, loss = self.runner.run(self.state, self.lanes, self.members, window)
        if self.run is not None:
            self.run.wait()
        mean = float(np.mean(jax.device_get(loss)))
        if not np.isfinite(mean):
            raise InputError(
                f"the training diverged, its loss is {mean} after step {self.step + count}: "
                "choose a smaller learning_rate"
            )
        self.loss += mean * count / self.epoch_steps
        self.seconds += perf_counter() - begun
        self.trained += count * self.config.batch
        self.first += count
        if self.first == self.epoch_steps:
            self._end_epoch()
        if self.run is not None and (self.step - self.saved >= third or self.over):
            self.run.save(self.step, self._saved_arrays(), self._saved_progress())
            self.saved = self.step
            if self.config.checkpoint_every == 1:
                self.run.wait()

    def _end_epoch(self) -> None:
        """Judge all members on their held-out tasks; the best weights so far are kept."""
        weights = self.runner.state_of(self.state).weights
        scores = self._held_out_scores(weights)
        tau = _mean_tau(self.arrays.targets[self.arrays.held], scores)
        self.epoch, self.first = self.epoch + 1, 0
        line: Line = {"epoch": self.epoch, "step": self.step}
        line |= {"loss": self.loss, "held_out_tau": tau}
        line[SPEED] = round(self.trained / max(self.seconds, 1e-9), 1)
        self.lines.append(_json_safe(line))
        log.info("step %d: loss %.4f, held-out tau %.4f", self.step, self.loss, tau)
        self.stale, self.loss = self.stale + 1, 0.0
        if not tau <= self.best_tau:
            self.best_tau, self.best_scores, self.stale = tau, scores, 0
            self.best = jax.tree.map(jnp.copy, _without_padding(weights, self.models))
        if self.run is not None:
            self.run.log(self.lines)

    def _held_out_scores(self, weights: Weights) -> NDArray[np.float32]:
        """[E, V, M] on the host."""
        if self.arrays.held.shape[1] == 0:
            return np.zeros((*self.arrays.held.shape, self.models), np.float32)
        return whole(_held_out_scores(weights, self.held))[..., : self.models]

    # ---- checkpoints -------------------------------------------------------------------------

    def _saved_arrays(self) -> dict[str, Array | NDArray[Any]]:
        state = self.runner.state_of(self.state)
        arrays = _named("state", state) | {"targets": self.arrays.targets}
        if self.best is not None:
            arrays |= _named("best", self.best)
        if self.best_scores.size:  # orbax saves no empty array
            arrays["best_scores"] = self.best_scores
        return arrays

    def _saved_progress(self) -> dict[str, object]:
        tau = self.best_tau if np.isfinite(self.best_tau) else None
        place = {"epoch": self.epoch, "first": self.first, "stale": self.stale, "loss": self.loss}
        return place | {"lines": self.lines, "best_tau": tau, "has_best": self.best is not None}

    def _resume(self, saved: Saved, state: State) -> State:
        """Go on where the checkpoint stands: its progress here, its state returned."""
        place, targets = saved.progress, saved.arrays["targets"]
        same = targets.shape == self.arrays.targets.shape
        if not same or not np.allclose(targets, self.arrays.targets, rtol=0, atol=1e-3):
            raise InputError(
                "the training was begun with other targets (features of the zoo have changed): "
                "remove its folder to begin again"
            )
        self.epoch, self.first = place["epoch"], place["first"]
        self.stale, self.loss, self.lines = place["stale"], place["loss"], place["lines"]
        self.best_scores = saved.arrays.get("best_scores", self.best_scores)
        if place["has_best"]:
            best = _unnamed("best", state.weights, saved.arrays)
            # on the host: of several processes, orbax saves no array that lies on one device alone
            self.best = jax.tree.map(np.asarray, best)
            self.best_tau = np.nan if place["best_tau"] is None else place["best_tau"]
        self.saved = self.step
        log.info("going on from step %d", self.step)
        return _cut_state(_unnamed("state", state, saved.arrays), self.models)


@lru_cache(maxsize=8)
def _runner(
    config: TrainConfig, models: int, steps: int, devices: tuple[jax.Device, ...] | None
) -> Runner:
    """The runner, kept: one compilation serves every seed."""
    return runner(config, models, steps, devices)


@lru_cache(maxsize=8)
def _start(
    width: int, models: int, token_width: int, own_width: int, config: TrainConfig
) -> Callable[[Array], State]:
    """keys [E] -> the state of all members before the first step."""
    optimizer = direction(config)

    def start(key: Array) -> State:
        weights = SpiderNet(models, token_width, width, nnx.Rngs(key), own_width).weights()
        return State(weights, optimizer.init(weights), jnp.int32(0))

    def of_all(keys: Array) -> State:
        return jax.vmap(start)(keys)._replace(step=jnp.int32(0))

    return jax.jit(of_all)


@jax.jit
def _held_out_scores(weights: Weights, held: Held) -> Array:
    """[E, V, M] scores of every member on its own held-out tasks."""
    scores = jax.vmap(score_tasks)(weights, held.tokens, held.mask)
    if held.prior is None:
        return scores
    return scores[..., : held.prior.shape[-1]] + held.prior


def whole(array: Shaped[Array | np.ndarray, "..."]) -> Shaped[np.ndarray, "..."]:
    """Bring an array to the host, also where devices of other processes hold parts of it.

    Args:
        array: on devices or on the host already.

    Returns:
        The whole array; every process gets it.
    """
    if isinstance(array, np.ndarray) or array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    from jax.experimental.multihost_utils import process_allgather

    return np.asarray(process_allgather(array, tiled=True))


# ---- a state with and without padding, and by name ---------------------------------------------


def _without_padding(weights: Weights, models: int) -> Weights:
    return map_rows(lambda rows: rows[:, :models], weights)


def _pad_state(state: State, multiple: int) -> State:
    """Zero rows below theta and its moments, up to a multiple."""
    return _on_weights(lambda w: pad_rows(w, multiple), state)


def _cut_state(state: State, models: int) -> State:
    """The inverse of `_pad_state`."""
    return _on_weights(lambda w: _without_padding(w, models), state)


def _on_weights(change: Callable[[Weights], Weights], state: State) -> State:
    """The state, its weights and all moments that are shaped like them changed."""

    def of(part: object) -> object:
        return change(part) if isinstance(part, Weights) else part

    changed: State = jax.tree.map(of, state, is_leaf=lambda part: isinstance(part, Weights))
    return changed


def _named(prefix: str, tree: object) -> dict[str, Array | NDArray[Any]]:
    """The leaves of a tree under plain names."""
    leaves, _ = jax.tree.flatten_with_path(tree)
    return {prefix + jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def _unnamed(prefix: str, like: Tree, arrays: dict[str, NDArray[Any]]) -> Tree:
    """The inverse of `_named`, for a tree of the same structure."""
    paths, structure = jax.tree.flatten_with_path(like)
    leaves = [jnp.asarray(arrays[prefix + jax.tree_util.keystr(path)]) for path, _ in paths]
    tree: Tree = jax.tree.unflatten(structure, leaves)
    return tree


# ---- figures -----------------------------------------------------------------------------------


def _mean_tau(targets: NDArray[np.float32], scores: NDArray[np.float32]) -> float:
    """Mean weighted tau over [E, V, M]; NaN where nothing is held out."""
    M = targets.shape[-1]
    pairs = zip(targets.reshape(-1, M), scores.reshape(-1, M), strict=True)
    taus = [weighted_tau(t, s) for t, s in pairs]
    return float(np.mean(taus)) if taus else float("nan")


def _json_safe(line: Line) -> Line:
    """The line with None for what is not finite."""
    return {n: v if v is not None and np.isfinite(v) else None for n, v in line.items()}
