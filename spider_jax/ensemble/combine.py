"""The models of a zoo that are good together: chosen, weighed against one alone, and kept."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int, Shaped

from spider_jax.ensemble.calibration import Columns, answers_of, columns_of, row_losses
from spider_jax.ensemble.combination import Combination
from spider_jax.ensemble.feature_selection import SelectedFeatures, select_features
from spider_jax.ensemble.linear_head import FittedHead, fit_head, folds_of
from spider_jax.ensemble.members import Step, fewest_as_good, forward_choice
from spider_jax.ensemble.saved import Ensemble, JointHead, side_by_side
from spider_jax.errors import InputError
from spider_jax.heads.measures import TASK_MEASURES, measure_name, standard_error
from spider_jax.metrics.methods.logme import logme
from spider_jax.runtime.progress import progress
from spider_jax.storage.cache import ScoreCache, cache_key, default_folder, fingerprint
from spider_jax.zoo.splits import task_split
from spider_jax.zoo.store import FeatureStore, Skipped

AUTO = "auto:"
POOL = 3  # candidates for each member asked for: who is second alone need not help most
CACHED_NUMBERS = 1 << 20  # predictions of a member that are kept; more are computed anew
Method = Literal["auto", "average", "concatenate", "select"]
METHODS: tuple[Method, ...] = ("auto", "average", "concatenate", "select")
NESTED_FOLDS = 3  # in each of them features are selected anew


class _Rows(NamedTuple):
    """What is learned from, and what is measured on once.

    Attributes:
        kind: of the task.
        labels: of every row of the task.
        learn: training and validation rows.
        test: test rows; there may be none.
        Y: labels of the rows to learn from, as columns.
        fold: of these rows.
        note: where the split is from.
    """

    kind: str
    labels: Shaped[np.ndarray, "N ..."]
    learn: Int[np.ndarray, " n"]
    test: Int[np.ndarray, " m"]
    Y: Columns
    fold: Int[np.ndarray, " n"]
    note: str


def combine_zoo(
    zoo: FeatureStore,
    task: str,
    *,
    models: Sequence[str] = ("auto:3",),
    method: Method = "auto",
    budget: int | None = None,
    seed: int = 0,
    cache: bool | Path = True,
    show_progress: bool = False,
) -> Combination:
    """Choose models that are good together, and say whether they are better than one.

    Every candidate gets a calibrated linear head on its features. Members are added by the gain of
    the averaged predictions on rows that the heads have not seen (training and validation rows, in
    ten folds; a domain is never parted). How many, by which method, and whether to combine at all
    is decided on the same rows: the fewest within one standard error of the best. Test rows are
    read once, at the end.

    Args:
        zoo: features and labels.
        task: name.
        models: names of candidates, or "auto:K" for at most K members out of the 3 K best by LogME
            on the rows that are learned from.
        method: "average" predictions, "concatenate" features, "select" among concatenated features,
            or "auto", the better of the first two.
        budget: forward passes of a row at most, one a member.
        seed: of folds, and of a split where the zoo has none.
        cache: where left-out predictions of members are kept, so that an interrupted run goes on;
            True for the user's cache, False for nowhere.
        show_progress: a bar on stderr.

    Returns:
        The combination with its ensemble.

    Raises:
        InputError: an unknown task, model or method, a budget below 1, labels that cannot be used,
            or no model that can.
    """
    if method not in METHODS:
        raise InputError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if budget is not None and budget < 1:
        raise InputError(f"budget must be at least 1 forward pass, got {budget}")
    rows = _rows(zoo, task, seed)
    names, most, problems = _candidates(zoo, task, rows, models, show_progress)
    folder = default_folder("ensembles") if cache is True else None if cache is False else cache
    left_out: dict[str, Columns] = {}
    for name in progress(names, "heads", show_progress):
        try:
            left_out[name] = _left_out(_features(zoo, name, task, rows.learn), rows, folder)
        except InputError as error:
            problems.append(Skipped(name, task, str(error)))
    if not left_out:
        raise InputError(f"no model can be used on {task!r}: {problems[0]}")
    steps = forward_choice(left_out, rows.Y, rows.kind, most=most, budget=budget)
    chosen = _chosen(zoo, task, rows, steps, method)
    return _measured(zoo, task, rows, steps, chosen, left_out, tuple(problems))


def _rows(zoo: FeatureStore, task: str, seed: int) -> _Rows:
    split, kind, labels = task_split(zoo, task, seed=seed), zoo.kind(task), zoo.labels(task)
    learn = np.sort(np.concatenate([split.train, split.validation]))
    own = labels[learn]
    if (own == own[:1]).all():
        raise InputError(f"labels of {task!r} must vary in training and validation rows")
    classes = int(labels.max()) + 1 if kind == "classification" else 0
    domains = zoo.domains(task)
    groups = None if domains is None or len(set(domains[learn])) < 2 else domains[learn]
    fold = folds_of(kind, own, groups, seed)
    return _Rows(kind, labels, learn, split.test, columns_of(kind, own, classes), fold, split.note)


def _features(
    zoo: FeatureStore, model: str, task: str, rows: Int[np.ndarray, " n"]
) -> Float32[np.ndarray, "n D"]:
    return np.asarray(zoo.features(model, task)[rows], np.float32)


def _candidates(
    zoo: FeatureStore, task: str, rows: _Rows, models: Sequence[str], show_progress: bool
) -> tuple[list[str], int, list[Skipped]]:
    """Names, best ranked first where they are ranked here; members at most; who is left out."""
    problems = [p for p in zoo.problems_on(task) if p.model]
    if not any(name.startswith(AUTO) for name in models):
        broken = {p.model for p in problems}
        for name in models:
            if name not in zoo.models and name not in broken:
                shown = ", ".join(zoo.models[:12])
                raise InputError(f"models: unknown model {name!r}: {zoo.folder} has {shown}")
        names = list(dict.fromkeys(models))
        if not names:
            raise InputError("models must be names, or auto:K: none is given")
        return names, len(names), []
    count = models[0].removeprefix(AUTO)
    if len(models) > 1 or not count.isdecimal() or int(count) < 1:
        raise InputError(f"models must be names, or auto:K with K >= 1, got {list(models)}")
    scores = {}
    labels = rows.labels[rows.learn]
    for name in progress(zoo.models_of(task), "LogME", show_progress):
        try:
            scores[name] = logme(_features(zoo, name, task, rows.learn), labels)
        except InputError as error:
            problems.append(Skipped(name, task, str(error)))
    ranked = sorted(scores, key=lambda name: -scores[name])  # stable
    if not ranked:
        raise InputError(f"no model of {zoo.folder} can be used on {task!r}")
    return ranked[: POOL * int(count)], int(count), problems


def _left_out(features: Float32[np.ndarray, "n D"], rows: _Rows, folder: Path | None) -> Columns:
    """Predictions of every row by a head that has not seen it, from the cache where they are."""
    if rows.Y.size > CACHED_NUMBERS:
        folder = None
    key = "" if folder is None else fingerprint([features, rows.Y, rows.fold])
    kept, name = ScoreCache(folder, key), cache_key("left-out", 1, {"kind": rows.kind})
    found = kept.get(name, rows.Y.size)
    if found is None:
        found = fit_head(features, rows.Y, rows.fold, rows.kind).left_out.ravel()
        kept.put(name, found)
    return found.reshape(rows.Y.shape)


# ---- which method -------------------------------------------------------------------------------


class _Chosen(NamedTuple):
    """What is used.

    Attributes:
        method: "one model", "average", "concatenate" or "select".
        members: names.
        heads: fitted to all rows that may be learned from.
        left_out: predictions of these rows; None for a mean of the members'.
        selected: the features that are kept, where they are selected.
    """

    method: str
    members: tuple[str, ...]
    heads: tuple[JointHead, ...]
    left_out: Columns | None = None
    selected: SelectedFeatures | None = None


def _chosen(
    zoo: FeatureStore, task: str, rows: _Rows, steps: Sequence[Step], method: Method
) -> _Chosen:
    """The fewest members, by the method that is better, or the first alone."""
    count = fewest_as_good(steps)
    many = 1 + int(np.argmin([step.loss for step in steps]))
    names = tuple(step.model for step in steps)
    if method != "average" and many > 1:
        read = [_features(zoo, name, task, rows.learn) for name in names[:many]]
        joint = (_selected if method == "select" else _concatenated)(names[:many], read, rows)
        rival = steps[0].losses if method != "auto" else steps[many - 1].losses
        losses = row_losses(rows.kind, joint.left_out, rows.Y)  # type: ignore[arg-type]
        if _better(losses, steps[0].losses) and losses.mean() < rival.mean():
            return joint
        count = count if method == "auto" else 1
    members = names[:count]
    fitted = [
        fit_head(_features(zoo, name, task, rows.learn), rows.Y, rows.fold, rows.kind).head
        for name in members
    ]
    heads = (
        JointHead((m,), (h.weights,), h.bias, h.temperature)
        for m, h in zip(members, fitted, strict=True)
    )
    return _Chosen("average" if count > 1 else "one model", members, tuple(heads))


def _better(losses: Float64[np.ndarray, " n"], rival: Float64[np.ndarray, " n"]) -> bool:
    """Whether losses are smaller by more than one standard error of the difference."""
    fell = rival - losses
    return bool(fell.mean() > fell.std(ddof=1) / np.sqrt(len(fell)))


def _concatenated(
    names: tuple[str, ...], read: Sequence[Float32[np.ndarray, "n D"]], rows: _Rows
) -> _Chosen:
    """One head on the features of all, side by side."""
    found = fit_head(np.concatenate(read, 1), rows.Y, rows.fold, rows.kind)
    head = side_by_side(names, [F.shape[1] for F in read], *found.head)
    return _Chosen("concatenate", names, (head,), found.left_out)


def _selected(
    names: tuple[str, ...], read: Sequence[Float32[np.ndarray, "n D"]], rows: _Rows
) -> _Chosen:
    """One head on the columns that are kept; left-out rows take no part in the selection."""
    F = np.concatenate(read, 1)
    left_out = np.empty_like(rows.Y)
    part = rows.fold % min(NESTED_FOLDS, len(np.unique(rows.fold)))
    for one in np.unique(part):
        out = part == one
        _, head = _on_selected(F[~out], rows.Y[~out], rows.fold[~out], rows.kind)
        joint = side_by_side(("",), [F.shape[1]], *head.head)
        left_out[out] = Ensemble(rows.kind, (joint,), {}).predict({"": F[out]})
    found, head = _on_selected(F, rows.Y, rows.fold, rows.kind)
    joint = side_by_side(names, [f.shape[1] for f in read], *head.head)
    return _Chosen("select", names, (joint,), left_out, found)


def _on_selected(
    F: Float32[np.ndarray, "n D"], Y: Columns, fold: Int[np.ndarray, " n"], kind: str
) -> tuple[SelectedFeatures, FittedHead]:
    found = select_features(F, Y)
    fitted = fit_head(F[:, found.kept], Y, fold, kind)
    weights = np.zeros((F.shape[1], Y.shape[1]))
    weights[found.kept] = fitted.head.weights
    return found, fitted._replace(head=fitted.head._replace(weights=weights))


# ---- how good it is -----------------------------------------------------------------------------


def _measured(
    zoo: FeatureStore,
    task: str,
    rows: _Rows,
    steps: tuple[Step, ...],
    chosen: _Chosen,
    left_out: Mapping[str, Columns],
    problems: tuple[Skipped, ...],
) -> Combination:
    measure = measure_name(task, rows.kind, zoo.task_info(task).get("measure"))
    truth = rows.labels[rows.learn]

    def score(predictions: Columns, truth: Shaped[np.ndarray, "n ..."]) -> float:
        answers = answers_of(rows.kind, predictions, truth)
        return TASK_MEASURES[measure].score(truth, answers)

    ours = chosen.left_out
    if ours is None:
        ours = np.mean([left_out[name] for name in chosen.members], axis=0)
    first = steps[0].model
    validation = score(ours, truth), score(left_out[first], truth)
    about = {
        "task": task,
        "method": chosen.method,
        "measure": measure,
        "validation": validation[0],
        "members": list(chosen.members),
    }
    ensemble = Ensemble(rows.kind, chosen.heads, about)
    test: tuple[float, ...] = ()
    error = None
    if len(rows.test):
        truth = rows.labels[rows.test]
        given = {name: _features(zoo, name, task, rows.test) for name in chosen.members}
        said = ensemble.predict(given)
        alone = said
        if chosen.method != "one model":
            read = _features(zoo, first, task, rows.learn)
            head = fit_head(read, rows.Y, rows.fold, rows.kind).head
            one = JointHead((first,), (head.weights,), head.bias, head.temperature)
            alone = Ensemble(rows.kind, (one,), {}).predict({first: given[first]})
        test = score(said, truth), score(alone, truth)
        error = standard_error(measure, truth, answers_of(rows.kind, said, truth))
    return Combination(
        task,
        chosen.method,
        len(chosen.members),
        measure,
        steps,
        validation,
        test,
        error,
        ensemble,
        chosen.selected,
        (rows.note,),
        problems,
    )
