"""A task as tokens: what a spider reads of it, from arrays or from a zoo, checked once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int
from numpy.typing import ArrayLike

from spider_jax.errors import InputError
from spider_jax.metrics.shared.inputs import check_labels, finite_features
from spider_jax.tasks.pseudo_classes import classes_of_task
from spider_jax.zoo.store import FeatureStore

# Entries of a table rows x classes: the product with it is fast, but grows with the classes.
MOST_INDICATORS = 1 << 22
NO_NUMBERS = "got no array of numbers"


@dataclass(frozen=True, eq=False)
class TaskTokens:
    """A task as the general extractor sees it: all that a spider reads of it.

    Attributes:
        centres: [C, D] class centres of the extractor's raw features.
        deviations: [2, D] standard deviation of each feature over all rows, and within classes;
            None where only the centres are known. With them the ranking is better.
        extractor: name of the model whose features these are; None where it is not known.
    """

    centres: Float[np.ndarray, "C D"]
    deviations: Float[np.ndarray, "2 D"] | None = None
    extractor: str | None = None


def task_tokens(
    features: ArrayLike, labels: ArrayLike, *, extractor: str | None = None
) -> TaskTokens:
    """Tokens of a task: mu_c = mean of the features of class c, and how the features spread.

    Args:
        features: [N, D] the general extractor's raw features.
        labels: [N] int, in any encoding.
        extractor: name of the model whose features these are, so that a spider can refuse those of
            another.

    Returns:
        The tokens in float32, classes in sorted order of their labels.

    Raises:
        InputError: shapes that do not match, values that are not finite, one class only.
    """
    F = finite_features(features)
    y = check_labels(labels, len(F))
    centres = class_centres(F, y)
    return TaskTokens(centres, _deviations(F, y, centres), extractor)


def task_centres(features: ArrayLike, labels: ArrayLike) -> Float32[np.ndarray, "C D"]:
    """The class centres of `task_tokens` alone.

    Args:
        features: [N, D] raw features of any model.
        labels: [N] int, in any encoding.

    Returns:
        float32 [C, D], classes in sorted order of their labels.

    Raises:
        InputError: as `task_tokens`.
    """
    F = finite_features(features)
    return class_centres(F, check_labels(labels, len(F)))


def task_deviations(features: ArrayLike, labels: ArrayLike) -> Float32[np.ndarray, "2 D"]:
    """How the features of a task spread: [sd over all rows; sd within classes] of each feature.

    Beside the class centres it says how far apart classes lie for their size, which separates
    models that centres alone do not. `task_tokens` holds it.

    Args:
        features: [N, D] the general extractor's raw features.
        labels: [N] int, in any encoding.

    Returns:
        float32 [2, D].

    Raises:
        InputError: as `task_tokens`.
    """
    F = finite_features(features)
    y = check_labels(labels, len(F))
    return _deviations(F, y, class_centres(F, y))


def _deviations(
    F: Float[np.ndarray, "N D"], y: Int[np.ndarray, " N"], centres: Float32[np.ndarray, "C D"]
) -> Float32[np.ndarray, "2 D"]:
    F = np.asarray(F, np.float64)
    within = F - centres[y]
    np.square(within, out=within)
    return np.asarray(np.stack([F.std(0), np.sqrt(within.mean(0))]), np.float32)


def class_centres(
    features: Float[np.ndarray, "N D"], labels: Int[np.ndarray, " N"]
) -> Float32[np.ndarray, "C D"]:
    """Means of the rows of each class 0..C-1, summed in float64.

    Args:
        features: [N, D] finite.
        labels: [N] in 0..C-1, every class present.

    Returns:
        float32 [C, D].
    """
    classes = int(labels.max()) + 1
    if len(labels) * classes <= MOST_INDICATORS:
        members = np.eye(classes)[labels]
        return np.asarray(members.T @ features / members.sum(0)[:, None], np.float32)
    counts = np.bincount(labels, minlength=classes)
    return np.asarray(_segment_sums(features, labels, classes) / counts[:, None], np.float32)


def _segment_sums(
    features: Float[np.ndarray, "N D"], labels: Int[np.ndarray, " N"], classes: int
) -> Float64[np.ndarray, "C D"]:
    """Sums of the rows of each class: a sparse product of N entries, whatever C."""
    from scipy.sparse import csr_array  # slow to import, and only many classes need it

    sums = np.zeros((classes, features.shape[1]))
    step = max(1, MOST_INDICATORS // features.shape[1])
    for start in range(0, len(labels), step):
        y = labels[start : start + step]
        ones = csr_array((np.ones(len(y)), y, np.arange(len(y) + 1)), (len(y), classes))
        sums += ones.T @ np.asarray(features[start : start + step], np.float64)
    return sums


def zoo_tokens(
    zoo: FeatureStore,
    task: str,
    extractor: Mapping[str, object] | None = None,
    *,
    rows: Int[np.ndarray, " n"] | None = None,
) -> TaskTokens:
    """`task_tokens` of a task of a zoo, of the extractor's features on its training rows.

    Of a regression the classes are bins of its targets, of multi-label data its labels, see
    `pseudo_classes`.

    Args:
        zoo: labels of the task and the extractor's features on it.
        task: its name.
        extractor: name and width of the extractor that a spider needs; default: the zoo's own.
        rows: [n] other rows of the task than its training rows.

    Returns:
        The tokens.

    Raises:
        InputError: unknown task, a zoo without an extractor, or with another one.
    """
    name = str(extractor["name"]) if extractor is not None else zoo.extractor
    if extractor is not None:
        check_extractor(zoo, extractor)
    if name is None:
        raise InputError(f"{zoo.folder} names no general extractor in manifest.json")
    if rows is None:
        features, labels = zoo.training_features(name, task), zoo.training_labels(task)
    else:
        features, labels = np.asarray(zoo.features(name, task)[rows]), zoo.labels(task)[rows]
    kind = zoo.kind(task)
    if kind != "classification":
        chosen, labels = classes_of_task(kind, labels)
        features = features[chosen]
        if len(np.unique(labels)) < 2:
            raise InputError(
                f"task {task!r} is {kind} and all its rows have the same labels: no model is "
                "better on it than another"
            )
    return task_tokens(features, labels, extractor=name)


def check_extractor(zoo: FeatureStore, extractor: Mapping[str, object]) -> None:
    """Refuse a zoo that names another extractor than a spider was trained with.

    Args:
        zoo: whose manifest may name an extractor.
        extractor: name and width of the spider's.

    Raises:
        InputError: they differ.
    """
    if zoo.extractor is not None and zoo.extractor != extractor["name"]:
        raise InputError(
            f"{zoo.folder} has extractor {zoo.extractor!r}, the spider needs "
            f"{extractor['name']!r}: export that extractor's features"
        )


def checked_tokens(
    tokens: TaskTokens | ArrayLike, extractor: Mapping[str, object], what: str = "tokens"
) -> TaskTokens:
    """Tokens of this extractor as float32; an array is taken for bare class centres.

    Args:
        tokens: of one task.
        extractor: name and width of the extractor that a spider needs.
        what: they are called in an error.

    Returns:
        The tokens, whole and finite.

    Raises:
        InputError: no array of numbers, another width or extractor, no class, not finite, or
            deviations that are negative.
    """
    if not isinstance(tokens, TaskTokens):
        return TaskTokens(_checked_centres(tokens, extractor, what))
    if tokens.extractor is not None and tokens.extractor != extractor["name"]:
        raise InputError(
            f"{what} are of extractor {tokens.extractor!r}, the spider needs {extractor['name']!r}"
        )
    centres, deviations = _checked_centres(tokens.centres, extractor, what), tokens.deviations
    if deviations is not None:
        deviations = _checked_deviations(deviations, extractor, what)
    return TaskTokens(centres, deviations, tokens.extractor)


def _checked_centres(
    centres: ArrayLike, extractor: Mapping[str, object], what: str
) -> Float32[np.ndarray, "C D"]:
    wanted = f"{what} must be [C, {extractor['width']}] class centres of {extractor['name']!r}"
    try:
        values = _as_float32(centres)
    except (TypeError, ValueError):
        raise InputError(f"{wanted}, {NO_NUMBERS}") from None
    if values.ndim != 2 or values.shape[1] != extractor["width"] or len(values) == 0:
        raise InputError(f"{wanted}, got {values.shape}")
    if not np.isfinite(values).all():
        raise InputError(f"{what} must be finite, got NaN or infinity")
    return values


def _checked_deviations(
    deviations: ArrayLike, extractor: Mapping[str, object], what: str
) -> Float32[np.ndarray, "2 D"]:
    wanted = (
        f"deviations of {what} must be [2, {extractor['width']}] task_deviations of "
        f"{extractor['name']!r}"
    )
    try:
        values = _as_float32(deviations)
    except (TypeError, ValueError):
        raise InputError(f"{wanted}, {NO_NUMBERS}") from None
    if values.shape != (2, extractor["width"]):
        raise InputError(f"{wanted}, got {values.shape}")
    wrong = values[~(np.isfinite(values) & (values >= 0))]
    if len(wrong):
        raise InputError(f"{wanted}, finite and not negative, got {wrong[0]}")
    return values


def _as_float32(values: ArrayLike) -> Float32[np.ndarray, "..."]:
    """A value beyond float32 becomes an infinity, which the caller refuses."""
    with np.errstate(over="ignore"):
        return np.asarray(np.asarray(values), np.float32)


def load_sources(
    zoo: FeatureStore, model: str, datasets: Sequence[str]
) -> dict[str, Float32[np.ndarray, "_ D"]]:
    """Training features of a model by dataset.

    Args:
        zoo: that holds them.
        model: its name.
        datasets: their names.

    Returns:
        float32 [N, D] by dataset.

    Raises:
        InputError: a model without usable features on one of them.
    """
    return {dataset: zoo.training_features(model, dataset) for dataset in datasets}
