"""Training on 1, 2 and 4 devices, by mesh and by pmap, of one process and of two: one result."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from programs import train_devices
from programs.train_devices import (
    CONFIG,
    FORMS,
    LONGER,
    PROCESSES,
    RESUMED,
    WITH_OWN,
    flat,
    trained,
)
from support.processes import free_port, on_four_devices
from support.shared_run import made_once

pytestmark = pytest.mark.slow

Found = dict[str, NDArray[np.float64]]


def run(folder: Path, *others: tuple[object, ...]) -> None:
    """Processes with these arguments."""
    arguments = [(folder / f"{i}.npz", *more) for i, more in enumerate(others)]
    on_four_devices(train_devices.__file__, folder, *arguments)


def found_in(folder: Path) -> Found:
    """What the first of the processes found."""
    with np.load(folder / "0.npz", allow_pickle=False) as found:
        return dict(found)


@pytest.fixture(scope="module")
def alone() -> NDArray[np.float64]:
    """Weights after 20 steps of SGD on one device."""
    return flat(trained("1 device"))


@pytest.fixture(scope="module")
def with_own() -> NDArray[np.float64]:
    """The same where models' own features are read."""
    return flat(trained("own features, 1 device"))


@pytest.fixture(scope="module")
def longer() -> NDArray[np.float64]:
    """After 25 steps."""
    return flat(trained("1 device", LONGER))


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Found:
    return found_in(made_once(tmp_path_factory, "devices", lambda folder: run(folder, ())))


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Found:
    def two(folder: Path) -> None:
        port = free_port()
        run(folder, (port, 0), (port, 1))

    return found_in(made_once(tmp_path_factory, "processes", two))


@pytest.mark.parametrize("form", FORMS)
def test_devices_do_not_change_the_weights(
    together: Found, alone: NDArray[np.float64], with_own: NDArray[np.float64], form: str
) -> None:
    expected = with_own if form in WITH_OWN else alone
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(together[form], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("form", RESUMED)
def test_a_training_goes_on_with_other_devices(
    together: Found, longer: NDArray[np.float64], form: str
) -> None:
    """10 steps of SGD on one device, 15 in another form."""
    np.testing.assert_allclose(together[f"resumed on {form}"], longer, rtol=0, atol=1e-6)


@pytest.mark.parametrize("form", PROCESSES)
def test_processes_do_not_change_the_weights(
    processes: Found, alone: NDArray[np.float64], with_own: NDArray[np.float64], form: str
) -> None:
    expected = with_own if form in WITH_OWN else alone
    np.testing.assert_allclose(processes[form], expected, rtol=0, atol=1e-6)


def test_own_features_do_change_the_weights(alone: NDArray[np.float64]) -> None:
    """Also those that all models share; and the projections of own tokens have moved."""
    found = trained("own features, 1 device")
    none = trained("own features, 1 device", replace(CONFIG, learning_rate=1e-30)).weights
    general = found.weights._replace(own_project=None, own_bias=None)
    assert np.abs(flat(found._replace(weights=general)) - alone).max() > 1e-3
    for name in ("own_project", "own_bias"):
        moved = getattr(found.weights, name) - getattr(none, name)
        assert (np.abs(moved).max((0, *range(2, moved.ndim))) > 1e-4).all()


def test_the_steps_do_change_the_weights(
    alone: NDArray[np.float64], longer: NDArray[np.float64]
) -> None:
    assert LONGER.epochs == CONFIG.epochs + 1
    assert np.abs(longer - alone).max() > 1e-3


def test_devices_that_do_not_divide_are_refused(
    refused: Callable[..., AbstractContextManager[None]],
) -> None:
    FORMS["3 shards of 1"] = ({"model_shards": 3}, 1)
    FORMS["pmap of shards"] = ({"model_shards": 2, "parallel": "pmap"}, 1)
    with refused("model_shards must divide the number of devices (1)", 3):
        trained("3 shards of 1")
    with refused("model_shards must be 1", '"pmap"', 2, '"mesh"'):
        trained("pmap of shards")
