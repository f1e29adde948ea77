"""More models in a spider: every array that has a column per model, and what the spider says."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from spider_jax.onboarding.placement import Yardstick
from spider_jax.spider.attention import Weights
from spider_jax.spider.own_attention import OwnMaps
from spider_jax.spider.spider import Spider


def joined(
    spider: Spider,
    models: Sequence[str],
    theta: NDArray[np.floating],
    remembered: NDArray[np.floating] | None,
    yard: Yardstick | None,
    widths: Mapping[str, int],
    own: OwnMaps | None,
) -> Spider:
    """The spider with new models behind its own; what it has stays as it is, to the bit.

    Args:
        spider: of M models. models: n names. theta: [E, n, d] their tokens.
        remembered: [S, n] their targets in the memory; None where the spider has none.
        yard: of them. widths: of their features, where known.
        own: of them; default: they have no own tokens.
    """
    about, memory, maps = spider.description, spider.memory, spider.own
    if memory is not None and remembered is not None:
        columns = memory.targets, np.asarray(remembered, np.float32)
        memory = memory._replace(targets=np.concatenate(columns, axis=1))
    if maps is not None:
        maps = maps.joined(own or _no_maps(maps, len(models)))
    both = spider.weights.theta, jnp.asarray(theta, jnp.float32)
    weights: Weights = spider.weights._replace(theta=jnp.concatenate(both, axis=1))
    names = (*about.models, *models)
    known = spider.yardstick
    return replace(
        spider,
        description=replace(about, models=names, widths={**about.widths, **widths}),
        weights=weights,
        memory=memory,
        own=maps,
        yardstick=None if known is None or yard is None else known.joined(yard),
    )


def _no_maps(maps: OwnMaps, models: int) -> OwnMaps:
    """Of models without features of their own."""
    E, _, q, d = maps.project.shape
    empty = np.zeros((0, q), np.float32)
    starts = np.zeros(models + 1, np.int64)
    nothing = np.zeros((E, models, q, d), np.float32), np.zeros((E, models, d), np.float32)
    return OwnMaps(starts, empty[:, 0], empty, *nothing)


def told(spider: Spider, how: Mapping[str, str]) -> Spider:
    """The spider whose description says how models were added."""
    training = dict(spider.description.training)
    training["added"] = {**training.get("added", {}), **how}
    return replace(spider, description=replace(spider.description, training=training))
