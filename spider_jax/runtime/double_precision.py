"""64 bits where a computation needs them, on a device that has them.

Metrics, priors and what a belief learns are defined in float64. A CPU and a GPU have it; a TPU does
not: XLA would build it of pairs of float32 there, without its range and without decompositions. So
where the default device has none, what is asked for here runs on the host, on the same machine.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import jax

from spider_jax.errors import InputError
from spider_jax.runtime.device_kinds import DeviceKind, default_kind


@contextmanager
def double_precision(kind: DeviceKind | None = None) -> Iterator[None]:
    """JAX's 64-bit mode, in this thread and inside the block, on a device that has float64.

    Args:
        kind: of the device that programs run on; default: of the default device.

    Yields:
        Nothing; programs that are called inside run on the host where `kind` has no float64.

    Raises:
        InputError: they must, and JAX was started without the host's processors.

    >>> with double_precision():
    ...     str(jax.numpy.zeros(2).dtype)
    'float64'
    """
    found = kind or default_kind()
    with jax.enable_x64(True):
        if found.float64:
            yield
            return
        with jax.default_device(_host(found)):
            yield


def _host(kind: DeviceKind) -> jax.Device:
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        raise InputError(
            f"float64 is computed on the host, for a {kind.name} has none, but JAX_PLATFORMS does "
            f"not let JAX use it: set JAX_PLATFORMS={kind.name},cpu"
        ) from None
