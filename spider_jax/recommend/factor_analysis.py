"""Factor analysis of a table with holes, by expectation-maximisation, linear in the records.

Residuals e_tm of T tasks over M models, known only in part, are drawn from

    e_tm = l_m . b_t + x_tm,   b_t ~ N(0, I_r),   x_tm ~ N(0, psi_m).

Each step finds the posterior of every b_t from its task's records and then every l_m and psi_m from
its model's: O(n r^2) for n records. With `steady` > 0 loadings are drawn to 0 and variances to
their mean, as much as so many tasks would; with 0 it is maximum likelihood.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float64, Int, Shaped

from spider_jax.belief.factors import Factors
from spider_jax.runtime.buckets import bucket
from spider_jax.runtime.double_precision import double_precision

CHUNK = 1 << 15  # records at a time
LEAST = 0.02  # variance that is each model's own, at least
STEADY, STEPS = 2.0, 25


class _Table(NamedTuple):
    """Records in chunks; a record that only fills a chunk has weight 0."""

    model: Int[Array, "c n"]
    task: Int[Array, "c n"]
    value: Float[Array, "c n"]
    weight: Float[Array, "c n"]


def factor_analysis(
    model: Int[np.ndarray, " n"],
    task: Int[np.ndarray, " n"],
    value: Float64[np.ndarray, " n"],
    models: int,
    tasks: int,
    rank: int,
    *,
    steady: float = STEADY,
    steps: int = STEPS,
    least: float = LEAST,
) -> Factors:
    """Fit the factors, see the module.

    Args:
        model: position of the model of every record.
        task: position of the task of every record.
        value: e.
        models: M.
        tasks: T.
        rank: r.
        steady: how strongly loadings and variances are drawn together; 0: maximum likelihood.
        steps: of expectation-maximisation.
        least: variance that is each model's own, at least.

    Returns:
        l [M, r] and psi [M].

    References:
        Rubin and Thayer, "EM algorithms for ML factor analysis", Psychometrika 1982.
    """
    squares = np.bincount(model, value**2, models)
    counts = np.bincount(model, minlength=models).astype(np.float64)
    mean = squares.sum() / max(counts.sum(), 1)
    own = (squares + steady * mean) / np.maximum(counts + steady, 1e-12)
    rank = min(rank, tasks, models)
    if rank == 0 or not value.any():
        return Factors(np.zeros((models, 0)), np.maximum(own, least))
    start = _start(model, task, value, models, tasks, rank)
    with double_precision():
        given = _chunks(model, task, value)
        found = _fit(given, start, own, squares, counts, tasks, steady, least, steps)
        loadings, psi = (np.asarray(part) for part in found)
    return Factors(loadings, psi)


def _start(
    model: Int[np.ndarray, " n"],
    task: Int[np.ndarray, " n"],
    value: Float64[np.ndarray, " n"],
    models: int,
    tasks: int,
    rank: int,
) -> Float64[np.ndarray, "M r"]:
    """Leading singular vectors of the table with 0 in its holes, scaled."""
    from scipy.sparse import csr_array
    from scipy.sparse.linalg import svds

    table = csr_array((value, (task, model)), shape=(tasks, models))
    if rank >= min(tasks, models):
        _, s, v = np.linalg.svd(table.toarray(), full_matrices=False)
        return np.asarray((v[:rank].T * s[:rank]) / np.sqrt(tasks))
    first = np.random.default_rng(0).standard_normal(min(tasks, models))
    _, s, v = svds(table, rank, v0=first)
    return np.asarray((v.T * s)[:, ::-1] / np.sqrt(tasks))


def _chunks(
    model: Int[np.ndarray, " n"], task: Int[np.ndarray, " n"], value: Float64[np.ndarray, " n"]
) -> _Table:
    size = min(CHUNK, 1 << (len(value) - 1).bit_length())
    chunks = -(-len(value) // size)
    chunks = bucket(chunks, 1 << max(0, chunks.bit_length() - 3))  # few programs for all folds
    lacking = chunks * size - len(value)

    def padded(values: Shaped[np.ndarray, " n"]) -> Shaped[Array, "c k"]:
        return jnp.asarray(np.pad(values, (0, lacking)).reshape(chunks, size))

    return _Table(padded(model), padded(task), padded(value), padded(np.ones(len(value))))


@partial(jax.jit, static_argnames=("tasks", "steps"))
def _fit(
    given: _Table,
    loadings: Float[Array, "M r"],
    own: Float[Array, " M"],
    squares: Float[Array, " M"],
    counts: Float[Array, " M"],
    tasks: int,
    steady: Float[Array, ""] | float,
    least: Float[Array, ""] | float,
    steps: int,
) -> tuple[Float[Array, "M r"], Float[Array, " M"]]:
    rank = loadings.shape[1]

    def sums(
        left: Float[Array, "k r"], scale: Float[Array, " k"], by: str, to: str, n: int
    ) -> tuple[Float[Array, "n r r"], Float[Array, "n r"]]:
        """Sums over the records of `to`: of left left^T scale, and of left scale e."""

        def add(
            total: tuple[Float[Array, "n r r"], Float[Array, "n r"]], chunk: _Table
        ) -> tuple[tuple[Float[Array, "n r r"], Float[Array, "n r"]], None]:
            mine, there = getattr(chunk, by), getattr(chunk, to)
            rows = left[mine] * (scale[mine] * chunk.weight)[:, None]
            outer = rows[:, :, None] * left[mine][:, None]
            return (
                total[0].at[there].add(outer),
                total[1].at[there].add(rows * chunk.value[:, None]),
            ), None

        none = (jnp.zeros((n, rank, rank)), jnp.zeros((n, rank)))
        return jax.lax.scan(add, none, given)[0]

    def spread(covariance: Float[Array, "T r r"]) -> Float[Array, "M r r"]:
        """Sum of the tasks' posterior covariances over each model's records."""

        def add(total: Float[Array, "M r r"], chunk: _Table) -> tuple[Float[Array, "M r r"], None]:
            mine = covariance[chunk.task] * chunk.weight[:, None, None]
            return total.at[chunk.model].add(mine), None

        return jax.lax.scan(add, jnp.zeros((len(counts), rank, rank)), given)[0]

    def step(
        now: tuple[Float[Array, "M r"], Float[Array, " M"]], _: None
    ) -> tuple[tuple[Float[Array, "M r"], Float[Array, " M"]], None]:
        loadings, own = now
        precision, pull = sums(loadings, 1 / own, "model", "task", tasks)
        covariance = jnp.linalg.inv(precision + jnp.eye(rank)[None])
        mean = jnp.einsum("tij,tj->ti", covariance, pull)
        moment, cross = sums(mean, jnp.ones(tasks), "task", "model", len(counts))
        # a model without records and without `steady` keeps loadings of 0
        whole = moment + spread(covariance) + jnp.maximum(steady, 1e-9) * jnp.eye(rank)[None]
        new = jnp.linalg.solve(whole, cross[..., None])[..., 0]
        rest = squares - (new * cross).sum(1)
        shared = steady * rest.sum() / jnp.maximum(counts.sum(), 1)
        variance = (rest + shared) / jnp.maximum(counts + steady, 1e-12)
        return (new, jnp.maximum(variance, least)), None

    return jax.lax.scan(step, (loadings, own), None, length=steps)[0]
