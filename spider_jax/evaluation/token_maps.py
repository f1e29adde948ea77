"""Maps of the tasks of a zoo and of the models of a spider, by their tokens, for a report."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from spider_jax.errors import InputError
from spider_jax.report.token_map import TokenMap, token_map
from spider_jax.spider.spider import Spider
from spider_jax.tasks.tokens import TaskTokens, zoo_tokens
from spider_jax.zoo.store import FeatureStore

log = logging.getLogger("spider_jax")

OF_TASKS = "the mean of a task's class centres, by the general extractor"
OF_MODELS = "the token that the spider has learned of a model"


def map_of_tasks(tokens: Mapping[str, TaskTokens]) -> TokenMap | None:
    """Tasks by the mean of their class centres.

    Args:
        tokens: by task, of one extractor.

    Returns:
        The map; None of fewer than three tasks.
    """
    if not tokens:
        return None
    means = np.stack([np.asarray(one.centres, np.float64).mean(0) for one in tokens.values()])
    return token_map("tasks", tuple(tokens), means, OF_TASKS)


def map_of_zoo(zoo: FeatureStore, spider: Spider | None = None) -> TokenMap | None:
    """The tasks of a zoo; those without usable features of the extractor are left out and logged.

    Args:
        zoo: with features of a general extractor.
        spider: whose extractor is read; default: the zoo's own.

    Returns:
        The map; None of fewer than three tasks.

    Raises:
        InputError: a zoo without an extractor, or with another than the spider's.
    """
    extractor = None if spider is None else spider.description.extractor
    if extractor is None and zoo.extractor is None:
        raise InputError(f"{zoo.folder} names no general extractor in manifest.json: no tokens")
    tokens: dict[str, TaskTokens] = {}
    for task in zoo.tasks:
        try:
            tokens[task] = zoo_tokens(zoo, task, extractor)
        except InputError as error:
            log.info("%s is not on the map: %s", task, error)
    return map_of_tasks(tokens)


def map_of_models(spider: Spider) -> TokenMap | None:
    """The models of a spider by their tokens; of an ensemble, by those of all members side by side.

    Args:
        spider: any.

    Returns:
        The map; None of fewer than three models.
    """
    members = np.asarray(spider.weights.theta, np.float64)  # [E, M, d]
    joined = np.concatenate(list(members), axis=1)
    return token_map("models", spider.models, joined, OF_MODELS)


def known_maps(maps: Sequence[TokenMap | None]) -> tuple[TokenMap, ...]:
    """Those that there are.

    Args:
        maps: some of them None.
    """
    return tuple(found for found in maps if found is not None)
