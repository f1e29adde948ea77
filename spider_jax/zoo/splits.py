"""Which rows of a task train, validate and test: the zoo's own split, or one made here."""

import logging
from typing import NamedTuple

import numpy as np
from jaxtyping import Int8, Int64

from spider_jax.errors import InputError
from spider_jax.metrics.shared.folds import grouped_parts, stratified_folds
from spider_jax.zoo.store import FeatureStore

log = logging.getLogger("spider_jax")

FOLDS = 5  # three train, one validates, one tests


class TaskSplit(NamedTuple):
    """The rows of a task by their use, in ascending order.

    Attributes:
        train: numbers of the rows to train on.
        validation: numbers of the rows to choose by.
        test: numbers of the rows to measure on once; there may be none.
        note: where the split is from.
    """

    train: Int64[np.ndarray, " n_train"]
    validation: Int64[np.ndarray, " n_validation"]
    test: Int64[np.ndarray, " n_test"]
    note: str


def _of_known_classes(
    zoo: FeatureStore, task: str, train: Int64[np.ndarray, " n"], rows: Int64[np.ndarray, " m"]
) -> Int64[np.ndarray, " k"]:
    """Those of `rows` whose class has a training row: a head cannot say any other."""
    labels = zoo.labels(task)
    return rows[np.isin(labels[rows], labels[train])]


def _made(
    zoo: FeatureStore, task: str, rng: np.random.Generator
) -> tuple[Int8[np.ndarray, " N"], str]:
    """A split 60/20/20, and how it was made."""
    labels, domains = zoo.labels(task), zoo.domains(task)
    if domains is not None:
        if len(np.unique(domains)) < 2:
            raise InputError(f"{task!r} has one domain only: write splits/ to part it")
        parts = grouped_parts(domains, (0.6, 0.2, 0.2), rng)
        return parts.astype(np.int8), "no domain parted"
    classes = labels if zoo.kind(task) == "classification" else np.zeros(len(labels))
    fold = stratified_folds(classes.astype(np.int64), FOLDS, rng)
    return np.where(fold < FOLDS - 2, 0, fold - (FOLDS - 3)).astype(np.int8), "stratified"


def task_split(zoo: FeatureStore, task: str, *, seed: int = 0) -> TaskSplit:
    """Rows 0 (train), 1 (validation), 2 (test) of splits/<task>.npy, else a split made here.

    Without such a file the rows are split 60/20/20 at random: by whole domains where the task has
    domains, else stratified by class where there are classes.

    Args:
        zoo: the zoo.
        task: its name.
        seed: of a split made here.

    Returns:
        The rows.

    Raises:
        InputError: no training or no validation row, or one domain only.
    """
    split = zoo.split(task)
    made = split is None
    if split is None:
        split, how = _made(zoo, task, np.random.default_rng(seed))
        note = f"{task} has no splits file: rows dealt 60/20/20, {how}, seed {seed}"
        log.info(note)
    else:
        note = f"rows as splits/ of {task} says"
    train, validation, test = (np.flatnonzero(split == part) for part in range(3))
    if zoo.kind(task) == "classification" and (not made or zoo.domains(task) is not None):
        validation, test = (_of_known_classes(zoo, task, train, r) for r in (validation, test))
        gone = int((split != 0).sum()) - len(validation) - len(test)
        note += f"; {gone} rows of classes without a training row are left out" if gone else ""
    for part, rows in (("0 (train)", train), ("1 (validation)", validation)):
        if len(rows) == 0:
            raise InputError(f"splits of {task!r} must have rows {part}: none is there")
    if len(test) == 0:
        note += "; no test row, so no test score"
    return TaskSplit(train, validation, test, note)
