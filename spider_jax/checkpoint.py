"""A spider on disk: spider.json says what it is, orbax holds its arrays; nothing is unpickled."""

import contextlib
import logging
import math
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from spider_jax.errors import InputError
from spider_jax.files import atomic_folder, read_json, write_json
from spider_jax.scaling import Scaling
from spider_jax.scoring import Weights
from spider_jax.spider import Description, Spider

DESCRIPTION, ARRAYS = "spider.json", "arrays"


def save(spider: Spider, folder: Path) -> None:
    """Write <folder>/spider.json and <folder>/arrays, all or nothing."""
    import orbax.checkpoint as ocp

    if folder.exists() and not (folder / DESCRIPTION).exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty and no spider: choose another folder")
    content = asdict(spider.description) | {"spread": spider.scaling.spread}
    resolution = spider.description.resolution
    content["resolution"] = resolution if math.isfinite(resolution) else None
    with atomic_folder(folder) as temporary, _quiet(), ocp.StandardCheckpointer() as checkpointer:
        write_json(temporary / DESCRIPTION, "spider", content)
        checkpointer.save(temporary.absolute() / ARRAYS, _arrays(spider))
        checkpointer.wait_until_finished()


def load(folder: Path) -> Spider:
    """Read what `save` wrote.

    Raises:
        InputError: not a spider, a newer format, or damaged arrays.
    """
    import orbax.checkpoint as ocp

    content = read_json(folder / DESCRIPTION, "spider")
    try:
        description, shapes = _description(content), _shapes(content)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{folder / DESCRIPTION} is not a whole description: {error!r}") from None
    try:
        with _quiet(), ocp.StandardCheckpointer() as checkpointer:
            arrays = checkpointer.restore((folder / ARRAYS).absolute(), shapes)
    except Exception as error:  # orbax has no one error for damage
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InputError(f"{folder / ARRAYS} is missing or damaged: {reason}") from None
    mean, matrix = np.asarray(arrays["mean"]), np.asarray(arrays["matrix"])
    return Spider(
        description, Scaling(mean, matrix, content["spread"]), Weights(**arrays["weights"])
    )


def _arrays(spider: Spider) -> dict[str, Any]:
    scaling = spider.scaling
    return {
        "mean": jnp.asarray(scaling.mean),
        "matrix": jnp.asarray(scaling.matrix),
        "weights": spider.weights._asdict(),
    }


def _description(content: dict[str, Any]) -> Description:
    fields = {name: content[name] for name in Description.__dataclass_fields__}
    fields["models"] = tuple(fields["models"])
    if fields["resolution"] is None:
        fields["resolution"] = math.nan
    return Description(**fields)


def _shapes(content: dict[str, Any]) -> dict[str, Any]:
    """What the arrays must be, from the description alone: a wrong file is refused by shape."""
    E, M, d = content["members"], len(content["models"]), content["width"]
    D, p = content["extractor"]["width"], content["token_width"]
    components = p // 2 if content["spread"] else p
    vector, square = (d,), (d, d)
    weights = Weights((M, d), (p, d), *(vector, *(square,) * 4, *(vector,) * 6, ()))
    return {
        "mean": _float32(D),
        "matrix": _float32(D, components),
        "weights": {name: _float32(E, *shape) for name, shape in weights._asdict().items()},
    }


def _float32(*shape: int) -> jax.ShapeDtypeStruct:
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    return jax.ShapeDtypeStruct(shape, jnp.float32, sharding=sharding)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Orbax logs every save and restore through absl at INFO and WARNING: not our user's news."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
