"""Training: meta-tasks, teachers' orders as targets, Plackett-Luce, early stop on held-out sources.

An ensemble is trained at once. Each member leaves other source datasets out of its training; on
these the number of steps is chosen and the resolution of the ranking is measured, so that no
dataset is lost to all members.
"""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array
from numpy.typing import NDArray

from spider_jax.aggregate import AGGREGATES
from spider_jax.attention import Weights, fold, score_tasks
from spider_jax.errors import InputError
from spider_jax.losses import plackett_luce_loss
from spider_jax.measures import weighted_tau
from spider_jax.progress import progress
from spider_jax.scaling import KINDS, Scaling, fit_scaling, with_unit_tokens
from spider_jax.scoring import CHUNK
from spider_jax.spider import Description, Spider, SpiderNet
from spider_jax.store import FeatureStore, Problem
from spider_jax.tasks import (
    MetaTask,
    TaskConfig,
    class_centres,
    gather,
    load_sources,
    pad_tokens,
    sample_tasks,
)
from spider_jax.teachers import TEACHERS, teach

log = logging.getLogger("spider_jax")

WARM_UP = 20
HELD_OUT_TASKS = 48
CONFIDENCE = 0.8


@dataclass(frozen=True)
class TrainConfig:
    """How a spider is trained; the defaults suit a zoo of tens of models and of source datasets.

    seed: of everything. width: d. members: of the ensemble. teachers, aggregate: whose scores give
    the target order. tasks: how meta-tasks are sampled. scaling, components, spread: see
    `fit_scaling`. held_out: source datasets each member leaves out. steps, batch (tasks),
    learning_rate, weight_decay: of AdamW with warm-up and cosine. dropout: of the attention output.
    token_dropout: share of a task's classes left out of a step. token_noise: standard deviation of
    a shift of all tokens of a task, in units of the tokens. evaluations: how often held-out tasks
    are looked at.
    """

    seed: int = 0
    width: int = 128
    members: int = 4
    teachers: tuple[str, ...] = ("logme", "knn", "ridge")
    aggregate: str = "mean_z"
    tasks: TaskConfig = field(default_factory=TaskConfig)
    scaling: str = "pca"
    components: int = 32
    spread: bool = False
    held_out: int = 3
    steps: int = 300
    batch: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    dropout: float = 0.0
    token_dropout: float = 0.5
    token_noise: float = 1.0
    evaluations: int = 5

    def __post_init__(self) -> None:
        for name in ("width", "members", "steps", "batch", "evaluations", "components"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("dropout", "token_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        for name in ("seed", "held_out", "weight_decay", "token_noise"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} must be at least 0, got {getattr(self, name)}")
        if not 0 < self.learning_rate < math.inf:
            raise InputError(f"learning_rate must be positive, got {self.learning_rate}")
        if self.scaling not in KINDS:
            raise InputError(f"scaling must be one of {KINDS}, got {self.scaling!r}")
        if self.aggregate not in AGGREGATES:
            raise InputError(
                f"aggregate must be one of {tuple(AGGREGATES)}, got {self.aggregate!r}"
            )
        unknown = [name for name in self.teachers if name not in TEACHERS]
        if unknown or not self.teachers:
            raise InputError(f"teachers must be some of {tuple(TEACHERS)}, got {self.teachers}")


class TrainingSet(NamedTuple):
    """Meta-tasks with everything training needs.

    models: names [M]. meta: T tasks. tokens [T, C, D], mask [T, C]: raw class centres. targets
    [T, M]. problems: models that were left out.
    """

    models: tuple[str, ...]
    meta: list[MetaTask]
    tokens: NDArray[np.float32]
    mask: NDArray[np.bool_]
    targets: NDArray[np.float32]
    problems: tuple[Problem, ...]


class Split(NamedTuple):
    """What members leave out. weight [E, T]: 1 where one trains. held [E, V]: held-out tasks."""

    datasets: list[list[str]]
    weight: NDArray[np.float32]
    held: NDArray[np.int64]


def train(
    zoo: FeatureStore,
    config: TrainConfig | None = None,
    *,
    datasets: Sequence[str] | None = None,
    show_progress: bool = False,
) -> Spider:
    """Train a spider on a zoo.

    Args:
        zoo: features of all models and of the general extractor, labels of the source datasets.
        config: see TrainConfig.
        datasets: names of the source datasets; default: every classification task whose manifest
            entry does not say "held_out".
        show_progress: bars on stderr.

    Returns:
        The spider; `description.training` tells what it was trained on and the models left out.

    Raises:
        InputError: no extractor in the zoo, an unknown dataset, or fewer than two usable models.
    """
    config = config or TrainConfig()
    names = source_datasets(zoo) if datasets is None else tuple(datasets)
    given = training_set(zoo, config, names, show_progress=show_progress)
    return fit(zoo, config, names, given, show_progress=show_progress)


def source_datasets(zoo: FeatureStore) -> tuple[str, ...]:
    """The zoo's classification tasks that its manifest does not hold out."""
    return tuple(
        task
        for task in zoo.tasks
        if zoo.kind(task) == "classification" and not zoo.task_info(task).get("held_out")
    )


def training_set(
    zoo: FeatureStore,
    config: TrainConfig,
    datasets: Sequence[str],
    *,
    show_progress: bool = False,
) -> TrainingSet:
    """Sample meta-tasks and let the teachers order the models on them (the expensive part)."""
    extractor = zoo.extractor
    if extractor is None:
        raise InputError(
            f'{zoo.folder} names no general extractor: set "extractor" in manifest.json'
        )
    labels = {dataset: zoo.training_labels(dataset) for dataset in datasets}
    meta = sample_tasks(labels, config.tasks, config.seed)
    features = load_sources(zoo, extractor, datasets)
    centres = [class_centres(gather(t, features), t.labels) for t in meta]
    tokens, mask = pad_tokens(centres, classes=config.tasks.max_classes)
    models, metrics, problems = teach(zoo, meta, config.teachers, show_progress=show_progress)
    targets = AGGREGATES[config.aggregate](metrics).astype(np.float32)
    return TrainingSet(models, meta, tokens, mask, targets, problems)


def fit(
    zoo: FeatureStore,
    config: TrainConfig,
    datasets: Sequence[str],
    given: TrainingSet,
    *,
    show_progress: bool = False,
) -> Spider:
    """Train on a prepared training set: the part that runs on the device."""
    assert zoo.extractor is not None  # training_set has seen to it
    features = load_sources(zoo, zoo.extractor, datasets)
    scaling = fit_scaling(
        np.concatenate(list(features.values())),
        kind=config.scaling,
        components=config.components,
        spread=config.spread,
    )
    scaling = with_unit_tokens(scaling, given.tokens, given.mask)
    split = leave_datasets_out(given.meta, datasets, config)
    with jax.numpy_dtype_promotion("standard"):  # optax mixes int counts with float rates
        weights, history, held = _optimize(config, scaling, given, split, show_progress)
    description = Description(
        models=given.models,
        widths={model: zoo.width(model) for model in given.models},
        extractor={"name": zoo.extractor, "width": zoo.width(zoo.extractor)},
        width=config.width,
        members=config.members,
        token_width=scaling.width,
        resolution=_resolution(held, given.targets, split),
        form="few" if len(given.models) <= CHUNK["few"] else "many",
        training={
            "config": asdict(config),
            "datasets": list(datasets),
            "held_out": split.datasets,
            "zoo": zoo.fingerprint(),
            "left_out": [str(problem) for problem in given.problems],
            "history": history,
        },
    )
    return Spider(description, scaling, weights)


def leave_datasets_out(
    meta: Sequence[MetaTask], datasets: Sequence[str], config: TrainConfig
) -> Split:
    """Deal the source datasets out to the members: each leaves some out, every one about as often.

    A member trains on tasks that touch none of its left-out datasets, and is judged on those that
    touch nothing else.
    """
    rng = np.random.default_rng(config.seed)
    count = min(config.held_out, len(datasets) // 2)
    if count == 0:
        log.warning("one source dataset only: nothing can be held out to stop early on")
    dealt: list[str] = []
    left_out, weight, held = [], [], []
    for _ in range(config.members):
        while len(dealt) < count:
            dealt += [d for d in map(str, rng.permutation(datasets)) if d not in dealt]
        out, dealt = set(dealt[:count]), dealt[count:]
        inside = np.array([not out & set(task.datasets) for task in meta])
        outside = np.flatnonzero([bool(out) and out >= set(task.datasets) for task in meta])
        left_out.append(sorted(out))
        weight.append(inside.astype(np.float32))
        held.append(rng.permutation(outside)[:HELD_OUT_TASKS])
        if not inside.any():
            raise InputError("tasks: no meta-task is left to train on; sample more of them")
    fewest = min(map(len, held))
    return Split(left_out, np.stack(weight), np.stack([h[:fewest] for h in held]))


class _State(NamedTuple):
    """One member while it trains."""

    parameters: Any
    optimizer: optax.OptState


def _optimize(
    config: TrainConfig,
    scaling: Scaling,
    given: TrainingSet,
    split: Split,
    show_progress: bool,
) -> tuple[Weights, list[dict[str, Any]], NDArray[np.float32]]:
    """The weights at the step of the best held-out tau, the history, the held-out scores there."""
    tokens = scaling(jnp.asarray(given.tokens), jnp.asarray(given.mask))
    mask, targets = jnp.asarray(given.mask), jnp.asarray(given.targets)
    # one compilation serves every seed
    start, run, weights_of = _compile(replace(config, seed=0), len(given.models), scaling.width)
    keys = jax.random.split(jax.random.key(config.seed), config.members)
    state = start(keys)
    chance = jnp.asarray(split.weight / split.weight.sum(1, keepdims=True))
    best: tuple[float, Any, Any] = (-np.inf, None, None)
    history = []
    for block in progress(range(config.evaluations), "training", show_progress, unit="block"):
        state, loss = run(state, keys, chance, tokens, mask, targets, block)
        weights = weights_of(state)
        scores = np.asarray(_held_out_scores(weights, tokens, mask, split.held))
        tau = _mean_tau(given.targets[split.held], scores)
        step = (block + 1) * _block_steps(config)
        history.append({"step": step, "loss": float(loss), "held_out_tau": tau})
        log.info("step %d: loss %.4f, held-out tau %.4f", step, loss, tau)
        if not tau <= best[0]:
            best = (tau, weights, scores)
    return best[1], [_json_safe(entry) for entry in history], best[2]


@jax.jit
def _held_out_scores(weights: Weights, tokens: Array, mask: Array, held: Array) -> Array:
    """[E, V, M] scores of every member on its own held-out tasks."""
    return jax.vmap(lambda w, rows: score_tasks(fold(w), tokens[rows], mask[rows]))(weights, held)


@lru_cache(maxsize=8)
def _compile(
    config: TrainConfig, models: int, token_width: int
) -> tuple[Callable[..., _State], Callable[..., tuple[_State, Array]], Callable[..., Weights]]:
    """Start, a block of steps, and weights of all members, compiled."""

    def build(key: Array) -> SpiderNet:
        return SpiderNet(models, token_width, config.width, nnx.Rngs(key))

    graph = nnx.split(nnx.eval_shape(lambda: build(jax.random.key(0))))[0]
    optimizer = _optimizer(config)
    block_steps = _block_steps(config)

    def start(key: Array) -> _State:
        parameters = nnx.split(build(key))[1]
        return _State(parameters, optimizer.init(parameters))

    def weights_of(state: _State) -> Weights:
        return nnx.merge(graph, state.parameters).weights()

    def member(
        state: _State,
        key: Array,
        chance: Array,
        tokens: Array,
        mask: Array,
        targets: Array,
        block: Array,
    ) -> tuple[_State, Array]:
        bounds = jnp.cumsum(chance)

        def step(state: _State, i: Array) -> tuple[_State, Array]:
            pick, noise = jax.random.split(jax.random.fold_in(key, i))
            drawn = jnp.searchsorted(bounds, jax.random.uniform(pick, (config.batch,)) * bounds[-1])

            def loss(parameters: Any) -> Array:
                weights = nnx.merge(graph, parameters).weights()
                scores = _noisy_scores(config, weights, tokens[drawn], mask[drawn], noise)
                return plackett_luce_loss(scores, targets[drawn]).mean()

            value, gradient = jax.value_and_grad(loss)(state.parameters)
            updates, inner = optimizer.update(gradient, state.optimizer, state.parameters)
            return _State(optax.apply_updates(state.parameters, updates), inner), value

        state, losses = jax.lax.scan(step, state, block * block_steps + jnp.arange(block_steps))
        return state, losses.mean()

    over_members = jax.vmap(member, (0, 0, 0, None, None, None, None))

    def run(*arguments: Any) -> tuple[_State, Array]:
        state, loss = over_members(*arguments)
        return state, loss.mean()

    return jax.jit(jax.vmap(start)), jax.jit(run, donate_argnums=0), jax.jit(jax.vmap(weights_of))


def _block_steps(config: TrainConfig) -> int:
    """Steps between two looks at the held-out tasks."""
    return max(1, config.steps // config.evaluations)


def _optimizer(config: TrainConfig) -> optax.GradientTransformation:
    steps = max(config.steps, WARM_UP + 1)
    rate = optax.warmup_cosine_decay_schedule(
        0.0, config.learning_rate, WARM_UP, steps, config.learning_rate * 0.02
    )

    def matrices(parameters: Any) -> Any:
        return jax.tree.map(lambda p: p.ndim > 1, parameters)

    decayed = optax.adamw(rate, weight_decay=config.weight_decay, mask=matrices)
    return optax.chain(optax.clip_by_global_norm(1.0), decayed)


def _noisy_scores(
    config: TrainConfig, weights: Weights, tokens: Array, mask: Array, key: Array
) -> Array:
    """Scores with dropped classes, shifted tokens and dropout, against fitting the few sources."""
    drop_class, shift, drop_output = jax.random.split(key, 3)
    mask = mask & jax.random.bernoulli(drop_class, 1 - config.token_dropout, mask.shape)
    shape = (len(tokens), 1, tokens.shape[2])
    tokens = tokens + config.token_noise * jax.random.normal(shift, shape)

    def regularize(attended: Array) -> Array:
        keep = 1 - config.dropout
        kept = jax.random.bernoulli(drop_output, keep, attended.shape)
        return jnp.where(kept, attended / keep, 0.0)

    return score_tasks(fold(weights), tokens, mask, regularize)


def _mean_tau(targets: NDArray[np.float32], scores: NDArray[np.float32]) -> float:
    """Mean weighted tau over [E, V, M]; NaN where nothing is held out."""
    M = targets.shape[-1]
    pairs = zip(targets.reshape(-1, M), scores.reshape(-1, M), strict=True)
    taus = [weighted_tau(t, s) for t, s in pairs]
    return float(np.mean(taus)) if taus else float("nan")


def _resolution(scores: NDArray[np.float32], targets: NDArray[np.float32], split: Split) -> float:
    """Score difference from which CONFIDENCE of the held-out pairs were ordered as the target.

    P(right order) = sigmoid(a |difference|), a by maximum likelihood over the pairs of each
    member's own held-out tasks; the mean over members is steadier than one, so this is cautious.
    """
    M = targets.shape[1]
    upper = np.triu_indices(M, 1)
    truth = targets[split.held].reshape(-1, M).astype(np.float64)
    guess = scores.reshape(-1, M).astype(np.float64)
    agreed = np.sign(truth[:, :, None] - truth[:, None]) * (guess[:, :, None] - guess[:, None])
    z = agreed[:, *upper].ravel()
    z = z[z != 0]
    if len(z) == 0:
        return float("nan")
    slope = 0.0
    for _ in range(50):  # Newton on a concave function of one variable
        p = 1 / (1 + np.exp(np.clip(slope * z, -500, 500)))
        slope += (p * z).sum() / (p * (1 - p) * z**2).sum()
    return float(np.log(CONFIDENCE / (1 - CONFIDENCE)) / slope) if slope > 0 else float("inf")


def _json_safe(entry: dict[str, Any]) -> dict[str, Any]:
    return {name: value if np.isfinite(value) else None for name, value in entry.items()}
