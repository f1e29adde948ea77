"""What similar tasks say of a new one: the constant order moved by their residuals.

For a task with similarities s_ft to the known tasks t in field f (`words`),

    w_t  = kappa exp(sum_f theta_f (s_ft - 1)),
    n_m  = sum of w_t over t that know model m,
    mu_m = q_m + sum_t w_t (Z_tm - q_m)/(n_m + 1),
    v_m  = sigma^2 (a + (1 - a)/(n_m + 1)) + b/(N_m + 1),

N_m the number of records of m. A task unlike all others has w = 0: the constant order q and the
largest variance. theta, kappa, sigma^2, a and b minimise the mean negative Gaussian log likelihood
of each task's records under what tasks of other groups say, every group counting the same, with a
wide normal prior on their logarithms.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Int
from scipy.sparse import csr_array

from spider_jax.recommend.scales import Scaled
from spider_jax.runtime.double_precision import double_precision

STEADY = 2.0  # width of the prior, in logarithms
WORTH = 4.0  # so many independent residuals a group's likelihood counts as
STEPS = 80
MOST_TASKS, MOST_MODELS = 600, 1500  # that the numbers are learned on
FEWEST = 5  # records of a task that is asked for
OTHERS = 4  # numbers beside theta


class TaskKernel(NamedTuple):
    """The numbers of the module, as logarithms; a as its logit.

    Attributes:
        fields: ln theta.
        others: ln kappa, ln sigma^2, logit a, ln b.
    """

    fields: Float64[np.ndarray, " F"]
    others: Float64[np.ndarray, " 4"]

    def weights(self, similarity: Float64[np.ndarray, "F *any T"]) -> Float64[np.ndarray, "*any T"]:
        """w of every known task."""
        return np.exp(self.others[0] + np.tensordot(np.exp(self.fields), similarity - 1, 1))

    def variance(
        self, known: Float64[np.ndarray, "*any M"], counts: Float64[np.ndarray, "*any M"]
    ) -> Float64[np.ndarray, "*any M"]:
        """v, from n and N."""
        _, sigma2, a, b = self.others
        share = 1 / (1 + np.exp(-a))
        near = share + (1 - share) / (known + 1)
        return np.asarray(np.exp(sigma2) * near + np.exp(b) / (counts + 1))


class Prediction(NamedTuple):
    """What known tasks say of one task.

    Attributes:
        mean: of every model's standing.
        variance: of it.
        weights: of the known tasks.
    """

    mean: Float64[np.ndarray, " M"]
    variance: Float64[np.ndarray, " M"]
    weights: Float64[np.ndarray, " T"]


def predict(
    kernel: TaskKernel,
    given: Scaled,
    constant: Float64[np.ndarray, " M"],
    similarity: Float64[np.ndarray, "F T"],
) -> Prediction:
    """mu and v of one task, see the module.

    Args:
        kernel: its numbers.
        given: records in standard units.
        constant: q.
        similarity: of the task with the known ones.
    """
    weights = kernel.weights(similarity)
    known = given.known.T @ weights
    moved = (given.table.T @ weights - known * constant) / (known + 1)
    return Prediction(constant + moved, kernel.variance(known, given.counts), weights)


def residuals(
    kernel: TaskKernel,
    given: Scaled,
    before: Float64[np.ndarray, " M"],
    similarity: Float64[np.ndarray, "F a T"],
    group: Int[np.ndarray, " T"],
    asked: Int[np.ndarray, " a"],
) -> tuple[Float64[np.ndarray, "4 n"], Int[np.ndarray, " n"]]:
    """What tasks of other groups did not foresee of some tasks' records.

    Args:
        kernel: its numbers.
        given: records in standard units.
        before: what facts say of each model.
        similarity: of the asked tasks with all.
        group: of every task.
        asked: positions of tasks.

    Returns:
        z - mu, mu and mu - q of the asked tasks' records, all over sqrt(v), and sqrt(v); and the
        records' positions among all.
    """
    found, places = [], []
    bounds = np.searchsorted(given.task, np.arange(given.tasks + 1))
    weights = kernel.weights(similarity)
    for g in np.unique(group[asked]):
        mine, rows = group == g, np.flatnonzero(group[asked] == g)
        own = mine.astype(np.float64)
        counts = given.counts - given.known.T @ own
        q = (given.sums - given.table.T @ own + before) / (counts + 1)
        for row in rows:
            w = np.where(mine, 0.0, weights[row])
            at = np.arange(*bounds[asked[row] : asked[row] + 2])
            models = given.model[at]
            known = (given.known.T @ w)[models]
            mu = q[models] + ((given.table.T @ w)[models] - known * q[models]) / (known + 1)
            v = kernel.variance(known, counts[models])
            unit = np.sqrt(v)
            shown = given.z[at] - mu, mu, mu - q[models], v
            found.append(np.stack(shown) / unit)
            places.append(at)
    if not found:
        return np.zeros((4, 0)), np.zeros(0, np.int64)
    return np.concatenate(found, axis=1), np.concatenate(places)


def learn_kernel(
    given: Scaled,
    before: Float64[np.ndarray, " M"],
    similarity: Float64[np.ndarray, "F T T"],
    group: Int[np.ndarray, " T"],
) -> TaskKernel:
    """Learn the numbers, see the module.

    Args:
        given: records in standard units, of at most MOST_TASKS tasks and MOST_MODELS models.
        before: what facts say of each model.
        similarity: of the tasks with each other.
        group: of every task.
    """
    from scipy.optimize import minimize  # slow to import

    z, known = given.table.toarray(), given.known.toarray()
    groups = np.unique(group, return_inverse=True)[1]
    own = np.eye(groups.max(initial=0) + 1)[groups]
    counts = known.sum(0) - own.T @ known
    constant = (z.sum(0) - own.T @ z + before) / (counts + 1)
    asked = np.flatnonzero(known.sum(1) >= FEWEST)
    fields = len(similarity)
    plain = np.r_[np.zeros(fields), 1.0, -1.0, 0.0, -1.0]
    if len(asked) == 0 or len(counts) < 2:
        return TaskKernel(plain[:fields], plain[fields:])
    weight = 1 / np.bincount(groups[asked])[groups[asked]]
    data = (
        similarity[:, asked],
        groups[asked, None] != groups[None],
        z,
        known,
        asked,
        constant[groups[asked]],
        counts[groups[asked]],
        weight / weight.sum(),
    )
    worth = WORTH * len(np.unique(groups[asked]))
    with double_precision():

        def value(p: Float64[np.ndarray, " P"]) -> tuple[float, Float64[np.ndarray, " P"]]:
            found, slope = _loss_and_slope(p, plain, worth, *data)
            return float(found), np.asarray(slope, np.float64)

        bounds = [(-5.0, 4.0)] * fields + [(-4.0, 8.0)] + [(-6.0, 3.0)] * (OTHERS - 1)
        best = minimize(
            value, plain, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS}
        )
    return TaskKernel(best.x[:fields], best.x[fields:])


def _loss(
    p: Float[Array, " P"],
    plain: Float[Array, " P"],
    worth: Float[Array, ""] | float,
    similarity: Float[Array, "F a T"],
    apart: Bool[Array, "a T"],
    z: Float[Array, "T M"],
    known: Float[Array, "T M"],
    asked: Int[Array, " a"],
    constant: Float[Array, "a M"],
    counts: Float[Array, "a M"],
    weight: Float[Array, " a"],
) -> Float[Array, ""]:
    kappa, sigma2, share, scarce = p[-OTHERS], p[-3], jax.nn.sigmoid(p[-2]), p[-1]
    w = apart.astype(p.dtype) * jnp.exp(
        kappa + jnp.tensordot(jnp.exp(p[:-OTHERS]), similarity - 1, 1)
    )
    near = w @ known
    mu = (w @ z + constant) / (near + 1)
    v = jnp.exp(sigma2) * (share + (1 - share) / (near + 1)) + jnp.exp(scarce) / (counts + 1)
    there = known[asked]
    each = ((z[asked] - mu) ** 2 / v + jnp.log(v)) * there
    fit = (weight * each.sum(1) / there.sum(1)).sum() / 2
    return worth * fit + ((p - plain) ** 2).sum() / (2 * STEADY**2)


_loss_and_slope = jax.jit(jax.value_and_grad(_loss))  # compiled once a shape


def part(given: Scaled, tasks: Int[np.ndarray, " a"], models: Int[np.ndarray, " b"]) -> Scaled:
    """The records of some tasks and models.

    Args:
        given: records in standard units.
        tasks: positions, ascending.
        models: positions.
    """
    rows: csr_array = given.known[tasks][:, models].tocoo()
    z = given.table[tasks][:, models].toarray()[rows.row, rows.col]
    return Scaled(
        rows.col.astype(np.int32),
        rows.row.astype(np.int32),
        z,
        len(models),
        len(tasks),
        given.size[tasks],
    )
