"""How good predictions are, by the measure that a task declares; larger is always better."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from spider_jax.errors import InputError

Answers = Shaped[np.ndarray, "*NK"]  # [N] classes or numbers, [N, K] labels or numbers
RESAMPLES = 200


class TaskMeasure(NamedTuple):
    """A measure of predictions.

    Attributes:
        score: score(truth, predicted), both [N] or both [N, K]; larger is better.
        kinds: the kinds of tasks that it is for.
        comparable: whether a value means the same on another task, so that results on other tasks
            make a prior.
    """

    score: Callable[[Answers, Answers], float]
    kinds: tuple[str, ...]
    comparable: bool = True


def accuracy(truth: Answers, predicted: Answers) -> float:
    """The share of right answers; of single labels where a row has several.

    Args:
        truth: classes or labels.
        predicted: what a head says.

    Returns:
        In [0, 1].
    """
    return float(np.mean(truth == predicted))


def balanced_accuracy(
    truth: Shaped[np.ndarray, " N"], predicted: Shaped[np.ndarray, " N"]
) -> float:
    """The mean over classes of the share of their rows that are found.

    Args:
        truth: classes.
        predicted: classes.

    Returns:
        In [0, 1]; chance is 1/C.
    """
    return float(np.mean([np.mean(predicted[truth == c] == c) for c in np.unique(truth)]))


def matthews(truth: Shaped[np.ndarray, " N"], predicted: Shaped[np.ndarray, " N"]) -> float:
    """Matthews correlation of classes (R_K of Gorodkin, 2004, for more than two).

    cov(T, P)/sqrt(cov(T, T) cov(P, P)) of the one-hot columns.

    Args:
        truth: classes.
        predicted: classes.

    Returns:
        In [-1, 1]; 0 where either is constant.
    """
    classes = np.union1d(truth, predicted)
    T, P = ((values[:, None] == classes[None]).astype(np.float64) for values in (truth, predicted))
    T, P = T - T.mean(0), P - P.mean(0)
    scale = np.sqrt((T * T).sum() * (P * P).sum())
    return float((T * P).sum() / scale) if scale > 0 else 0.0


def macro_f1(truth: Answers, predicted: Answers) -> float:
    """The mean over classes (or labels) of 2 TP/(2 TP + FP + FN).

    Args:
        truth: classes [N] or labels bool [N, K].
        predicted: of the same shape.

    Returns:
        In [0, 1]; a label that nobody has and nobody predicts counts as 1.
    """
    if truth.ndim == 2:
        pairs = list(zip(truth.T, predicted.T, strict=True))
    else:
        pairs = [(truth == c, predicted == c) for c in np.unique(truth)]
    found = [(np.sum(t & p), np.sum(t) + np.sum(p)) for t, p in pairs]
    return float(np.mean([2 * hits / both if both else 1.0 for hits, both in found]))


def rmse(truth: Answers, predicted: Answers) -> float:
    """-sqrt(mean squared error): negative, so that larger is better.

    Args:
        truth: numbers.
        predicted: numbers.

    Returns:
        In (-inf, 0], in the unit of the labels: it does not compare across tasks.
    """
    return -float(np.sqrt(np.mean((truth - predicted) ** 2)))


def r2(truth: Answers, predicted: Answers) -> float:
    """1 - squared error/variance, over all columns.

    Args:
        truth: numbers.
        predicted: numbers.

    Returns:
        In (-inf, 1]; 0 for labels that are constant.
    """
    variance = np.sum((truth - truth.mean(0)) ** 2)
    return float(1 - np.sum((truth - predicted) ** 2) / variance) if variance > 0 else 0.0


CLASSES, LABELS, NUMBERS = ("classification",), ("multi-label",), ("regression",)
TASK_MEASURES: dict[str, TaskMeasure] = {
    "accuracy": TaskMeasure(accuracy, CLASSES + LABELS),
    "balanced_accuracy": TaskMeasure(balanced_accuracy, CLASSES),
    "matthews": TaskMeasure(matthews, CLASSES),
    "macro_f1": TaskMeasure(macro_f1, CLASSES + LABELS),
    "rmse": TaskMeasure(rmse, NUMBERS, comparable=False),
    "r2": TaskMeasure(r2, NUMBERS),
}
DEFAULTS = {"classification": "accuracy", "multi-label": "accuracy", "regression": "rmse"}


def measure_name(task: str, kind: str, declared: object) -> str:
    """The measure of a task: what its manifest entry declares, else the default of its kind.

    Args:
        task: name, for messages.
        kind: of the task.
        declared: what stands as "measure" in the task's entry; None where nothing does.

    Returns:
        A name in TASK_MEASURES.

    Raises:
        InputError: an unknown measure, or one for other kinds of tasks.
    """
    name = DEFAULTS[kind] if declared is None else declared
    if not isinstance(name, str) or name not in TASK_MEASURES:
        known = ", ".join(TASK_MEASURES)
        raise InputError(f"task {task!r}: measure must be one of {known}, got {name!r}")
    if kind not in TASK_MEASURES[name].kinds:
        raise InputError(f"task {task!r} is {kind}, its measure {name!r} is not for that")
    return name


def is_share(name: str, kind: str) -> bool:
    """Whether a score is a share of independent rows, with the variance p (1 - p)/N.

    Args:
        name: of the measure.
        kind: of the task.
    """
    return name == "accuracy" and kind == "classification"


def standard_error(name: str, truth: Answers, predicted: Answers) -> float:
    """Standard error of a measure that comes from its finite number of rows.

    Args:
        name: of the measure.
        truth: as its score reads it.
        predicted: of the same shape.

    Returns:
        The deviation over 200 bootstrap resamples of the rows, the same in every call.
    """
    score, rng = TASK_MEASURES[name].score, np.random.default_rng(0)
    drawn = rng.integers(len(truth), size=(RESAMPLES, len(truth)))
    return float(np.std([score(truth[rows], predicted[rows]) for rows in drawn], ddof=1))
