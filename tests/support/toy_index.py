"""Spiders of random weights for tests of the index: any size, no training."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from spider_jax.ranking.ranking import Ranking
from spider_jax.spider.spider import Spider
from spider_jax.spider.state import Description
from spider_jax.spider.weights import Weights
from spider_jax.tasks.scaling import Scaling

FEATURES, WIDTH = 5, 8  # tokens no wider than the spider, even with their spread beside them
VECTORS = ("project_bias", "output_bias", "norm_scale", "norm_bias", "head_norm_scale")
SQUARE = ("query", "key", "value", "output")


def toy_spider(
    models: int = 20,
    *,
    members: int = 1,
    features: int = FEATURES,
    kind: str = "raw",
    precision: str = "float32",
    distinct: int | None = None,
    seed: int = 0,
) -> Spider:
    """Models m0, m1, ...; with the same seed a smaller spider is the beginning of a larger one.

    kind: of scaling: raw, full or spread. distinct: that many tokens, in turn, for all models.
    """
    scaling = toy_scaling(features, kind)
    names = tuple(f"m{i}" for i in range(models))
    description = Description(
        models=names,
        widths={},
        extractor={"name": "psi", "width": features},
        width=WIDTH,
        members=members,
        token_width=scaling.width,
        resolution=0.1,
        precision=precision,
    )
    rng = np.random.default_rng(seed)
    shapes = {
        "project": (scaling.width, WIDTH),
        **dict.fromkeys(SQUARE, (WIDTH, WIDTH)),
        **dict.fromkeys((*VECTORS, "head_norm_bias", "head"), (WIDTH,)),
        "head_bias": (),
    }
    drawn = {name: rng.normal(size=(members, *shape)) for name, shape in shapes.items()}
    for name in ("project", *SQUARE, "head"):
        drawn[name] /= drawn[name].shape[1] ** 0.5
    theta = rng.normal(size=(distinct or models, members, WIDTH))
    drawn["theta"] = theta[np.arange(models) % len(theta)].swapaxes(0, 1)
    weights = Weights(**{name: jnp.asarray(np.float32(value)) for name, value in drawn.items()})
    return Spider(description, scaling, weights)


def toy_scaling(features: int, kind: str) -> Scaling:
    rng = np.random.default_rng(5)
    mean, diagonal = rng.normal(size=features), rng.uniform(0.5, 1.5, size=features)
    matrix = rng.normal(size=(features, features - 1)) / features**0.5
    chosen = matrix if kind == "full" else diagonal
    return Scaling(mean.astype(np.float32), chosen.astype(np.float32), kind == "spread")


def only(spider: Spider, names: Sequence[str]) -> Spider:
    """The spider of these models, in this order."""
    places = [spider.models.index(name) for name in names]
    theta = np.asarray(spider.weights.theta)[:, places]
    weights = spider.weights._replace(theta=jnp.asarray(theta))
    return replace(
        spider, description=replace(spider.description, models=tuple(names)), weights=weights
    )


def toy_tokens(classes: int = 5, features: int = FEATURES, seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(classes, features)).astype(np.float32)


def by_name(ranking: Ranking) -> dict[str, bytes]:
    """Every score to the bit."""
    scores = np.asarray(ranking.scores)
    return {name: score.tobytes() for name, score in zip(ranking.names, scores, strict=True)}


def assert_best(
    ranking: Ranking, scores: NDArray[np.float32], names: Sequence[str], k: int, *, close: float
) -> None:
    """The ranking is the best k of these: scores to `close`, names but where two can swap."""
    order = np.argsort(-scores, kind="stable")
    ranked, most = scores[order], min(k, len(names))
    assert len(ranking.names) == len(set(ranking.names)) == most
    np.testing.assert_allclose(ranking.scores, ranked[:most], rtol=0, atol=close)
    of = dict(zip(names, scores, strict=True))
    own = [of[name] for name in ranking.names]
    np.testing.assert_allclose(ranking.scores, own, rtol=0, atol=close)
    clear = np.diff(ranked, prepend=np.inf, append=-np.inf) < -2 * close
    sure = np.flatnonzero((clear[:-1] & clear[1:])[:most])
    assert len(sure) > most // 2  # else the comparison says nothing
    assert [ranking.names[i] for i in sure] == [names[order[i]] for i in sure]


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Time of the last change and bytes of every file but the lock."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(files)
    }
