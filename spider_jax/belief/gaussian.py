"""Many models' standings as one Gaussian, and how linear observations of some of them change it.

Standings y of M models are N(mean, scale (L L^T + diag(d))): r factors that models share and what
is each one's own. n observations of some of the models,

    t = H y + O a + e,   e ~ N(0, R),   a ~ N(0, OFFSET_VARIANCE I),

share offsets a (the level of a metric on this task), of which nothing is known beforehand.
Conditioning is exact, in float64 on the host: O(M r p + p^3) for p observed models, and no M by M
matrix is ever made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int, Shaped
from scipy.linalg import cho_factor, cho_solve

BLOCK = 1 << 16  # models at a time
OFFSET_VARIANCE = 1e4  # in standard units: so far from any level that it says nothing


class Standings(NamedTuple):
    """N(mean, scale (L L^T + diag(d))) over M models.

    Attributes:
        mean: expected standings.
        loadings: L of the r factors that models share.
        own: d, each model's own variance.
        scale: of the whole covariance.
    """

    mean: Float64[np.ndarray, " M"]
    loadings: Float64[np.ndarray, "M r"]
    own: Float64[np.ndarray, " M"]
    scale: float

    def of(self, models: Int[np.ndarray, " p"]) -> "Standings":
        """The standings of some models."""
        return Standings(self.mean[models], self.loadings[models], self.own[models], self.scale)

    def columns(self, models: Int[np.ndarray, " p"]) -> Float64[np.ndarray, "M p"]:
        """Covariance of all models with some of them."""
        found = self.loadings @ self.loadings[models].T
        found[models, np.arange(len(models))] += self.own[models]
        return np.asarray(self.scale * found)

    def block(
        self, rows: Int[np.ndarray, " a"], columns: Int[np.ndarray, " b"]
    ) -> Float64[np.ndarray, "a b"]:
        """Covariance of some models with others."""
        same = rows[:, None] == columns[None]
        own = np.where(same, self.own[rows][:, None], 0.0)
        return self.scale * (self.loadings[rows] @ self.loadings[columns].T + own)

    def variances(self) -> Float64[np.ndarray, " M"]:
        """Variance of every model."""
        return self.scale * ((self.loadings**2).sum(1) + self.own)


class Observation(NamedTuple):
    """What was seen of some models: values of one kind, that share an unknown level.

    Attributes:
        models: position of the model that each value is of.
        values: in standard units.
        variances: of their errors, which are independent between models.
    """

    models: Int[np.ndarray, " n"]
    values: Float64[np.ndarray, " n"]
    variances: Float64[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class Posterior:
    """Standings after observations.

    Attributes:
        prior: standings before them.
        seen: the observations; each has a level of its own.
    """

    prior: Standings
    seen: tuple[Observation, ...] = ()

    @cached_property
    def mean(self) -> Float64[np.ndarray, " M"]:
        """E[y | t] = mean + K H^T (H K H^T + R + c O O^T)^-1 (t - H mean)."""
        if len(self._models) == 0:
            return self.prior.mean
        prior, models = self.prior, self._models
        pull = prior.scale * cho_solve(self._factor, self._values - prior.mean[models])
        found = prior.mean + prior.loadings @ (prior.loadings[models].T @ pull)
        np.add.at(found, models, prior.own[models] * pull)
        return np.asarray(found)

    @cached_property
    def variances(self) -> Float64[np.ndarray, " M"]:
        """Var[y | t] of every model.

        scale d + L (scale I - scale^2 L_P^T C^-1 L_P) L^T, C the covariance of what was observed,
        and exactly for the observed models P, whose own parts are seen as well.
        """
        prior, models = self.prior, self._models
        if len(models) == 0:
            return prior.variances()
        near, s = prior.loadings[models], prior.scale
        inner = s * np.eye(near.shape[1]) - s**2 * near.T @ cho_solve(self._factor, near)
        found = s * prior.own
        for start in range(0, len(found), BLOCK):
            some = prior.loadings[start : start + BLOCK]
            found[start : start + BLOCK] += np.einsum("ij,ij->i", some @ inner, some)
        seen = np.unique(models)
        cross = prior.block(seen, models)
        before = s * ((prior.loadings[seen] ** 2).sum(1) + prior.own[seen])
        found[seen] = before - (cross * cho_solve(self._factor, cross.T).T).sum(1)
        return np.asarray(found)

    def covariance(self, models: Int[np.ndarray, " c"]) -> Float64[np.ndarray, "c c"]:
        """Cov[y | t] of some models."""
        return self.cross(models, models)

    def cross(
        self, rows: Int[np.ndarray, " a"], columns: Int[np.ndarray, " b"]
    ) -> Float64[np.ndarray, "a b"]:
        """Cov[y | t] of some models with others."""
        found = self.prior.block(rows, columns)
        if len(self._models) == 0:
            return found
        left, right = (self.prior.block(at, self._models) for at in (rows, columns))
        return found - left @ cho_solve(self._factor, right.T)

    def level(self, kind: int) -> float:
        """E[a | t] of one observation: how far its values lie above the standings."""
        gap = self._values - self.prior.mean[self._models]
        solved = cho_solve(self._factor, gap)
        return float(OFFSET_VARIANCE * solved[self._kinds == kind].sum())

    def shown_variances(self, kind: int) -> Float64[np.ndarray, " M"]:
        """Var[y + a | t] of every model, a the level of one observation."""
        prior, models, shown = self.prior, self._models, self._kinds == kind
        pull = OFFSET_VARIANCE * cho_solve(self._factor, shown.astype(np.float64))
        cross = prior.loadings @ (prior.loadings[models].T @ pull)  # -Cov[y, a | t]/scale
        np.add.at(cross, models, prior.own[models] * pull)
        level = OFFSET_VARIANCE * (1 - pull[shown].sum())
        return np.asarray(self.variances - 2 * prior.scale * cross + level)

    def covariance_with_level(
        self, models: Int[np.ndarray, " c"], kind: int | None
    ) -> Float64[np.ndarray, "c1 c1"]:
        """Cov of some models and, last, of the level of one observation.

        Args:
            models: positions of c models.
            kind: of `seen`; None for a level of which nothing has been seen.

        Returns:
            [c + 1, c + 1].
        """
        c = len(models)
        prior = np.zeros((c + 1, c + 1))
        prior[:c, :c] = self.prior.block(models, models)
        prior[c, c] = OFFSET_VARIANCE
        if len(self._models) == 0:
            return prior
        cross = np.zeros((c + 1, len(self._models)))
        cross[:c] = self.prior.block(models, self._models)
        cross[c] = OFFSET_VARIANCE * (self._kinds == kind)
        return prior - cross @ cho_solve(self._factor, cross.T)

    def with_observation(self, more: Observation) -> "Posterior":
        """The posterior after one more observation."""
        return Posterior(self.prior, (*self.seen, more))

    # ---- the observations, one under the other ---------------------------------------------------

    @cached_property
    def _models(self) -> Int[np.ndarray, " n"]:
        return _together([one.models for one in self.seen], np.int64)

    @cached_property
    def _values(self) -> Float64[np.ndarray, " n"]:
        return _together([one.values for one in self.seen], np.float64)

    @cached_property
    def _kinds(self) -> Int[np.ndarray, " n"]:
        return np.repeat(np.arange(len(self.seen)), [len(one.models) for one in self.seen])

    @cached_property
    def _factor(self) -> tuple[Float64[np.ndarray, "n n"], bool]:
        """Cholesky factor of the covariance of the observations."""
        found = self.prior.block(self._models, self._models)
        found += OFFSET_VARIANCE * (self._kinds[:, None] == self._kinds[None])
        found[np.diag_indices(len(found))] += _together(
            [one.variances for one in self.seen], np.float64
        )
        factor, lower = cho_factor(found, lower=True)
        return factor, bool(lower)


def _together(
    parts: Sequence[Shaped[np.ndarray, " _"]], kind: type[np.generic]
) -> Shaped[np.ndarray, " n"]:
    return np.concatenate([*parts, np.zeros(0, kind)]).astype(kind)
