"""What a posterior over models says to do: which is the best, what a choice loses, what to look at.

Only models that may be the best take part: the CANDIDATES with the largest mean + 3 sd. Over these
the posterior is drawn from by a fixed sequence of quasi-random normal numbers, in the order of the
means, so that the order in which models are named changes nothing.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int

from spider_jax.belief.gaussian import Posterior

CANDIDATES = 128
DRAWS = 2048
LOOK_DRAWS = 512  # of what a look may bring


class Candidates(NamedTuple):
    """Models that may be the best.

    Attributes:
        models: their positions, the largest mean first.
        mean: of each.
        draws: standings drawn from the posterior.
    """

    models: Int[np.ndarray, " c"]
    mean: Float64[np.ndarray, " c"]
    draws: Float64[np.ndarray, "n c"]


def candidates(posterior: Posterior, doubt: float = 1.0) -> Candidates:
    """The models that may be the best, and draws of their standings.

    Args:
        posterior: over all models.
        doubt: factor of the deviations of the draws.
    """
    models = may_be_best(posterior)
    mean = posterior.mean[models]
    root = _root(posterior.covariance(models))
    return Candidates(models, mean, mean + doubt * (normals(DRAWS, len(models)) @ root.T))


def may_be_best(posterior: Posterior) -> Int[np.ndarray, " c"]:
    """Positions of the models with the largest mean + 3 sd, by mean."""
    mean = posterior.mean
    hopes = mean + 3 * np.sqrt(np.maximum(posterior.variances, 0))
    most = min(CANDIDATES, len(mean))
    chosen = np.argpartition(-hopes, most - 1)[:most]
    return chosen[np.lexsort((chosen, -mean[chosen]))]


def best_shares(given: Candidates) -> Float64[np.ndarray, " c"]:
    """How often each candidate is the best of a draw."""
    counts = np.bincount(given.draws.argmax(1), minlength=len(given.models))
    return np.asarray(counts / len(given.draws))


def expected_best(given: Candidates) -> float:
    """E[max y], never below the largest mean."""
    return max(float(given.draws.max(1).mean()), float(given.mean.max()))


def expected_gain(
    mean: Float64[np.ndarray, " c"],
    joint: Float64[np.ndarray, "c1 c1"],
    looked: Int[np.ndarray, " n"],
    variance: float,
) -> float:
    """How much better the best model will be believed to be after looks at n more.

    E[max_i E[y_i | t]] - max_i E[y_i], t the values that the looks will bring.

    Args:
        mean: of c candidates.
        joint: covariance of their standings and, last, of the level of such values.
        looked: places of the n models among the candidates.
        variance: of the error of a value.

    Returns:
        At least 0, in standard units.
    """
    c = len(mean)
    show = np.zeros((len(looked), c + 1))
    show[np.arange(len(looked)), looked] = 1
    show[:, c] = 1
    seen = show @ joint @ show.T + variance * np.eye(len(looked))
    moves = np.linalg.solve(np.linalg.cholesky(seen), show @ joint[:, :c])
    later = mean + normals(LOOK_DRAWS, len(looked)) @ moves
    return float(later.max(1).mean() - mean.max())  # the draws have mean 0: at least 0


@lru_cache(maxsize=8)
def normals(draws: int, dimensions: int) -> Float64[np.ndarray, "n d"]:
    """The same quasi-random normal numbers always, each with its mirror image: their mean is 0."""
    from scipy.special import ndtri  # slow to import, as the next
    from scipy.stats import qmc

    sobol = qmc.Sobol(dimensions, scramble=True, seed=0)
    half = ndtri(np.clip(sobol.random(draws // 2), 1e-12, 1 - 1e-12))
    found = np.concatenate([half, -half])
    found.setflags(write=False)
    return found


def _root(covariance: Float64[np.ndarray, "c c"]) -> Float64[np.ndarray, "c c"]:
    """R with R R^T = covariance, which may be singular."""
    jitter = 1e-10 * max(float(np.trace(covariance)) / len(covariance), 1e-12)
    return np.linalg.cholesky(covariance + jitter * np.eye(len(covariance)))
