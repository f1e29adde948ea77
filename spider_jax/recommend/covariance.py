"""How the models' surprises go together: past residuals, models' facts, the order itself.

What known tasks do not foresee of a new one, in units of sqrt(v) (`task_kernel`), has covariance

    a (L L^T + diag(psi)) + f (P P^T + diag(1 - |p|^2)) + c u u^T + b w w^T + diag(o),

L and psi from factor analysis of past residuals, P of the models' facts, u = mu/sqrt(v): how
strongly the expected order shows on the task, and w = (mu - q)/sqrt(v): how far similar tasks speak
for it. a, f, c, b, o and the rank of L maximise the likelihood of residuals of task groups that the
factor analysis has not seen.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int

from spider_jax.belief.factors import Factors
from spider_jax.belief.gaussian import Standings
from spider_jax.recommend.factor_analysis import factor_analysis
from spider_jax.runtime.double_precision import double_precision

RANKS = (0, 2, 4, 8)
FOLDS = 3
PLAIN = (0.7, 0.2, 0.1, 0.1, 0.1)  # a, f, c, b, o
STEADY = 2.0
WORTH = 4.0  # as in `task_kernel`
MOST_RECORDS, MOST_TASKS = 300, 240  # that the weights are learned on
MOST_COMPARED = 500  # tasks that the factors are fitted to while the rank is chosen


class Residuals(NamedTuple):
    """What known tasks did not foresee.

    Attributes:
        model: position of the model of every record.
        task: position of its task, ascending.
        group: group of every task.
        value: (z - mu)/sqrt(v).
        order: mu/sqrt(v).
        moved: (mu - q)/sqrt(v).
        unit: sqrt(v).
        models: M.
    """

    model: Int[np.ndarray, " n"]
    task: Int[np.ndarray, " n"]
    group: Int[np.ndarray, " T"]
    value: Float64[np.ndarray, " n"]
    order: Float64[np.ndarray, " n"]
    moved: Float64[np.ndarray, " n"]
    unit: Float64[np.ndarray, " n"]
    models: int

    def held_apart(self) -> "Residuals":
        """By groups; where there are too few to hold some out, task by task."""
        if len(np.unique(self.group[self.task])) >= 2 * FOLDS:
            return self
        return self._replace(group=np.arange(len(self.group)))

    def factors(self, rank: int, groups: Int[np.ndarray, " g"] | None = None) -> Factors:
        """Factor analysis of all tasks; or, to choose by, of some of those of some groups."""
        use = np.ones(len(self.task), bool)
        if groups is not None:
            mine = np.unique(self.task[np.isin(self.group[self.task], groups)])
            some = np.random.default_rng(2).permutation(mine)[:MOST_COMPARED]
            use = np.isin(self.task, some)
        tasks = len(self.group)
        given = self.model[use], self.task[use], self.value[use]
        return factor_analysis(*given, self.models, tasks, rank)


class Covariance(NamedTuple):
    """The covariance of the module.

    Attributes:
        factors: L and psi.
        facts: P.
        weights: a, f, c, b and o.
    """

    factors: Factors
    facts: Float64[np.ndarray, "M F"]
    weights: Float64[np.ndarray, " 5"]

    def of(self, models: Int[np.ndarray, " p"]) -> "Covariance":
        """The covariance of some models.

        Args:
            models: positions.
        """
        factors = Factors(self.factors.loadings[models], self.factors.own[models])
        return Covariance(factors, self.facts[models], self.weights)

    def standings(
        self,
        mean: Float64[np.ndarray, " M"],
        variance: Float64[np.ndarray, " M"],
        constant: Float64[np.ndarray, " M"],
    ) -> Standings:
        """The prior over standings of which mu, v and q are known."""
        a, f, c, b, o = self.weights
        unit = np.sqrt(variance)[:, None]
        parts = (
            np.sqrt(a) * unit * self.factors.loadings,
            np.sqrt(f) * unit * self.facts,
            np.sqrt(c) * mean[:, None],
            np.sqrt(b) * (mean - constant)[:, None],
        )
        own = variance * (a * self.factors.own + f * _rest(self.facts) + o)
        return Standings(mean, np.concatenate(parts, axis=1), own, 1.0)


def _rest(facts: Float64[np.ndarray, "M F"]) -> Float64[np.ndarray, " M"]:
    """1 - |p|^2; 0 where no facts are known at all."""
    if facts.shape[1] == 0:
        return np.zeros(len(facts))
    return np.asarray(np.maximum(1 - (facts**2).sum(1), 0))


class HeldOut(NamedTuple):
    """Groups of tasks, and the covariance whose factors were fitted without them.

    Attributes:
        groups: that are held out.
        covariance: of the others.
    """

    groups: Int[np.ndarray, " g"]
    covariance: Covariance


def learn_covariance(
    given: Residuals, facts: Float64[np.ndarray, "M F"]
) -> tuple[Covariance, tuple[HeldOut, ...]]:
    """Learn rank and weights, see the module.

    Args:
        given: residuals of the known tasks.
        facts: P.

    Returns:
        The covariance, and for every fold of the groups the one without it; no fold where there
        are too few groups.
    """
    groups = np.unique(given.group[given.task])
    order = np.random.default_rng(0).permutation(groups)
    folds = [order[k::FOLDS] for k in range(FOLDS)]
    if len(groups) < 2 * FOLDS:
        return Covariance(given.factors(0), facts, np.array(PLAIN)), ()
    asked = _asked(given)
    best = None
    for rank in RANKS:
        if rank >= len(groups):
            continue
        found = [given.factors(rank, np.setdiff1d(groups, fold)) for fold in folds]
        rows = [
            _padded(given, asked, fold, one, facts) for fold, one in zip(folds, found, strict=True)
        ]
        loss, weights = _learn_weights(_Rows(*map(np.concatenate, zip(*rows, strict=True))))
        if best is None or loss < best[0]:
            best = loss, rank, weights, found
    assert best is not None
    _, rank, weights, found = best
    parts = (Covariance(one, facts, weights) for one in found)
    held_out = tuple(map(HeldOut, folds, parts))
    return Covariance(given.factors(rank), facts, weights), held_out


class _Rows(NamedTuple):
    """Records of a tasks, padded to n each; `there` is 0 on what only pads.

    Attributes:
        loadings: L.
        own: psi.
        facts: P.
        rest: 1 - |p|^2.
        order: u.
        moved: w.
        value: residuals.
        there: 1 where there is a record.
        weight: of each task.
    """

    loadings: Float64[np.ndarray, "a n r"]
    own: Float64[np.ndarray, "a n"]
    facts: Float64[np.ndarray, "a n F"]
    rest: Float64[np.ndarray, "a n"]
    order: Float64[np.ndarray, "a n"]
    moved: Float64[np.ndarray, "a n"]
    value: Float64[np.ndarray, "a n"]
    there: Float64[np.ndarray, "a n"]
    weight: Float64[np.ndarray, " a"]


def _asked(given: Residuals) -> list[Int[np.ndarray, " _"]]:
    """Records of some tasks, of each at most MOST_RECORDS."""
    rng = np.random.default_rng(1)
    tasks = rng.permutation(np.unique(given.task))[:MOST_TASKS]
    first = np.searchsorted(given.task, tasks)
    last = np.searchsorted(given.task, tasks, side="right")
    places = (np.arange(a, b) for a, b in zip(first, last, strict=True))
    return [rng.permutation(at)[:MOST_RECORDS] for at in places]


def _padded(
    given: Residuals,
    asked: list[Int[np.ndarray, " _"]],
    fold: Int[np.ndarray, " g"],
    factors: Factors,
    facts: Float64[np.ndarray, "M F"],
) -> _Rows:
    mine = [at for at in asked if np.isin(given.group[given.task[at[0]]], fold)]
    longest = max(map(len, asked))
    count = np.bincount(given.group[np.unique(given.task)], minlength=given.group.max() + 1)
    places = np.array([np.pad(at, (0, longest - len(at))) for at in mine], np.int64)
    places = places.reshape(len(mine), longest)
    there = np.array([np.arange(longest) < len(at) for at in mine], np.float64)
    there = there.reshape(places.shape)
    model = given.model[places]
    weight = [1 / count[given.group[given.task[at[0]]]] for at in mine]
    lacking = max(RANKS) - factors.loadings.shape[1]  # one program for all ranks
    loadings = np.pad(factors.loadings, ((0, 0), (0, lacking)))
    return _Rows(
        loadings[model] * there[..., None],
        factors.own[model],
        facts[model] * there[..., None],
        _rest(facts)[model],
        given.order[places] * there,
        given.moved[places] * there,
        given.value[places] * there,
        there,
        np.array(weight),
    )


def _learn_weights(rows: _Rows) -> tuple[float, Float64[np.ndarray, " 5"]]:
    from scipy.optimize import minimize  # slow to import

    plain = np.log(PLAIN)
    with double_precision():

        def value(p: Float64[np.ndarray, " 5"]) -> tuple[float, Float64[np.ndarray, " 5"]]:
            found, slope = _loss_and_slope(p, plain, rows)
            return float(found), np.asarray(slope, np.float64)

        best = minimize(
            value,
            plain,
            jac=True,
            method="L-BFGS-B",
            bounds=[(-7.0, 2.0)] * len(PLAIN),
            options={"maxiter": 40},
        )
    return float(best.fun), np.exp(best.x)


def _loss(p: Float[Array, " 5"], plain: Float[Array, " 5"], rows: _Rows) -> Float[Array, ""]:
    a, f, c, b, o = jnp.exp(p)
    parts = (
        jnp.sqrt(a) * rows.loadings,
        jnp.sqrt(f) * rows.facts,
        jnp.sqrt(c) * rows.order[..., None],
        jnp.sqrt(b) * rows.moved[..., None],
    )
    shared = jnp.concatenate(parts, axis=-1)
    own = jnp.where(rows.there > 0, a * rows.own + f * rows.rest + o, 1.0)
    scaled = shared / own[..., None]
    inner = jnp.einsum("anr,ans->ars", shared, scaled) + jnp.eye(shared.shape[-1])[None]
    projected = jnp.einsum("anr,an->ar", scaled, rows.value)
    factor = jnp.linalg.cholesky(inner)
    half = jax.scipy.linalg.solve_triangular(factor, projected[..., None], lower=True)[..., 0]
    quadratic = (rows.value**2 / own).sum(1) - (half**2).sum(1)
    diagonal = jnp.diagonal(factor, axis1=-2, axis2=-1)
    determinant = jnp.log(own).sum(1) + 2 * jnp.log(diagonal).sum(1)
    each = (quadratic + determinant) / (2 * rows.there.sum(1))
    worth = WORTH * rows.weight.sum()
    fit = (rows.weight * each).sum() / rows.weight.sum()
    return worth * fit + ((p - plain) ** 2).sum() / (2 * STEADY**2)


_loss_and_slope = jax.jit(jax.value_and_grad(_loss))  # compiled once a shape
