"""Heads on frozen features: all models of one width trained at once under vmap, an epoch a call."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Float32, Int

from spider_jax.errors import InputError
from spider_jax.heads.blocks import blocks, column_scaling
from spider_jax.heads.targets import Targets

HIGHEST = jax.lax.Precision.HIGHEST
Params = dict[str, Float[Array | np.ndarray, "..."]]
Trained = tuple[Params, optax.OptState]  # after some steps
Tree = TypeVar("Tree")


MOST = {"hidden": 1 << 16, "batch": 1 << 20, "seed": 2**32 - 1, "least_steps": 1 << 20}


@dataclass(frozen=True)
class HeadConfig:
    """How heads are trained.

    Attributes:
        hidden: units of the hidden layer, 0 for a linear head.
        batch: rows a step.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        seed: of initial weights, the order of rows, and a split where the zoo has none.
        least_steps: of an epoch: where the rows make fewer, an epoch goes over them again, so that
            heads of few rows are trained before they are compared.
    """

    hidden: int = 0
    batch: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    seed: int = 0
    least_steps: int = 32

    def __post_init__(self) -> None:
        for name, least in (("hidden", 0), ("batch", 1), ("seed", 0), ("least_steps", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name} must be >= {least}, got {getattr(self, name)}")
            if getattr(self, name) > MOST[name]:
                raise InputError(f"{name} must be <= {MOST[name]}, got {getattr(self, name)}")
        if not 0 < self.learning_rate < np.inf:
            raise InputError(f"learning_rate must be > 0 and finite, got {self.learning_rate}")
        if not 0 <= self.weight_decay < np.inf:
            raise InputError(f"weight_decay must be >= 0 and finite, got {self.weight_decay}")


class HeadState(NamedTuple):
    """A head in training.

    Attributes:
        params: after the last epoch: W [D or hidden, K], b [K], and V [D, hidden], c [hidden] where
            there is a hidden layer.
        optimizer: state of AdamW after the last epoch.
        mean: of the columns, over the training rows.
        scale: deviation of the columns, over the training rows.
        best: the params of the best validation.
        validation: score after every epoch.
        standard_error: of every score; NaN where it is a share, whose error follows from the rows.
    """

    params: Params
    optimizer: optax.OptState
    mean: Float32[np.ndarray, " D"]
    scale: Float32[np.ndarray, " D"]
    best: Params
    validation: tuple[float, ...] = ()
    standard_error: tuple[float, ...] = ()


# ---- one head --------------------------------------------------------------------------------


def init_head(
    model: str,
    config: HeadConfig,
    features: Float[np.ndarray, "N D"],
    train: Int[np.ndarray, " n"],
    outputs: int,
) -> HeadState:
    """A fresh head; its weights depend on seed and model alone, not on other models.

    Args:
        model: name.
        config: settings.
        features: of the model, also a memmap.
        train: rows whose mean and deviation scale the columns.
        outputs: K.

    Returns:
        A head of no epoch: all zero if linear, else He's random hidden layer.
    """
    mean, scale = column_scaling(features, train)
    D, H = features.shape[1], config.hidden
    rng = np.random.default_rng([config.seed, zlib.crc32(model.encode())])
    drawn = {"W": np.zeros((H or D, outputs)), "b": np.zeros(outputs)}
    if H:
        drawn |= {"V": rng.normal(size=(D, H)) * np.sqrt(2 / D), "c": np.zeros(H)}
        drawn["W"] = rng.normal(size=(H, outputs)) / np.sqrt(H)
    params: Params = {name: np.asarray(a, np.float32) for name, a in sorted(drawn.items())}
    state = jax.tree.map(np.asarray, optimizer(config).init(params))
    return HeadState(params, state, mean, scale, params)


def optimizer(config: HeadConfig) -> optax.GradientTransformation:
    """AdamW.

    Args:
        config: with its learning rate and weight decay.

    Returns:
        The transformation of optax.
    """
    return optax.adamw(config.learning_rate, weight_decay=config.weight_decay)


def outputs_of(params: Params, X: Float[Array, "n D"]) -> Float[Array, "n K"]:
    """X W + b, or relu(X V + c) W + b.

    Args:
        params: of one head.
        X: scaled features.

    Returns:
        Logits, or standardised numbers of a regression.
    """
    if "V" in params:
        X = jax.nn.relu(jnp.matmul(X, params["V"], precision=HIGHEST) + params["c"][None])
    return jnp.matmul(X, params["W"], precision=HIGHEST) + params["b"][None]


def _loss(params: Params, X: Array, Y: Array, weight: Array, kind: str) -> Array:
    out = outputs_of(params, X)
    if kind == "classification":
        each = optax.losses.softmax_cross_entropy(out, Y)
    elif kind == "multi-label":
        each = optax.losses.sigmoid_binary_cross_entropy(out, Y).mean(1)
    else:
        each = ((out - Y) ** 2).mean(1)
    return (weight * each).sum() / weight.sum()


# ---- all heads of one width ------------------------------------------------------------------


@lru_cache(maxsize=32)
def _compiled_block(kind: str, config: HeadConfig) -> Callable[..., Trained]:
    """Steps over one block of rows, jitted, vmapped over models; labels and order are shared."""
    transform = optimizer(config)

    def steps(
        params: Params,
        state: optax.OptState,
        X: Array,
        mean: Array,
        scale: Array,
        Y: Array,
        order: Array,
    ) -> Trained:
        X = (X.astype(jnp.float32) - mean[None]) / scale[None]

        def step(carry: Trained, rows: Array) -> tuple[Trained, None]:
            params, state = carry
            weight = (rows >= 0).astype(jnp.float32)
            at = jnp.maximum(rows, 0)
            down = jax.grad(_loss)(params, X[at], Y[at], weight, kind)
            with jax.numpy_dtype_promotion("standard"):  # optax mixes int counts with floats
                updates, state = transform.update(down, state, params)
            return (optax.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, state), order)[0]

    return jax.jit(jax.vmap(steps, (0, 0, 0, 0, 0, None, None)))


@jax.jit
def _compiled_outputs(params: Params, X: Array, mean: Array, scale: Array) -> Array:
    def one(params: Params, X: Array, mean: Array, scale: Array) -> Array:
        return outputs_of(params, (X.astype(jnp.float32) - mean[None]) / scale[None])

    return jax.vmap(one)(params, X, mean, scale)


def train_epoch(
    states: list[HeadState],
    features: list[Float[np.ndarray, "N D"]],
    targets: Targets,
    train: Int[np.ndarray, " n"],
    config: HeadConfig,
    epoch: int,
) -> list[HeadState]:
    """One more epoch of heads of one width; validation is not touched.

    Args:
        states: of every model.
        features: of every model, also memmaps; read by blocks of rows.
        targets: of all rows.
        train: the rows to learn from.
        config: settings.
        epoch: from 0; with the seed it gives the order of rows: a permutation of all for each time
            that they are gone over, the same for every model and width, whatever the order of the
            file.

    Returns:
        New states with params and optimizer after the epoch.
    """
    params, state = _stack([(s.params, s.optimizer) for s in states])
    mean, scale = _stack([(s.mean, s.scale) for s in states])
    rng = np.random.default_rng([config.seed, epoch])
    run = _compiled_block(targets.kind, config)
    for drawn in _drawn(rng, train, features[0].shape[1], config):
        rows = np.sort(drawn)  # a file is read forwards
        X = np.stack([np.asarray(one[rows]) for one in features])
        order = _batches(np.searchsorted(rows, drawn), config.batch)
        params, state = run(params, state, X, mean, scale, targets.values[rows], order)
    pairs = zip(states, _unstack(params, len(states)), _unstack(state, len(states)), strict=True)
    return [old._replace(params=p, optimizer=s) for old, p, s in pairs]


def _drawn(
    rng: np.random.Generator, train: Int[np.ndarray, " n"], width: int, config: HeadConfig
) -> Iterator[Int[np.ndarray, " b"]]:
    """Blocks of rows, as often over all of them as the least number of steps takes."""
    times = -(-config.least_steps // max(1, -(-len(train) // config.batch)))
    for _ in range(times):
        yield from blocks(rng.permutation(train), width, config.batch)


def outputs_on(
    params: list[Params],
    states: list[HeadState],
    features: list[Float[np.ndarray, "N D"]],
    rows: Int[np.ndarray, " n"],
) -> Float32[np.ndarray, "m n K"]:
    """Outputs of m heads of one width on some rows.

    Args:
        params: of every head: the last ones or the best.
        states: of every head: how its columns are scaled.
        features: of every model, also memmaps; read by blocks of rows.
        rows: their numbers.

    Returns:
        What `outputs_of` gives.
    """
    mean, scale = _stack([(s.mean, s.scale) for s in states])
    stacked = _stack(params)
    found = []
    for part in blocks(rows, features[0].shape[1]):
        X = np.stack([np.asarray(one[part]) for one in features])
        found.append(np.asarray(_compiled_outputs(stacked, X, mean, scale)))
    return np.concatenate(found, axis=1)


def _batches(order: Int[np.ndarray, " n"], batch: int) -> Int[np.ndarray, "steps batch"]:
    """Positions by batches, the last one filled with -1."""
    steps = -(-len(order) // batch)
    padded = np.full(steps * batch, -1, np.int32)
    padded[: len(order)] = order
    return padded.reshape(steps, batch)


def _stack(trees: Sequence[Tree]) -> Tree:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def _unstack(tree: Tree, count: int) -> list[Tree]:
    host = jax.tree.map(np.asarray, tree)
    return [jax.tree.map(lambda leaf, i=i: leaf[i].copy(), host) for i in range(count)]
