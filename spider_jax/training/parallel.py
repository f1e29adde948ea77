"""The training step on many devices: in jit over a mesh, or in pmap; one face for both.

"mesh" splits the tasks of a batch over the axis "data" and the rows of theta, with their moments,
over "model"; it spans processes. "pmap" splits the tasks only, over the devices of one process: it
is jit(shard_map) inside today, and here to be compared.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array

from spider_jax.errors import InputError
from spider_jax.spider.weights import PER_MODEL, Weights
from spider_jax.training.config import TrainConfig
from spider_jax.training.state import Axes, Lanes, Members, State
from spider_jax.training.step import Call, make_call

DATA, MODEL = "data", "model"
WHOLE = PartitionSpec()
LANES = PartitionSpec(DATA)


@runtime_checkable
class Runner(Protocol):
    """Steps of the training on the devices of one form of parallelism.

    lanes: lanes must be a multiple of it. rows: rows of theta must be a multiple of it.
    """

    lanes: int
    rows: int

    def place(self, state: State, lanes: Lanes, members: Members) -> tuple[Any, Any, Any]:
        """Host arrays on the devices."""
        ...

    def run(
        self, state: Any, lanes: Any, members: Any, window: tuple[int, int, int]
    ) -> tuple[Any, Any]:
        """State and mean loss [E] after the steps (epoch, first, count); `state` is used up."""
        ...

    def state_of(self, state: Any) -> State:
        """The state as plain arrays, theta perhaps split over devices."""
        ...


def runner(
    config: TrainConfig, models: int, steps: int, devices: Sequence[jax.Device] | None = None
) -> Runner:
    """The runner of a configuration.

    Args:
        config: its `parallel` and `model_shards` are read here. models: M. steps: of the training.
        devices: to train on; default: all, of all processes.

    Raises:
        InputError: the devices cannot be split so.
    """
    chosen = jax.devices() if devices is None else list(devices)
    if config.parallel == "pmap":
        return PmapRunner(config, models, steps, chosen)
    return MeshRunner(config, models, steps, chosen)


def training_mesh(devices: Sequence[jax.Device], model_shards: int = 1) -> Mesh:
    """Devices as ("data", "model").

    Raises:
        InputError: the number of devices is no multiple of `model_shards`.
    """
    if len(devices) % model_shards:
        raise InputError(
            f"model_shards must divide the number of devices ({len(devices)}), got {model_shards}"
        )
    shape = len(devices) // model_shards, model_shards
    return jax.make_mesh(shape, (DATA, MODEL), (AxisType.Auto,) * 2, devices=devices)


class MeshRunner:
    """jit(shard_map(step)) over a mesh."""

    def __init__(
        self, config: TrainConfig, models: int, steps: int, devices: Sequence[jax.Device]
    ) -> None:
        self.mesh = training_mesh(devices, config.model_shards)
        self.lanes = self.mesh.shape[DATA] * config.accumulate
        self.rows = self.mesh.shape[MODEL]
        self._call = make_call(config, Axes(DATA, MODEL), models, steps)
        self._compiled: Callable[..., Any] | None = None

    def place(self, state: State, lanes: Lanes, members: Members) -> tuple[Any, Any, Any]:
        """Each device gets its lanes and its rows; of several processes, each its own devices'."""
        specs = state_specs(state)
        self._compiled = self._compiled or self._compile(specs)
        return (
            jax.tree.map(self._put, state, specs),
            jax.tree.map(lambda a: self._put(a, LANES), lanes),
            jax.tree.map(self.replicate, members),
        )

    def run(
        self, state: Any, lanes: Any, members: Any, window: tuple[int, int, int]
    ) -> tuple[Any, Any]:
        """One compiled call; scalars are put on the devices explicitly."""
        assert self._compiled is not None  # place comes first
        numbers = [self.replicate(np.int32(n)) for n in window]
        state, loss = self._compiled(state, lanes, members, *numbers)
        return state, loss

    def state_of(self, state: State) -> State:
        """The state itself."""
        return state

    def replicate(self, array: Any) -> Array:
        """The same array on every device."""
        return self._put(array, WHOLE)

    def _put(self, array: Any, spec: PartitionSpec) -> Array:
        sharding, host = NamedSharding(self.mesh, spec), np.asarray(array)
        if sharding.is_fully_addressable:
            return jax.device_put(host, sharding)
        return jax.make_array_from_callback(host.shape, sharding, lambda part: host[part])

    def _compile(self, specs: Any) -> Callable[..., Any]:
        mapped = jax.shard_map(
            self._call,
            mesh=self.mesh,
            in_specs=(specs, LANES, WHOLE, WHOLE, WHOLE, WHOLE),
            out_specs=(specs, WHOLE),
            check_vma=False,  # no derivative passes a collective, see step.mean_gradient
        )
        return jax.jit(mapped, donate_argnums=0)


class PmapRunner:
    """pmap(step): every array has a leading axis of devices."""

    def __init__(
        self, config: TrainConfig, models: int, steps: int, devices: Sequence[jax.Device]
    ) -> None:
        if config.model_shards > 1 or jax.process_count() > 1:
            raise InputError(
                'parallel = "pmap" splits tasks over the devices of one process only: '
                'use parallel = "mesh"'
            )
        self.devices = len(devices)
        self.lanes, self.rows = self.devices * config.accumulate, 1
        call: Call = make_call(config, Axes(DATA, None), models, steps)
        axes = (0, 0, 0, None, None, None)
        self._compiled = jax.pmap(call, DATA, in_axes=axes, donate_argnums=0, devices=devices)
        mesh = jax.make_mesh((self.devices,), (DATA,), (AxisType.Auto,), devices=devices)
        self._split, self._whole = NamedSharding(mesh, LANES), NamedSharding(mesh, WHOLE)

    def place(self, state: State, lanes: Lanes, members: Members) -> tuple[Any, Any, Any]:
        """Copies of the state, and each device's lanes."""
        n = self.devices

        def copies(array: Any) -> Array:
            host = np.asarray(array)
            return jax.device_put(np.broadcast_to(host, (n, *host.shape)), self._split)

        def own(array: Any) -> Array:
            host = np.asarray(array)
            return jax.device_put(host.reshape(n, -1, *host.shape[1:]), self._split)

        return jax.tree.map(copies, state), jax.tree.map(own, lanes), jax.tree.map(copies, members)

    def run(
        self, state: Any, lanes: Any, members: Any, window: tuple[int, int, int]
    ) -> tuple[Any, Any]:
        """One compiled call."""
        numbers = [jax.device_put(np.int32(n), self._whole) for n in window]
        state, loss = self._compiled(state, lanes, members, *numbers)
        return state, _first(loss)

    def state_of(self, state: Any) -> State:
        """The first device's copy."""
        copy: State = jax.tree.map(_first, state)
        return copy


def _first(array: Array) -> Array:
    """The first device's part; indexing the array would cost milliseconds."""
    return array.addressable_shards[0].data[0]


def state_specs(state: State) -> State:
    """Specs of a state: rows of models, and of all that is shaped like them, over "model"."""
    split = PartitionSpec(None, MODEL)

    def of(part: Any) -> Any:
        if not isinstance(part, Weights):
            return WHOLE
        rows = {name: split for name in PER_MODEL if getattr(part, name) is not None}
        return jax.tree.map(lambda _: WHOLE, part)._replace(**rows)

    specs: State = jax.tree.map(of, state, is_leaf=lambda part: isinstance(part, Weights))
    return specs


def pad_rows(weights: Weights, multiple: int) -> Weights:
    """Zero rows below those of the models [E, M, ...] up to a multiple; they never move."""
    missing = -weights.theta.shape[1] % multiple

    def pad(rows: Array) -> Array:
        return jnp.pad(rows, ((0, 0), (0, missing), *((0, 0),) * (rows.ndim - 2)))

    return map_rows(pad, weights)


def map_rows(change: Callable[[Array], Array], weights: Weights) -> Weights:
    """Weights whose rows of models are changed."""
    rows = {name: getattr(weights, name) for name in PER_MODEL}
    return weights._replace(**jax.tree.map(change, rows))
