"""The training step on many devices: in jit over a mesh, or in pmap; one interface for both.

"mesh" splits the tasks of a batch over the axis "data" and the rows of theta, with their moments,
over "model"; it spans processes. "pmap" splits the tasks only, over the devices of one process:
JAX runs it as jit(shard_map) today, and it is here for comparison.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from spider_jax.errors import InputError
from spider_jax.spider.weights import PER_MODEL, Weights
from spider_jax.training.config import TrainConfig
from spider_jax.training.state import Axes, Lanes, Members, State
from spider_jax.training.step import Call, make_call

DATA, MODEL = "data", "model"
WHOLE = PartitionSpec()
LANES = PartitionSpec(DATA)

Host = Array | np.ndarray | np.generic
Placed = tuple[State, Lanes, Members]  # on the devices
Compiled = Callable[[State, Lanes, Members, Array, Array, Array], tuple[State, Array]]


@runtime_checkable
class Runner(Protocol):
    """Steps of the training on the devices of one form of parallelism.

    Attributes:
        lanes: the number of lanes must be a multiple of it.
        rows: the number of rows of theta must be a multiple of it.
    """

    lanes: int
    rows: int

    def place(self, state: State, lanes: Lanes, members: Members) -> Placed:
        """Put host arrays on the devices.

        Args:
            state: rows of models padded to a multiple of `rows`.
            lanes: as many as a multiple of `lanes`.
            members: of the ensemble.

        Returns:
            The same, for `run`.
        """
        ...

    def run(
        self, state: State, lanes: Lanes, members: Members, window: tuple[int, int, int]
    ) -> tuple[State, Float[Array, " E"]]:
        """Run some steps of an epoch in one compiled call.

        Args:
            state: as placed, or as the last call returned it; it is used up.
            lanes: as placed.
            members: as placed.
            window: epoch, first step of it, number of steps.

        Returns:
            The new state, and the mean loss of every member.
        """
        ...

    def state_of(self, state: State) -> State:
        """Give the state as plain arrays, theta perhaps split over devices.

        Args:
            state: as `run` returned it.

        Returns:
            The state, with the shapes of `State`.
        """
        ...


def runner(
    config: TrainConfig, models: int, steps: int, devices: Sequence[jax.Device] | None = None
) -> Runner:
    """Make the runner of a configuration.

    Args:
        config: its `parallel`, `model_shards` and `accumulate` are read here, the rest by the step.
        models: M without padding.
        steps: of the whole training.
        devices: to train on; default: all, of all processes.

    Returns:
        A MeshRunner or a PmapRunner.

    Raises:
        InputError: the devices cannot be split so.
    """
    chosen = jax.devices() if devices is None else list(devices)
    if config.parallel == "pmap":
        return PmapRunner(config, models, steps, chosen)
    return MeshRunner(config, models, steps, chosen)


def training_mesh(devices: Sequence[jax.Device], model_shards: int = 1) -> Mesh:
    """Arrange devices in a mesh with the axes "data" and "model".

    Args:
        devices: in the order in which they are dealt.
        model_shards: size of the axis "model".

    Returns:
        The mesh.

    Raises:
        InputError: the number of devices is no multiple of `model_shards`.
    """
    if len(devices) % model_shards:
        raise InputError(
            f"model_shards must divide the number of devices ({len(devices)}), got {model_shards}"
        )
    shape = len(devices) // model_shards, model_shards
    return jax.make_mesh(shape, (DATA, MODEL), (AxisType.Auto,) * 2, devices=devices)


def over_mesh(
    config: TrainConfig, mesh: Mesh | AbstractMesh, models: int, steps: int, specs: State
) -> Compiled:
    """Jit the step over a mesh; the state is donated.

    Args:
        config: of the training.
        mesh: with the axes "data" and "model"; an abstract one to lower for devices elsewhere.
        models: M without padding.
        steps: of the whole training.
        specs: how the state lies on the mesh, see `state_specs`.

    Returns:
        The call of `make_call`, of arrays of all devices.
    """
    mapped = jax.shard_map(
        make_call(config, Axes(DATA, MODEL), models, steps),
        mesh=mesh,
        in_specs=(specs, LANES, WHOLE, WHOLE, WHOLE, WHOLE),
        out_specs=(specs, WHOLE),
        check_vma=False,  # no derivative passes a collective, see step._mean_gradient
    )
    compiled: Compiled = jax.jit(mapped, donate_argnums=0)
    return compiled


class MeshRunner:
    """jit(shard_map(step)) over a mesh, as `Runner`.

    Args:
        config: of the training.
        models: M without padding.
        steps: of the whole training.
        devices: to train on.

    Raises:
        InputError: the number of devices is no multiple of `config.model_shards`.
    """

    def __init__(
        self, config: TrainConfig, models: int, steps: int, devices: Sequence[jax.Device]
    ) -> None:
        self.mesh = training_mesh(devices, config.model_shards)
        self.lanes = self.mesh.shape[DATA] * config.accumulate
        self.rows = self.mesh.shape[MODEL]
        self._compile = partial(over_mesh, config, self.mesh, models, steps)
        self._compiled: Compiled | None = None

    def place(self, state: State, lanes: Lanes, members: Members) -> Placed:
        """Give each device its lanes and its rows; of several processes, each its own devices'.

        Args:
            state: as for `Runner.place`.
            lanes: as for `Runner.place`.
            members: as for `Runner.place`.

        Returns:
            The same, on the devices.
        """
        specs = state_specs(state)
        self._compiled = self._compiled or self._compile(specs)
        return (
            jax.tree.map(self._put, state, specs),
            jax.tree.map(lambda a: self._put(a, LANES), lanes),
            jax.tree.map(self._replicate, members),
        )

    def run(
        self, state: State, lanes: Lanes, members: Members, window: tuple[int, int, int]
    ) -> tuple[State, Float[Array, " E"]]:
        """Run one compiled call; scalars are put on the devices explicitly.

        Args:
            state: as for `Runner.run`.
            lanes: as for `Runner.run`.
            members: as for `Runner.run`.
            window: as for `Runner.run`.

        Returns:
            As for `Runner.run`.
        """
        assert self._compiled is not None  # place comes first
        epoch, first, count = (self._replicate(np.int32(n)) for n in window)
        return self._compiled(state, lanes, members, epoch, first, count)

    def state_of(self, state: State) -> State:
        """Give the state itself.

        Args:
            state: as `run` returned it.

        Returns:
            The same.
        """
        return state

    def _replicate(self, array: Host) -> Array:
        """The same array on every device."""
        return self._put(array, WHOLE)

    def _put(self, array: Host, spec: PartitionSpec) -> Array:
        sharding, host = NamedSharding(self.mesh, spec), np.asarray(array)
        if sharding.is_fully_addressable:
            return jax.device_put(host, sharding)
        return jax.make_array_from_callback(host.shape, sharding, lambda part: host[part])


class PmapRunner:
    """pmap(step), as `Runner`: on the devices every array has a leading axis of devices.

    Args:
        config: of the training.
        models: M without padding.
        steps: of the whole training.
        devices: to train on, all of this process.

    Raises:
        InputError: `config.model_shards` is above 1, or there are several processes.
    """

    def __init__(
        self, config: TrainConfig, models: int, steps: int, devices: Sequence[jax.Device]
    ) -> None:
        if config.model_shards > 1:
            raise InputError(
                f'model_shards must be 1 with parallel = "pmap", got {config.model_shards}: it '
                'splits tasks over devices, and no rows of models; use parallel = "mesh"'
            )
        if jax.process_count() > 1:
            raise InputError(
                f'parallel must be "mesh" with several processes ({jax.process_count()}), got '
                '"pmap": it splits tasks over the devices of one process only'
            )
        self.devices = len(devices)
        self.lanes, self.rows = self.devices * config.accumulate, 1
        call: Call = make_call(config, Axes(DATA, None), models, steps)
        axes = (0, 0, 0, None, None, None)
        self._compiled = jax.pmap(call, DATA, in_axes=axes, donate_argnums=0, devices=devices)
        mesh = jax.make_mesh((self.devices,), (DATA,), (AxisType.Auto,), devices=devices)
        self._split, self._whole = NamedSharding(mesh, LANES), NamedSharding(mesh, WHOLE)

    def place(self, state: State, lanes: Lanes, members: Members) -> Placed:
        """Give each device a copy of the state, and its lanes.

        Args:
            state: as for `Runner.place`.
            lanes: as for `Runner.place`.
            members: as for `Runner.place`.

        Returns:
            The same, on the devices, with a leading axis of devices.
        """
        n = self.devices

        def copies(array: Host) -> Array:
            host = np.asarray(array)
            return jax.device_put(np.broadcast_to(host, (n, *host.shape)), self._split)

        def own(array: Host) -> Array:
            host = np.asarray(array)
            return jax.device_put(host.reshape(n, -1, *host.shape[1:]), self._split)

        return jax.tree.map(copies, state), jax.tree.map(own, lanes), jax.tree.map(copies, members)

    def run(
        self, state: State, lanes: Lanes, members: Members, window: tuple[int, int, int]
    ) -> tuple[State, Float[Array, " E"]]:
        """Run one compiled call.

        Args:
            state: as for `Runner.run`.
            lanes: as for `Runner.run`.
            members: as for `Runner.run`.
            window: as for `Runner.run`.

        Returns:
            As for `Runner.run`; the state keeps its axis of devices.
        """
        numbers = [jax.device_put(np.int32(n), self._whole) for n in window]
        state, loss = self._compiled(state, lanes, members, *numbers)
        return state, _first(loss)

    def state_of(self, state: State) -> State:
        """Give the first device's copy.

        Args:
            state: as `run` returned it.

        Returns:
            The state, without an axis of devices.
        """
        copy: State = jax.tree.map(_first, state)
        return copy


def _first(array: Array) -> Array:
    """The first device's part; indexing the array would cost milliseconds."""
    return array.addressable_shards[0].data[0]


def state_specs(state: State) -> State:
    """Say how a state lies on a mesh: rows of models, and their moments, over "model".

    Args:
        state: of all members.

    Returns:
        A PartitionSpec in the place of every array.
    """
    split = PartitionSpec(None, MODEL)

    def of(part: object) -> object:
        if not isinstance(part, Weights):  # moments hold trees shaped like the weights
            return WHOLE
        rows = {name: split for name in PER_MODEL if getattr(part, name) is not None}
        return jax.tree.map(lambda _: WHOLE, part)._replace(**rows)

    specs: State = jax.tree.map(of, state, is_leaf=lambda part: isinstance(part, Weights))
    return specs


def pad_rows(weights: Weights, multiple: int) -> Weights:
    """Add rows of zeros below those of the models, up to a multiple; they never move.

    Args:
        weights: of E members, rows [E, M, ...].
        multiple: of the number of rows.

    Returns:
        The weights, padded.
    """
    missing = -weights.theta.shape[1] % multiple

    def pad(rows: Array) -> Array:
        return jnp.pad(rows, ((0, 0), (0, missing), *((0, 0),) * (rows.ndim - 2)))

    return map_rows(pad, weights)


def map_rows(change: Callable[[Array], Array], weights: Weights) -> Weights:
    """Change the arrays that have a row a model.

    Args:
        change: of such an array [E, M, ...].
        weights: of E members.

    Returns:
        The weights with these arrays changed.
    """
    rows = {name: getattr(weights, name) for name in PER_MODEL}
    return weights._replace(**jax.tree.map(change, rows))
