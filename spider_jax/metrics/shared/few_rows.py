"""Very many rows, of which a fit reads some: the same ones of every model."""

import logging

import numpy as np
from jaxtyping import Int

from spider_jax.metrics.shared.statistics import Statistics

log = logging.getLogger("spider_jax")

# The standard error of a share of so many rows is at most 0.002, and of a mean of log-likelihoods
# about their deviation / 256.
MOST_ROWS = 1 << 16
MOST_NUMBERS = 1 << 23  # of rows times classes: a fit holds ten such matrices, of 64 MB in float64
LEAST_OF_A_CLASS = 5  # rows on average, however many classes there are


def most_rows(classes: int) -> int:
    """How many rows a fit to so many classes reads at most: of every model the same, whatever D.

    >>> [most_rows(C) for C in (2, 128, 1000, 5000)]
    [65536, 65536, 8388, 25000]
    """
    return min(MOST_ROWS, max(MOST_NUMBERS // classes, LEAST_OF_A_CLASS * classes))


def some_rows(given: Statistics, most: int | None = None) -> Statistics:
    """At most so many rows, classes in their shares and none of them without a row.

    Memory and time of an iterative fit then have a bound. The rows depend on the labels alone, so
    that all models of a task are compared on the same ones; the log says how many they are.

    Args:
        given: statistics of features and classes.
        most: rows; `most_rows` by default.

    Returns:
        Statistics of the sample; `given` where it has no more rows.
    """
    most = most_rows(given.classes) if most is None else most
    if given.n <= most:
        return given
    rows = _sample(np.asarray(given.labels, np.int64), most)
    log.info("%d of %d rows are read, as many of every class as its share", len(rows), given.n)
    return given.subset(rows)


def _sample(labels: Int[np.ndarray, " N"], most: int) -> Int[np.ndarray, " n"]:
    """Every class in its share, rounded up: at most one row a class too many."""
    rng = np.random.default_rng(0)
    order = rng.permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    counts = np.bincount(labels)
    place = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    wanted = np.ceil(counts * (most / len(labels))).astype(np.int64)
    return np.sort(by_class[place < np.repeat(wanted, counts)])
