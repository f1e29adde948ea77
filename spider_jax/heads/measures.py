"""How good predictions are, by the measure that a task declares; larger is always better."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int64, Shaped

from spider_jax.errors import InputError
from spider_jax.zoo.accuracies import plain_measure

Answers = Shaped[np.ndarray, "*NK"]  # [N] classes or numbers, [N, K] labels or numbers
RESAMPLES = 200
GROUPS = 20  # of a jackknife


class TaskMeasure(NamedTuple):
    """A measure of predictions.

    Attributes:
        score: score(truth, predicted), both [N] or both [N, K]; larger is better. Where it reads
            probabilities, predicted is [N, C] or [N, K].
        kinds: the kinds of tasks that it is for.
        comparable: whether a value means the same on another task, so that results on other tasks
            make a prior.
        probabilities: whether it reads `Targets.probabilities` instead of `Targets.predictions`.
        jackknife: whether its standard error is found by leaving out groups of rows: a bootstrap
            takes ten times as long, too long where a score sorts rows or reads C columns.
    """

    score: Callable[[Answers, Answers], float]
    kinds: tuple[str, ...]
    comparable: bool = True
    probabilities: bool = False
    jackknife: bool = False


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
    place = np.unique(truth, return_inverse=True)[1]
    hits = np.bincount(place, weights=truth == predicted)
    return float(np.mean(hits / np.bincount(place)))


def matthews(truth: Shaped[np.ndarray, " N"], predicted: Shaped[np.ndarray, " N"]) -> float:
    """Matthews correlation of classes (R_K of Gorodkin, 2004, for more than two).

    cov(T, P)/sqrt(cov(T, T) cov(P, P)) of the one-hot columns. With N rows, t and p the rows of
    each class in truth and prediction, and h of them hits, that is (N sum h - t p) over
    sqrt((N^2 - t t) (N^2 - p p)): no column is made, whatever C.

    Args:
        truth: classes.
        predicted: classes.

    Returns:
        In [-1, 1]; 0 where either is constant.
    """
    hits, t, p = _counts(truth, predicted)
    N = len(truth)
    scale = np.sqrt(float(N * N - t @ t)) * np.sqrt(float(N * N - p @ p))
    return float(N * hits.sum() - t @ p) / scale if scale > 0 else 0.0


def _counts(
    truth: Shaped[np.ndarray, " N"], predicted: Shaped[np.ndarray, " N"]
) -> tuple[Int64[np.ndarray, " C"], Int64[np.ndarray, " C"], Int64[np.ndarray, " C"]]:
    """Rows of every class that either has: hits, in the truth, and as predicted."""
    classes = np.union1d(truth, predicted)
    t, p = np.searchsorted(classes, truth), np.searchsorted(classes, predicted)
    hits, of_truth, said = (np.bincount(rows, minlength=len(classes)) for rows in (t[t == p], t, p))
    return hits, of_truth, said


def macro_f1(truth: Answers, predicted: Answers) -> float:
    """The mean over classes (or labels) of 2 TP/(2 TP + FP + FN).

    Args:
        truth: classes [N] or labels bool [N, K].
        predicted: of the same shape.

    Returns:
        In [0, 1]; a class that is predicted and that nobody has counts as 0, a label that nobody
        has and nobody predicts as 1.
    """
    if truth.ndim == 2:
        hits, both = np.sum(truth & predicted, 0), np.sum(truth, 0) + np.sum(predicted, 0)
    else:
        hits, of_truth, said = _counts(truth, predicted)
        both = of_truth + said
    return float(np.mean(np.where(both > 0, 2 * hits / np.maximum(both, 1), 1.0)))


def log_loss(truth: Answers, probabilities: Float[np.ndarray, "N K"]) -> float:
    """Mean log-likelihood: the log-loss, negative, so that larger is better.

    mean log p(class of the row); of labels the mean over the labels too. Probabilities are kept
    2.2e-16 away from 0 (and those of labels from 1).

    Args:
        truth: classes 0..C-1 [N] or labels bool [N, K].
        probabilities: [N, C] of the classes, or [N, K] of the labels.

    Returns:
        In (-36.1, 0]; chance is -log C: it does not compare across tasks.
    """
    least = np.finfo(np.float64).eps
    P = np.clip(np.asarray(probabilities, np.float64), least, 1 - least)
    if truth.ndim == 2:
        return float(np.mean(np.where(truth, np.log(P), np.log1p(-P))))
    return float(np.mean(np.log(P[np.arange(len(P)), truth])))


def auc(truth: Answers, probabilities: Float[np.ndarray, "N K"]) -> float:
    """Area under the ROC curve: the share of pairs in order, a tie is half.

    Of two classes that of class 1; of more, and of labels, the mean of each against the rest.

    Args:
        truth: classes 0..C-1 [N] or labels bool [N, K].
        probabilities: [N, C] of the classes, or [N, K] of the labels.

    Returns:
        In [0, 1]. Columns that all rows have, or none, are left out; 0.5 where no other is left.
    """
    columns = range(probabilities.shape[1])
    if truth.ndim == 1 and len(columns) == 2:
        columns = range(1, 2)
    found = []
    for k in columns:
        has = truth[:, k] > 0 if truth.ndim == 2 else truth == k
        hits = int(has.sum())
        if 0 < hits < len(has):
            above = average_ranks(probabilities[:, k])[has].sum() - hits * (hits + 1) / 2
            found.append(above / (hits * (len(has) - hits)))
    return float(np.mean(found)) if found else 0.5


def average_ranks(values: Shaped[np.ndarray, " N"]) -> Float64[np.ndarray, " N"]:
    """Ranks from 1, the smallest first; equal values share the mean of theirs.

    Args:
        values: numbers.

    Returns:
        Multiples of a half.
    """
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[place], np.float64)


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
        In (-inf, 1]; for labels that are constant 1 where all are met, else 0.
    """
    error, variance = np.sum((truth - predicted) ** 2), np.sum((truth - truth.mean(0)) ** 2)
    if variance > 0:
        return float(1 - error / variance)
    return float(error == 0)


def pearson(truth: Answers, predicted: Answers) -> float:
    """Correlation of numbers, the mean over the columns.

    Args:
        truth: numbers [N] or [N, K].
        predicted: of the same shape.

    Returns:
        In [-1, 1]; a column counts as 0 where either is constant.
    """
    pairs = zip(_columns(truth), _columns(predicted), strict=True)
    return float(np.mean([_correlation(t, p) for t, p in pairs]))


def spearman(truth: Answers, predicted: Answers) -> float:
    """Correlation of the ranks of numbers, the mean over the columns; ties have their mean rank.

    Args:
        truth: numbers [N] or [N, K].
        predicted: of the same shape.

    Returns:
        In [-1, 1]; a column counts as 0 where either is constant.
    """
    pairs = zip(_columns(truth), _columns(predicted), strict=True)
    return float(np.mean([_correlation(average_ranks(t), average_ranks(p)) for t, p in pairs]))


def _columns(values: Answers) -> Float64[np.ndarray, "K N"]:
    return np.asarray(values, np.float64).reshape(len(values), -1).T


def _correlation(x: Float64[np.ndarray, " N"], y: Float64[np.ndarray, " N"]) -> float:
    if np.ptp(x) == 0 or np.ptp(y) == 0:  # a mean of equal numbers need not be that number
        return 0.0
    x, y = x - x.mean(), y - y.mean()
    x, y = x / np.abs(x).max(), y / np.abs(y).max()  # squares of huge numbers are no numbers
    return float(np.clip(x @ y / np.sqrt(x @ x) / np.sqrt(y @ y), -1, 1))


CLASSES, LABELS, NUMBERS = ("classification",), ("multi-label",), ("regression",)
TASK_MEASURES: dict[str, TaskMeasure] = {
    "accuracy": TaskMeasure(accuracy, CLASSES + LABELS),
    "balanced_accuracy": TaskMeasure(balanced_accuracy, CLASSES),
    "matthews": TaskMeasure(matthews, CLASSES),
    "macro_f1": TaskMeasure(macro_f1, CLASSES + LABELS),
    "log_loss": TaskMeasure(
        log_loss, CLASSES + LABELS, comparable=False, probabilities=True, jackknife=True
    ),
    "auc": TaskMeasure(auc, CLASSES + LABELS, probabilities=True, jackknife=True),
    "rmse": TaskMeasure(rmse, NUMBERS, comparable=False),
    "r2": TaskMeasure(r2, NUMBERS),
    "spearman": TaskMeasure(spearman, NUMBERS, jackknife=True),
    "pearson": TaskMeasure(pearson, NUMBERS, jackknife=True),
}
DEFAULTS = {"classification": "accuracy", "multi-label": "accuracy", "regression": "rmse"}


def measure_name(task: str, kind: str, declared: object) -> str:
    """The measure of a task: what its manifest entry declares, else the default of its kind.

    Args:
        task: name, for messages.
        kind: of the task.
        declared: what stands as "measure" in the task's entry, in any usual spelling ("macro F1",
            "log-loss", "MCC"); None where nothing does.

    Returns:
        A name in TASK_MEASURES.

    Raises:
        InputError: an unknown measure, or one for other kinds of tasks.
    """
    name = DEFAULTS[kind] if declared is None else plain_measure(str(declared))
    if name not in TASK_MEASURES:
        known = ", ".join(TASK_MEASURES)
        raise InputError(f"task {task!r}: measure must be one of {known}, got {declared!r}")
    if kind not in TASK_MEASURES[name].kinds:
        fit = ", ".join(n for n, measure in TASK_MEASURES.items() if kind in measure.kinds)
        raise InputError(
            f"task {task!r} is {kind}, its measure {declared!r} is not for that: use one of {fit}"
        )
    return name


def is_share(name: str, kind: str) -> bool:
    """Whether a score is a share of independent rows, with the variance p (1 - p)/N.

    Args:
        name: of the measure.
        kind: of the task.
    """
    return name == "accuracy" and kind == "classification"


def standard_error(
    name: str, truth: Shaped[np.ndarray, "N ..."], predicted: Shaped[np.ndarray, "N ..."]
) -> float:
    """Standard error of a measure that comes from its finite number of rows.

    Args:
        name: of the measure.
        truth: as its score reads it.
        predicted: as its score reads it.

    Returns:
        The deviation over 200 bootstrap resamples of the rows, or by a jackknife of 20 groups
        (NaN of one row); the same in every call.
    """
    score, rng = TASK_MEASURES[name].score, np.random.default_rng(0)
    if TASK_MEASURES[name].jackknife:
        g = min(GROUPS, len(truth))
        group = rng.permutation(len(truth)) % max(g, 1)
        parts = (group != k for k in range(g))
        found = [score(truth[rows], predicted[rows]) for rows in parts if rows.any()]
        return float(np.sqrt(g - 1) * np.std(found)) if len(found) > 1 else float("nan")
    drawn = rng.integers(len(truth), size=(RESAMPLES, len(truth)))
    return float(np.std([score(truth[rows], predicted[rows]) for rows in drawn], ddof=1))
