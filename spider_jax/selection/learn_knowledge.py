"""The covariance over models and how wide errors are, learned on past tasks left out in turn.

A covariance is chosen by how likely it makes the results of left-out past tasks, given scores of
their first epochs: the models alike and independent, each with a variance of its own, or with
factors that they share. Factors that widen its variances are weighed by how likely they make what
became of the drops when the noise-aware policy is replayed on the left-out tasks with all models.
One factor is not enough: twenty tasks do not tell it, and one task that goes wrong moves it by far.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int

from spider_jax.records.noise import (
    ValidationNoise,
    accuracy_variance,
    measure_spread,
    with_usual_noise,
)
from spider_jax.records.performance import PastResults
from spider_jax.selection.knowledge import Gaps, Knowledge, after_scores, gaps
from spider_jax.selection.model_covariance import forms
from spider_jax.selection.policy import Seen
from spider_jax.selection.schedule import kept

FOLDS = 5
FEWEST = 5  # left-out tasks by which a covariance is chosen
SURE = 2.0
FEWEST_MODELS = 4  # of such a task, with curve and result
EPOCHS = 2  # after which the policy drops
WIDENINGS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
LEAST = 1e-3  # what happened had this probability at least


def learn_knowledge(past: PastResults) -> Knowledge:
    """Learn the covariance over models and the widenings, see the module.

    Args:
        past: results without the target's own; holes are left out.

    Returns:
        What is learned; models alike where fewer than FEWEST past tasks have curves and results,
        and all widenings of one weight where none has.
    """
    tasks = [t for t in range(len(past.tasks)) if len(_known(past, t)) >= FEWEST_MODELS]
    folds = list(_folds(past, tasks))
    fitted = [forms(fold.past) for fold in folds]
    chosen = _choose(folds, fitted) if len(tasks) >= FEWEST else 0
    weights = np.zeros(len(WIDENINGS))
    for fold, given in zip(folds, fitted, strict=True):
        weights += _log_held(fold, given[chosen])
    weights = np.exp(weights - weights.max())
    widenings = zip(WIDENINGS, (weights / weights.sum()).tolist(), strict=True)
    return replace(forms(past)[chosen], widenings=tuple(widenings))


def _choose(folds: list["_Fold"], fitted: list[tuple[Knowledge, ...]]) -> int:
    """The simplest form, unless the likeliest is surely likelier: by SURE standard errors."""
    likely = []
    for form in range(len(fitted[0])):
        parts = [_log_likelihoods(f, k[form]) for f, k in zip(folds, fitted, strict=True)]
        by_task = np.concatenate(parts)
        likely.append(by_task[:, np.argmax(by_task.sum(0))])
    best = int(np.argmax([one.sum() for one in likely]))
    more = likely[best] - likely[0]
    return best if more.sum() > SURE * np.sqrt(len(more)) * more.std(ddof=1) else 0


class _Case(NamedTuple):
    """A past task as the target.

    Attributes:
        seen: the models that are started, after the last epoch at which some are dropped.
        result: theirs.
        rows: behind a score.
    """

    seen: Seen
    result: Float64[np.ndarray, " n"]
    rows: int

    def after(self, epoch: int, models: Int[np.ndarray, " s"]) -> Seen:
        """What is known of some of the models after an epoch."""
        scores = self.seen.validation[models, :epoch]
        at = float(np.mean(scores.max(1)))
        return self.seen._replace(
            models=tuple(self.seen.models[i] for i in models),
            validation=scores,
            variance=accuracy_variance(at, self.rows) if self.rows else 0.0,
        )


class _Fold(NamedTuple):
    """Past tasks that are left out.

    Attributes:
        past: the others.
        noise: by the others.
        cases: those that are left out.
    """

    past: PastResults
    noise: ValidationNoise
    cases: tuple[_Case, ...]


def _known(past: PastResults, task: int) -> Int[np.ndarray, " n"]:
    """Models with a result on a task and the epochs that are looked at."""
    epochs = past.curves[:, task, :EPOCHS]
    ran = np.isfinite(epochs).all(1) & (epochs.shape[1] > 0)
    return np.flatnonzero(ran & np.isfinite(past.accuracies[:, task]))


def _folds(past: PastResults, tasks: list[int]) -> Iterator[_Fold]:
    for start in range(min(FOLDS, len(tasks))):
        out = tasks[start::FOLDS]
        rest = past.only_tasks([n for t, n in enumerate(past.tasks) if t not in out])
        noise = with_usual_noise(measure_spread(rest))
        yield _Fold(rest, noise, tuple(_case(past, t) for t in out))


def _case(past: PastResults, task: int) -> _Case:
    models = _known(past, task)
    scores = past.curves[models, task, :EPOCHS]
    names = tuple(past.models[i] for i in models)
    seen = Seen(names, scores, 0.0, past.curves.shape[2])
    return _Case(seen, past.accuracies[models, task], int(past.validation_rows[task]))


def _log_likelihoods(fold: _Fold, form: Knowledge) -> Float64[np.ndarray, "T w"]:
    """ln p of the left-out results but for their level, given the scores, by widening."""
    return np.array([_log_likelihood(fold.noise, form, case) for case in fold.cases])


def _log_likelihood(
    noise: ValidationNoise, form: Knowledge, case: _Case
) -> Float64[np.ndarray, " w"]:
    total = np.zeros(len(WIDENINGS))
    every = np.arange(len(case.result))
    for epoch in range(1, case.seen.validation.shape[1] + 1):
        found = after_scores(noise, form, case.after(epoch, every))
        gap = case.result - found.expected()
        gap, c = gap - gap.mean(), found.covariance()
        variance = np.diagonal(c) - 2 * c.mean(0) + c.mean()  # of y_i - mean_j y_j
        variance = np.maximum(np.outer(WIDENINGS, variance), 1e-12)
        total -= (np.log(variance) + gap**2 / variance).mean(1) / 2
    return total


def _log_held(fold: _Fold, form: Knowledge) -> Float64[np.ndarray, " w"]:
    """Mean ln P of what became of the drops, by widening; sum over tasks."""
    total = np.zeros(len(WIDENINGS))
    for case in fold.cases:
        drops = list(_replayed(fold.noise, form, case))
        held = np.concatenate([held for _, held in drops])
        for w, widening in enumerate(WIDENINGS):
            stated = np.concatenate([found.probability([(widening, 1.0)]) for found, _ in drops])
            chance = np.maximum(np.where(held, stated, 1 - stated), LEAST)
            total[w] += np.log(chance).mean()
    return total


def _replayed(
    noise: ValidationNoise, form: Knowledge, case: _Case
) -> Iterator[tuple[Gaps, Bool[np.ndarray, " d"]]]:
    """The drops of the policy, epoch by epoch, and whether the leader's result was as good."""
    models = np.arange(len(case.result))
    for epoch in range(1, case.seen.validation.shape[1] + 1):
        seen = case.after(epoch, models)
        order = np.argsort(-after_scores(noise, form, seen).expected(), kind="stable")
        keep = kept(len(models)) if epoch == 1 else 1
        gone, leader = order[keep:], int(order[0])
        if len(gone) == 0:
            return
        found = gaps(noise, form, seen, leader)
        result = case.result[models]
        yield Gaps(found.mean[:, gone], found.variance[:, gone]), result[leader] >= result[gone]
        models = models[np.sort(order[:keep])]
