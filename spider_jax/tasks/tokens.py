"""Tasks as tokens: class centres of the general extractor, and meta-tasks mixed from classes."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spider_jax.errors import InputError
from spider_jax.metrics.shared.inputs import check_labels, finite_features
from spider_jax.zoo.store import FeatureStore


def task_tokens(features: ArrayLike, labels: ArrayLike) -> NDArray[np.float32]:
    """Class centres mu_c = mean of the features of class c: a task as a set of tokens.

    Args:
        features: [N, D] the general extractor's raw features. labels: [N] int.

    Returns:
        float32 [C, D], classes in sorted order of their labels.

    Raises:
        InputError: shapes that do not match, values that are not finite, one class only.
    """
    F = finite_features(features)
    return class_centres(F, check_labels(labels, len(F)))


def task_deviations(features: ArrayLike, labels: ArrayLike) -> NDArray[np.float32]:
    """How the features of a task spread: [sd over all rows; sd within classes] of each feature.

    Beside the class centres it says how far apart classes lie for their size, which tells models
    apart that centres alone do not.

    Args:
        features: [N, D] the general extractor's raw features. labels: [N] int.

    Returns:
        float32 [2, D].

    Raises:
        InputError: as `task_tokens`.
    """
    F = np.asarray(finite_features(features), np.float64)
    y = check_labels(labels, len(F))
    within = F - class_centres(F, y)[y]
    return np.asarray(np.stack([F.std(0), np.sqrt((within**2).mean(0))]), np.float32)


def class_centres(
    features: NDArray[np.floating], labels: NDArray[np.integer]
) -> NDArray[np.float32]:
    """[C, D] means of the rows of each class 0..C-1 (segment sums in float64)."""
    members = np.eye(int(labels.max()) + 1)[labels]
    return np.asarray(members.T @ features / members.sum(0)[:, None], np.float32)


def zoo_tokens(zoo: FeatureStore, task: str, extractor: Mapping[str, Any]) -> NDArray[np.float32]:
    """`task_tokens` of a task of a zoo: class centres of this extractor on its training rows.

    Raises:
        InputError: unknown task, or a zoo with another extractor.
    """
    return task_tokens(*_of_extractor(zoo, task, extractor))


def zoo_deviations(
    zoo: FeatureStore, task: str, extractor: Mapping[str, Any]
) -> NDArray[np.float32]:
    """`task_deviations` of a task of a zoo; arguments and errors as `zoo_tokens`."""
    return task_deviations(*_of_extractor(zoo, task, extractor))


def _of_extractor(
    zoo: FeatureStore, task: str, extractor: Mapping[str, Any]
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Training rows and labels of a task, of the extractor that a spider needs."""
    check_extractor(zoo, extractor)
    return zoo.training_features(extractor["name"], task), zoo.training_labels(task)


def check_extractor(zoo: FeatureStore, extractor: Mapping[str, Any]) -> None:
    """Refuse a zoo that names another extractor than a spider was trained with."""
    if zoo.extractor is not None and zoo.extractor != extractor["name"]:
        raise InputError(
            f"{zoo.folder} has extractor {zoo.extractor!r}, the spider needs "
            f"{extractor['name']!r}: export that extractor's features"
        )


def checked_deviations(
    deviations: Sequence[ArrayLike] | None, tasks: int, extractor: Mapping[str, Any]
) -> NDArray[np.float32] | None:
    """`task_deviations` of so many tasks as float32 [T, 2, D] of this extractor; None stays None.

    Raises:
        InputError: another shape, not finite, or negative.
    """
    if deviations is None:
        return None
    wanted = (2, extractor["width"])
    arrays = [np.asarray(array, np.float32) for array in deviations]
    shapes = [array.shape for array in arrays]
    sound = all(np.isfinite(array).all() and (array >= 0).all() for array in arrays)
    if shapes != [wanted] * tasks or not sound:
        raise InputError(
            f"deviations must be task_deviations of {extractor['name']!r}, {tasks} of {wanted}, "
            f"finite and not negative, got {', '.join(map(str, shapes))}"
        )
    return np.stack(arrays)


def check_tokens(tokens: ArrayLike, extractor: Mapping[str, Any], what: str) -> NDArray[np.float32]:
    """Tokens as float32 [C, D] of this extractor (its name and width); `what` they are called.

    Raises:
        InputError: no array of numbers, another width, no class, or not finite.
    """
    wanted = f"[C, {extractor['width']}] class centres of {extractor['name']!r}"
    try:
        values = np.asarray(tokens)
        if values.dtype != np.float32:
            with np.errstate(over="ignore"):  # what float32 cannot hold is found below
                values = values.astype(np.float32)
    except (TypeError, ValueError):
        raise InputError(f"{what} must be {wanted}, got no array of numbers") from None
    if values.ndim != 2 or values.shape[1] != extractor["width"] or len(values) == 0:
        raise InputError(f"{what} must be {wanted}, got {values.shape}")
    if not np.isfinite(values).all():
        raise InputError(f"{what} must be finite, got NaN or infinity")
    return values


def load_sources(
    zoo: FeatureStore, model: str, datasets: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    """Training features of a model by dataset."""
    return {dataset: zoo.training_features(model, dataset) for dataset in datasets}
