"""Recall, the first phase: which models are tried at all, by past results and a cheap proxy."""

import numpy as np
from jaxtyping import Float, Int

from spider_jax.errors import InputError
from spider_jax.records.clusters import representatives

PROPORTIONS = ("knn", "ridge", "linear_probe")
PACTRAN = ("pactran_gauss", "pactran_dirichlet", "pactran_gamma")
LOGARITHMS = ("logme", "leep", "n_leep", "nce", *PACTRAN, "spider")
UNKNOWN_SPREAD = 0.1  # of log means, where there are none


def proxy_factor(
    name: str, scores: Float[np.ndarray, " M"], means: Float[np.ndarray, " M"]
) -> Float[np.ndarray, " M"]:
    """A proxy's scores as positive factors of the mean accuracies.

    Shares are taken as they are. Logarithms (mean log likelihoods, a spider's log utilities) become
    exp(s - max), which keeps every ratio. Any other metric has a unit of its own: standardised and
    given the spread of ln(mean), it counts as much as past results do.

    Args:
        name: of the proxy.
        scores: of the proxy; NaN where it was not run.
        means: mean accuracies, positive or NaN.

    Returns:
        The factors; NaN where the proxy was not run.
    """
    if name in PROPORTIONS:
        return scores
    if name not in LOGARITHMS and np.isfinite(scores).any():
        spread = np.nanstd(np.log(means)) if np.isfinite(means).any() else UNKNOWN_SPREAD
        deviation = np.nanstd(scores)
        scores = scores * (spread / deviation if deviation > 0 else 0.0)
    return np.exp(scores - np.nanmax(scores, initial=-np.inf))


def recall_scores(
    means: Float[np.ndarray, " M"],
    accuracies: Float[np.ndarray, "M T"],
    clusters: Int[np.ndarray, " M"],
    factors: Float[np.ndarray, " M"],
) -> Float[np.ndarray, " M"]:
    """Recall score of every model: its mean accuracy times what the proxy says of it.

    Its own factor where the proxy was run on it; else, in a cluster of several, the factor of the
    cluster's representative r; else (a singleton) mean_r cos(A[m], A[r]) factor[r] over the
    representatives that were run, or mean_r factor[r] without a task in common with any.

    Args:
        means: mean accuracy over benchmark tasks; NaN (nothing known) takes the mean of the
            others, so that a new model is neither favoured nor shut out.
        accuracies: NaN where missing: cosines are over the tasks that both models have.
        clusters: number of the cluster of every model.
        factors: positive; NaN where the proxy was not run.

    Returns:
        Larger is better; NaN for a model of which nothing can be said.

    Raises:
        InputError: the proxy was run on no model.

    References:
        Cui et al., ICDE 2024. Its code multiplies by every member's own LEEP; the text, and we
        where only representatives were run, by the representative's.
    """
    run = np.flatnonzero(np.isfinite(factors))
    if len(run) == 0:
        raise InputError("factors must be known for at least one model: run the proxy on some")
    full = np.where(np.isfinite(means), means, np.nanmean(means) if np.isfinite(means).any() else 1)
    chosen = {clusters[r]: r for r in representatives(means, clusters) if r in set(run)}
    scores = np.empty(len(means))
    for m in range(len(means)):
        if np.isfinite(factors[m]):
            factor = factors[m]
        elif clusters[m] in chosen:
            factor = factors[chosen[clusters[m]]]
        else:
            cosines = np.array([_cosine(accuracies[m], accuracies[r]) for r in run])
            factor = np.mean((cosines if cosines.any() else 1) * factors[run])
        scores[m] = full[m] * factor
    return scores


def needs_proxy(
    means: Float[np.ndarray, " M"], clusters: Int[np.ndarray, " M"]
) -> Int[np.ndarray, " run"]:
    """The models to run the proxy on where it is not run on all.

    Args:
        means: mean accuracies; NaN where nothing is known.
        clusters: number of the cluster of every model.

    Returns:
        Positions of the representatives of clusters, and of models of which nothing is known; all
        positions where there is no representative.
    """
    found = representatives(means, clusters)
    new = np.flatnonzero(~np.isfinite(means))
    return np.union1d(found, new) if len(found) else np.arange(len(means))


def _cosine(a: Float[np.ndarray, " T"], b: Float[np.ndarray, " T"]) -> float:
    both = np.isfinite(a) & np.isfinite(b)
    norm = np.linalg.norm(a[both]) * np.linalg.norm(b[both])
    return float(a[both] @ b[both] / norm) if norm > 0 else 0.0
