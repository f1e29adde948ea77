"""Models joined to a spider, removed and renamed: every array and name that belongs to a model."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from spider_jax.belief.factors import Factors
from spider_jax.belief.state import BeliefState
from spider_jax.errors import InputError
from spider_jax.spider.own_maps import OwnMaps
from spider_jax.spider.spider import Spider
from spider_jax.spider.state import TeacherTable
from spider_jax.spider.weights import Weights
from spider_jax.storage.files import checked_names, name_to_component


def with_models(
    spider: Spider,
    models: Sequence[str],
    theta: Float[np.ndarray, "E n d"],
    remembered: Float[np.ndarray, "S n"] | None,
    teacher_table: TeacherTable | None,
    widths: Mapping[str, int],
    own: OwnMaps | None,
) -> Spider:
    """Join new models to a spider, behind its own; what it has stays as it is, to the bit.

    Args:
        spider: of M models.
        models: n names.
        theta: their tokens.
        remembered: their targets in the memory; None where the spider has none.
        teacher_table: of the new models; None where the spider has none.
        widths: of the new models' features, where known.
        own: maps of the new models' own features; None where they have no own tokens.

    Returns:
        The spider of M + n models.
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
    known, new = spider.teacher_table, teacher_table
    table = None if known is None or new is None else known.joined(new)
    return replace(
        spider,
        description=replace(about, models=names, widths={**about.widths, **widths}),
        weights=weights,
        memory=memory,
        own=maps,
        teacher_table=table,
        beliefs=None if spider.beliefs is None else _believed(spider, remembered),
    )


def _believed(spider: Spider, remembered: Float[np.ndarray, "S n"] | None) -> BeliefState:
    """With the new models' errors going the way of the known model that stands most like each.

    L_new = r L_known, r the correlation of their standings on the training tasks; the rest of the
    known model's variance is the new one's own.
    """
    state, memory = spider.beliefs, spider.memory
    assert state is not None
    assert memory is not None
    assert remembered is not None
    known, new = (a - a.mean(0) for a in (memory.targets.astype(np.float64), remembered))
    sizes = np.linalg.norm(new, axis=0)[:, None] * np.linalg.norm(known, axis=0)[None]
    alike = (new.T @ known) / np.maximum(sizes, 1e-12)
    nearest = alike.argmax(1)
    near = np.clip(alike[np.arange(len(nearest)), nearest], 0, 1)[:, None]
    loadings = near * state.factors.loadings[nearest]
    whole = (state.factors.loadings[nearest] ** 2).sum(1) + state.factors.own[nearest]
    return state.joined(Factors(loadings, whole - (loadings**2).sum(1)))


def _no_maps(maps: OwnMaps, models: int) -> OwnMaps:
    """Of models without features of their own."""
    E, _, q, d = maps.project.shape
    empty = np.zeros((0, q), np.float32)
    starts = np.zeros(models + 1, np.int64)
    nothing = np.zeros((E, models, q, d), np.float32), np.zeros((E, models, d), np.float32)
    return OwnMaps(starts, empty[:, 0], empty, *nothing)


def with_provenance(spider: Spider, how: Mapping[str, str]) -> Spider:
    """Write down in a spider's description how models were added.

    Args:
        spider: with these models.
        how: a few words by model.

    Returns:
        The spider with the new description.
    """
    training = dict(spider.description.training)
    training["added"] = {**training.get("added", {}), **how}
    return replace(spider, description=replace(spider.description, training=training))


def remove(spider: Spider, models: Sequence[str]) -> Spider:
    """Remove models from a spider; no other model's score changes.

    Args:
        spider: that knows them.
        models: names.

    Returns:
        The spider without them.

    Raises:
        InputError: a model that it does not know, or fewer than two left.
    """
    gone = known_models(spider, models)
    kept = [i for i, name in enumerate(spider.models) if name not in gone]
    if len(kept) < 2:
        raise InputError(f"at least two models must stay, {len(kept)} would: remove fewer")
    about = spider.description
    names = tuple(about.models[i] for i in kept)
    added = {m: how for m, how in about.training.get("added", {}).items() if m not in gone}
    training = dict(about.training) | {"added": added}
    widths = {name: width for name, width in about.widths.items() if name not in gone}
    memory, own, table = spider.memory, spider.own, spider.teacher_table
    return replace(
        spider,
        description=replace(about, models=names, widths=widths, training=training),
        weights=spider.weights._replace(theta=spider.weights.theta[:, jnp.array(kept)]),
        memory=None if memory is None else memory._replace(targets=memory.targets[:, kept]),
        own=None if own is None else own.take(kept),
        teacher_table=None if table is None else table.take(kept),
        beliefs=None if spider.beliefs is None else spider.beliefs.take(kept),
    )


def rename(spider: Spider, names: Mapping[str, str]) -> Spider:
    """Give some models of a spider other names; no score changes.

    Args:
        spider: that knows them.
        names: new name by old name.

    Returns:
        The spider with the new names.

    Raises:
        InputError: an old name that it does not know, or a new one that is taken or no name.
    """
    known_models(spider, tuple(names))
    for name in names.values():
        name_to_component(name)  # refuses what no model of a zoo is called
    about = spider.description
    new = tuple(names.get(name, name) for name in about.models)
    if len(set(new)) < len(new):
        twice = next(name for i, name in enumerate(new) if name in new[:i])
        raise InputError(f"two models would be named {twice!r}: choose another name")
    widths = {names.get(name, name): width for name, width in about.widths.items()}
    added = {names.get(n, n): how for n, how in about.training.get("added", {}).items()}
    training = dict(about.training) | {"added": added}
    return replace(spider, description=replace(about, models=new, widths=widths, training=training))


def known_models(spider: Spider, models: Sequence[str]) -> set[str]:
    """Check that a spider knows some models.

    Args:
        spider: any.
        models: names.

    Returns:
        The names, as a set.

    Raises:
        InputError: a model that the spider does not know.
    """
    there = set(spider.models)
    for model in checked_names(models):
        if model not in there:
            raise InputError(f"the spider knows no model {model!r}")
    return set(models)
