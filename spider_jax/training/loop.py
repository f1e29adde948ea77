"""The optimisation of an ensemble: epochs of compiled calls, held-out tasks, checkpoints."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from time import perf_counter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array
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


class TrainingResult(NamedTuple):
    """The best weights [E, ...], the history of the training, the held-out scores [E, V, M]."""

    weights: Weights
    history: list[dict[str, Any]]
    held: NDArray[np.float32]


def optimize(
    config: TrainConfig,
    lesson: TrainingArrays,
    *,
    run: RunFolder | None = None,
    devices: Sequence[jax.Device] | None = None,
    show_progress: bool = False,
) -> TrainingResult:
    """Train all members; the epoch with the best held-out tau counts.

    Args:
        config: of the training. lesson: its tasks.
        run: where checkpoints are kept; the training goes on from the newest.
        devices: to train on; default: all.
        show_progress: a bar on stderr.
    """
    training = _Training(config, lesson, run, None if devices is None else tuple(devices))
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
        lesson: TrainingArrays,
        run: RunFolder | None,
        devices: tuple[jax.Device, ...] | None,
    ) -> None:
        self.config, self.lesson, self.disk = config, lesson, run
        self.models = lesson.targets.shape[1]
        self.epoch_steps = -(-len(lesson.targets) // config.batch)
        # seeds, rates and what is on disk are no part of what is compiled
        plain = replace(
            config, seed=0, learning_rate=1.0, learning_rates=(), checkpoint_every=1, patience=0
        )
        self.run: Runner = _runner(plain, self.models, self.epoch_steps * config.epochs, devices)
        self.epoch, self.first, self.stale, self.loss = 0, 0, 0, 0.0
        self.lines: list[dict[str, Any]] = []
        self.best_tau = -np.inf
        self.best_scores = np.zeros((*lesson.held.shape, self.models), np.float32)
        self.best: Any = None
        self.seconds, self.trained, self.saved = 0.0, 0, 0
        keys = jax.random.split(jax.random.key(config.seed), config.members)
        widths = lesson.tokens.shape[2], 0 if lesson.own is None else lesson.own.tokens.shape[3]
        state = _start(config.width, self.models, *widths, plain)(keys)
        saved = run.restore() if run is not None else None
        if saved is not None:
            state = self._resume(saved, state)
        state = pad_state(state, self.run.rows)
        lanes = deal(lesson, config, self.run.lanes)
        members = Members(jax.random.key_data(keys), jnp.asarray(rates(config)))
        self.state, self.lanes, self.members = self.run.place(state, lanes, members)
        self.held = jax.tree.map(jnp.asarray, held_tasks(lesson))

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
    def history(self) -> list[dict[str, Any]]:
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
        """One compiled call, at most to the end of the epoch; then look and save.

        A call is a third of what may be lost, rounded down: less than two of them wait for a
        checkpoint (an epoch's last call is short), and while one more runs it is being written.
        """
        third = max(1, self.config.checkpoint_every // 3)
        count = min(third, self.epoch_steps - self.first)
        begun = perf_counter()
        window = (self.epoch, self.first, count)
        self.state, loss = self.run.run(self.state, self.lanes, self.members, window)
        if self.disk is not None:
            self.disk.wait()
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
        if self.disk is not None and (self.step - self.saved >= third or self.over):
            self.disk.save(self.step, self._arrays(), self._progress())
            self.saved = self.step
            if self.config.checkpoint_every == 1:
                self.disk.wait()

    def _end_epoch(self) -> None:
        """Judge all members on their held-out tasks; the best weights so far are kept."""
        weights = self.run.state_of(self.state).weights
        scores = self._held_out_scores(weights)
        tau = _mean_tau(self.lesson.targets[self.lesson.held], scores)
        self.epoch, self.first = self.epoch + 1, 0
        line = {"epoch": self.epoch, "step": self.step, "loss": self.loss, "held_out_tau": tau}
        speed = round(self.trained / max(self.seconds, 1e-9), 1)
        self.lines.append(_json_safe(line | {SPEED: speed}))
        log.info("step %d: loss %.4f, held-out tau %.4f", self.step, self.loss, tau)
        self.stale, self.loss = self.stale + 1, 0.0
        if not tau <= self.best_tau:
            self.best_tau, self.best_scores, self.stale = tau, scores, 0
            self.best = jax.tree.map(jnp.copy, _without_padding(weights, self.models))
        if self.disk is not None:
            self.disk.log(self.lines)

    def _held_out_scores(self, weights: Weights) -> NDArray[np.float32]:
        """[E, V, M] on the host."""
        if self.lesson.held.shape[1] == 0:
            return np.zeros((*self.lesson.held.shape, self.models), np.float32)
        return whole(_held_out_scores(weights, self.held))[..., : self.models]

    # ---- checkpoints -------------------------------------------------------------------------

    def _arrays(self) -> dict[str, Any]:
        arrays = named("state", self.run.state_of(self.state)) | {"targets": self.lesson.targets}
        if self.best is not None:
            arrays |= named("best", self.best)
        if self.best_scores.size:  # orbax saves no empty array
            arrays["best_scores"] = self.best_scores
        return arrays

    def _progress(self) -> dict[str, Any]:
        tau = self.best_tau if np.isfinite(self.best_tau) else None
        place = {"epoch": self.epoch, "first": self.first, "stale": self.stale, "loss": self.loss}
        return place | {"lines": self.lines, "best_tau": tau, "has_best": self.best is not None}

    def _resume(self, saved: Saved, state: State) -> State:
        """Stand where the checkpoint stands; the state that it holds."""
        place, targets = saved.progress, saved.arrays["targets"]
        same = targets.shape == self.lesson.targets.shape
        if not same or not np.allclose(targets, self.lesson.targets, rtol=0, atol=1e-3):
            raise InputError(
                "the training was begun with other targets (features of the zoo have changed): "
                "remove its folder to begin again"
            )
        self.epoch, self.first = place["epoch"], place["first"]
        self.stale, self.loss, self.lines = place["stale"], place["loss"], place["lines"]
        self.best_scores = saved.arrays.get("best_scores", self.best_scores)
        if place["has_best"]:
            best = unnamed("best", state.weights, saved.arrays)
            self.best = jax.tree.map(np.asarray, best)  # on one device it would be no one's to save
            self.best_tau = np.nan if place["best_tau"] is None else place["best_tau"]
        self.saved = self.step
        log.info("going on from step %d", self.step)
        return cut_state(unnamed("state", state, saved.arrays), self.models)


@lru_cache(maxsize=8)
def _runner(
    config: TrainConfig, models: int, steps: int, devices: tuple[jax.Device, ...] | None
) -> Runner:
    """One compilation serves every seed."""
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


def whole(array: Array | NDArray[Any]) -> NDArray[Any]:
    """An array on the host, also where devices of other processes hold parts of it."""
    if isinstance(array, np.ndarray) or array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    from jax.experimental.multihost_utils import process_allgather

    return np.asarray(process_allgather(array, tiled=True))


def _without_padding(weights: Weights, models: int) -> Weights:
    return map_rows(lambda rows: rows[:, :models], weights)


def pad_state(state: State, multiple: int) -> State:
    """Zero rows below theta and its moments, up to a multiple."""
    return _on_weights(lambda w: pad_rows(w, multiple), state)


def cut_state(state: State, models: int) -> State:
    """The inverse of `pad_state`."""
    return _on_weights(lambda w: _without_padding(w, models), state)


def _on_weights(change: Callable[[Weights], Weights], state: State) -> State:
    def of(part: Any) -> Any:
        return change(part) if isinstance(part, Weights) else part

    changed: State = jax.tree.map(of, state, is_leaf=lambda part: isinstance(part, Weights))
    return changed


def named(prefix: str, tree: Any) -> dict[str, Any]:
    """The leaves of a tree under plain names."""
    leaves, _ = jax.tree.flatten_with_path(tree)
    return {prefix + jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def unnamed(prefix: str, like: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    """The inverse of `named`, for a tree of the same structure."""
    paths, structure = jax.tree.flatten_with_path(like)
    leaves = [jnp.asarray(arrays[prefix + jax.tree_util.keystr(path)]) for path, _ in paths]
    return jax.tree.unflatten(structure, leaves)


def _mean_tau(targets: NDArray[np.float32], scores: NDArray[np.float32]) -> float:
    """Mean weighted tau over [E, V, M]; NaN where nothing is held out."""
    M = targets.shape[-1]
    pairs = zip(targets.reshape(-1, M), scores.reshape(-1, M), strict=True)
    taus = [weighted_tau(t, s) for t, s in pairs]
    return float(np.mean(taus)) if taus else float("nan")


def _json_safe(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: value if np.isfinite(value) else None for name, value in entry.items()}
