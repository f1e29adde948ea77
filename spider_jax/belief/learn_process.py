"""The numbers of a process over tasks, learned by leaving whole groups of datasets out.

Every group of source datasets in turn is predicted from the tasks that touch none of it. With the
error e_q [M] of a held-out task q and its predicted variance v_q, the numbers minimise

    mean_q w_q (ln v_q + mean_m e_qm^2 / v_q)/2 + |p - p0|^2/(2 STEADY G),

p their logarithms and G the number of groups. The last term is a wide normal prior about plain
values: it keeps what few datasets cannot tell where it was. All errors are linear in the standings,
so the M models enter through one Gram matrix and a zoo of any size costs the same.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float64, Int

from spider_jax.belief.task_process import squared_distances
from spider_jax.runtime.double_precision import double_precision

# a, b: half the mean squared distance of a half, which is 2 by its scaling; s + g about 1.
PLAIN = (0.3, 0.3, 0.7, 0.3, 0.2)
STEADY = 4.0
BOUNDS = (-6.0, 3.0)  # of the logarithms
MOST_TASKS = 300  # that the process is conditioned on while its numbers are learned
STEPS = 30


class HeldOutTasks(NamedTuple):
    """Training tasks and held-out ones, for learning.

    Attributes:
        rows: scaled descriptions of n training tasks.
        targets: standings of the models on them.
        use: True for tasks that touch no dataset of a group.
        asked: scaled descriptions of q held-out tasks.
        truth: standings on them.
        whole: True where these are true accuracies on a whole dataset.
        group: of each held-out task.
        weight: of each held-out task.
        constants: the constant order without each group.
    """

    rows: Float[np.ndarray, "n f"]
    targets: Float[np.ndarray, "n M"]
    use: Bool[np.ndarray, "G n"]
    asked: Float[np.ndarray, "q f"]
    truth: Float[np.ndarray, "q M"]
    whole: Bool[np.ndarray, " q"]
    group: Int[np.ndarray, " q"]
    weight: Float[np.ndarray, " q"]
    constants: Float[np.ndarray, "G M"]


def learn_hyper(held: HeldOutTasks) -> Float64[np.ndarray, " 5"]:
    """Learn the numbers of `TaskProcess`, see the module.

    Args:
        held: training and held-out tasks.

    Returns:
        a, b, s, n and g.
    """
    from scipy.optimize import minimize  # slow to import

    if len(held.asked) == 0:
        return np.array(PLAIN)
    every = np.concatenate([held.targets, held.constants, held.truth]).astype(np.float64)
    given = (
        squared_distances(held.rows, held.rows),
        squared_distances(held.asked, held.rows),
        every @ every.T / every.shape[1],
        held.use.astype(np.float64),
        held.group,
        held.whole,
        held.weight / held.weight.sum(),
    )
    with double_precision():

        def value(p: Float64[np.ndarray, " 5"]) -> tuple[float, Float64[np.ndarray, " 5"]]:
            found, slope = _loss_and_slope(p, *given)
            return float(found), np.asarray(slope, np.float64)

        best = minimize(
            value,
            np.log(PLAIN),
            jac=True,
            method="L-BFGS-B",
            bounds=[BOUNDS] * len(PLAIN),
            options={"maxiter": STEPS},
        )
    return np.asarray(np.exp(best.x), np.float64)


def _loss(
    p: Float[Array, " 5"],
    known: Float[Array, "2 n n"],
    cross: Float[Array, "2 q n"],
    gram: Float[Array, "all all"],
    use: Float[Array, "G n"],
    group: Int[Array, " q"],
    whole: Bool[Array, " q"],
    weight: Float[Array, " q"],
) -> Float[Array, ""]:
    a, b, signal, noise, rest = jnp.exp(p)
    groups = use.shape[0]
    covariance = signal * jnp.exp(-(a * known[0] + b * known[1]))
    near = signal * jnp.exp(-(a * cross[0] + b * cross[1])) * use[group]

    def factor(mine: Float[Array, " n"]) -> Float[Array, "n n"]:
        # a task that may not be used is one of its own, with variance 1: it says nothing
        return jnp.linalg.cholesky(
            covariance * mine[:, None] * mine[None] + jnp.diag(mine * noise + 1 - mine)
        )

    factors = jax.vmap(factor)(use)
    pull = jax.vmap(lambda f, k: jax.scipy.linalg.cho_solve((f, True), k))(factors[group], near)
    variance = signal - (pull * near).sum(1) + jnp.where(whole, rest, noise)
    constant = (1 - pull.sum(1))[:, None] * jnp.eye(groups)[group]
    error = jnp.concatenate([pull, constant, -jnp.eye(len(group))], axis=1)
    square = ((error @ gram) * error).sum(1)
    fit = (weight * (jnp.log(variance) + square / variance)).sum() / 2
    return fit + ((p - jnp.log(jnp.array(PLAIN))) ** 2).sum() / (2 * STEADY * groups)


_loss_and_slope = jax.jit(jax.value_and_grad(_loss))  # compiled once a shape
