"""Policies by name, and as plain values for a selection's JSON."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np

from spider_jax.errors import InputError
from spider_jax.records.noise import ValidationNoise
from spider_jax.records.performance import PastResults
from spider_jax.selection.knowledge import Knowledge
from spider_jax.selection.noise_aware import NoiseAware
from spider_jax.selection.policies import (
    BruteForce,
    SuccessiveHalving,
    TrendFilter,
    published_filter,
    tolerant_filter,
)
from spider_jax.selection.policy import Policy

POLICIES: dict[str, Callable[[PastResults], Policy]] = {
    "noise-aware": NoiseAware.fit,
    "successive-halving": lambda past: SuccessiveHalving(),
    "brute-force": lambda past: BruteForce(),
    "trend-filter": published_filter,
    "trend-filter-0.02": tolerant_filter,
}


def check_policy(name: str) -> None:
    """Refuse a name that is none of a policy.

    Args:
        name: of POLICIES.

    Raises:
        InputError: an unknown name.
    """
    if name not in POLICIES:
        raise InputError(f"unknown policy {name!r}: known are {', '.join(POLICIES)}")


def make_policy(name: str, past: PastResults) -> Policy:
    """A policy by its name, fitted to past results.

    Args:
        name: of POLICIES.
        past: results without the target's own.

    Returns:
        The policy.

    Raises:
        InputError: an unknown name.
    """
    check_policy(name)
    return POLICIES[name](past)


def policy_content(policy: Policy) -> dict[str, Any]:
    """A policy as plain values for a JSON.

    Args:
        policy: a dataclass of plain values.

    Returns:
        Its name and fields.
    """
    assert is_dataclass(policy)
    assert not isinstance(policy, type)
    return {"name": policy.name} | asdict(policy)


def read_policy(content: Mapping[str, Any]) -> Policy:
    """What `policy_content` gave, as a policy again.

    Args:
        content: of a JSON.

    Returns:
        The policy.

    Raises:
        KeyError: a field or the policy's name is missing.
        TypeError: a field of another kind.
        ValueError: values that are none.
    """
    fields = {key: value for key, value in content.items() if key != "name"}
    if content["name"] == NoiseAware.name:
        spread = dict(fields["spread"])
        early = tuple(tuple(map(float, one)) for one in spread["early"])
        return NoiseAware(
            ValidationNoise(dict(spread["prior"]), float(spread["between"]), early),
            float(fields["share"]),
            _read_knowledge(fields.get("knowledge")),  # policies written before have none
        )
    if content["name"] == TrendFilter.name:
        trends = {model: (pair[0], pair[1]) for model, pair in fields["trends"].items()}
        for model, pair in trends.items():
            if np.array(pair, np.float64).ndim not in (2, 3):  # [2, E, k], no epoch: [2, 0]
                raise ValueError(f"trends of {model!r} are no tables [E, k] of numbers")
        relative = fields["relative"]
        return TrendFilter(
            trends, float(fields["threshold"]), None if relative is None else float(relative)
        )
    plain: dict[str, Policy] = {p.name: p for p in (BruteForce(), SuccessiveHalving())}
    return plain[content["name"]]


def _read_knowledge(content: Mapping[str, Any] | None) -> Knowledge | None:
    if content is None:
        return None
    loadings = {model: tuple(map(float, row)) for model, row in content["loadings"].items()}
    if len({len(row) for row in loadings.values()}) > 1:
        raise ValueError("loadings of models differ in length")
    own = {model: float(variance) for model, variance in content["own"].items()}
    widenings = tuple((float(factor), float(weight)) for factor, weight in content["widenings"])
    return Knowledge(loadings, own, float(content["unknown"]), widenings)
