"""Scores of linear heads as predictions: one link, one loss and one temperature for every kind."""

import numpy as np
from jaxtyping import Float64, Shaped
from scipy.special import expit, log_softmax, softmax

from spider_jax.metrics.shared.inputs import one_hot

TEMPERATURES = np.geomspace(0.01, 10, 61)
LEAST = 1e-6  # probability: one row must not decide the mean of a log loss

Columns = Float64[np.ndarray, "N C"]


def columns_of(kind: str, labels: Shaped[np.ndarray, "N ..."], classes: int) -> Columns:
    """Labels as the columns that a linear head is fitted to.

    Args:
        kind: of the task.
        labels: of its rows, as a zoo gives them.
        classes: C, where they are classes.

    Returns:
        One-hot classes, 0/1 labels, or targets.
    """
    if kind == "classification":
        return one_hot(labels, classes)
    return np.asarray(labels, np.float64).reshape(len(labels), -1)


def answers_of(
    kind: str, predictions: Columns, like: Shaped[np.ndarray, "N ..."]
) -> Shaped[np.ndarray, "N ..."]:
    """Predictions as answers: classes, labels or numbers, for a measure.

    Args:
        kind: of the task.
        predictions: of `predictions_of`.
        like: the truth, for the shape.

    Returns:
        [N] classes, bool [N, K] labels, or numbers in the shape of the truth.
    """
    if kind == "classification":
        return predictions.argmax(1)
    return predictions > 0.5 if kind == "multi-label" else predictions.reshape(like.shape)


def predictions_of(kind: str, scores: Columns, temperature: float) -> Columns:
    """softmax(scores/T) of classes, sigmoid((scores - 1/2)/T) of labels, scores of targets.

    Args:
        kind: of the task.
        scores: what a linear head says, about 1 for a class or label that is there.
        temperature: T > 0.

    Returns:
        Predictions that may be averaged over heads.
    """
    if kind == "classification":
        return np.asarray(softmax(scores / temperature, axis=1))
    if kind == "multi-label":
        return np.asarray(expit((scores - 0.5) / temperature))
    return scores


def row_losses(kind: str, predictions: Columns, Y: Columns) -> Float64[np.ndarray, " N"]:
    """The loss of every row: log loss of classes and labels, squared error of targets.

    Args:
        kind: of the task.
        predictions: of `predictions_of`, or their mean over heads.
        Y: the truth.

    Returns:
        Losses; smaller is better.
    """
    if kind == "regression":
        return np.asarray(((predictions - Y) ** 2).mean(1))
    if kind == "multi-label":
        p = np.clip(predictions, LEAST, 1 - LEAST)
        return np.asarray(-(Y * np.log(p) + (1 - Y) * np.log1p(-p)).mean(1))
    return np.asarray(-np.log(np.maximum((predictions * Y).sum(1), LEAST)))


def fit_temperature(kind: str, scores: Columns, Y: Columns) -> float:
    """The temperature of least mean loss, from a grid.

    Args:
        kind: of the task.
        scores: of heads that have not seen their rows.
        Y: the truth.

    Returns:
        T; 1 for targets, which have none.
    """
    if kind == "regression":
        return 1.0
    if kind == "classification":
        mean = [-(log_softmax(scores / T, axis=1) * Y).sum(1).mean() for T in TEMPERATURES]
    else:
        mean = [row_losses(kind, predictions_of(kind, scores, T), Y).mean() for T in TEMPERATURES]
    return float(TEMPERATURES[int(np.argmin(mean))])
