"""mteb's results: <model>/<revision>/<Task>.json beside a model_meta.json."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from spider_jax.errors import InputError
from spider_jax.records.importers.gathered import (
    Gathered,
    ImportOptions,
    files_below,
    first_facts,
)
from spider_jax.records.importers.json_files import entries, plain_number, read_object
from spider_jax.records.measures import find_measure

META = "model_meta.json"
FACTS = (
    *("n_parameters", "embed_dim", "max_tokens", "release_date", "languages", "modalities"),
    *("framework", "license", "open_weights", "use_instructions", "adapted_from"),
    "is_cross_encoder",
)
UNKNOWN_REVISIONS = ("external", "no_revision_available", "no_revision")


class _Scores(NamedTuple):
    """One result file: main score by language subset."""

    model: str
    revision: str
    task: str
    split: str
    subsets: dict[str, float]


@dataclass
class _Found:
    scores: list[_Scores] = field(default_factory=list)
    measures: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))


def import_mteb(sources: Sequence[Path], options: ImportOptions) -> Gathered:
    """Main scores of mteb's result files.

    Of a model the revision with most results wins, one without a known revision comes last. Split:
    test, else the first. A score is the mean over the language subsets that most models have; a
    model that lacks one of these is left out.

    Args:
        sources: folders as the public results repository has them, or parts of one.
        options: of all imports.

    Returns:
        Results; a broken file, or one of the format before main scores, is a problem.
    """
    gathered, found = Gathered(), _Found()
    for path in files_below(sources, (".json",), gathered.problems):
        try:
            _take(path, found, gathered)
        except InputError as error:
            gathered.problems.append(str(error))
    by_task: dict[str, list[_Scores]] = {}
    for one in _of_best_revision(found.scores):
        by_task.setdefault(one.task, []).append(one)
    for task, scores in by_task.items():
        _means(task, scores, gathered)
        measure = found.measures[task].most_common(1)
        gathered.task_facts.setdefault(task, {})["measure"] = measure[0][0] if measure else ""
    return gathered


def _take(path: Path, found: _Found, gathered: Gathered) -> None:
    content = read_object(path)
    if path.name == META:
        name = content.get("name")
        if isinstance(name, str) and name:
            facts = gathered.model_facts.setdefault(name, {})
            facts |= {c: t for c, t in first_facts(content, FACTS).items() if c not in facts}
        return
    scores = entries(content, "scores")
    task = content.get("task_name")
    if not scores or not isinstance(task, str):
        raise InputError(f"{path} has no task_name and scores: it is older than mteb 1.11")
    split = "test" if "test" in scores else next(iter(scores))
    subsets: dict[str, float] = {}
    rows = scores[split] if isinstance(scores[split], list) else []
    for row in rows:
        value = plain_number(row.get("main_score")) if isinstance(row, dict) else None
        if value is not None:
            subsets.setdefault(str(row.get("hf_subset", "default")), value)
            _count_measure(row, value, found.measures[task])
    if not subsets:
        raise InputError(f"{path} has no main_score on its split {split!r}")
    model = _model_of(path)
    found.scores.append(_Scores(model, path.parent.name, task, split, subsets))


def _count_measure(row: Mapping[str, Any], value: float, counter: Counter[str]) -> None:
    """Count the metrics that the main score may be: those of the same value with a known name."""
    for name, other in row.items():
        if name != "main_score" and plain_number(other) == value and find_measure(name):
            counter[name] += 1


def _model_of(path: Path) -> str:
    """What model_meta.json beside the file says, else the name of the folder above the revision."""
    meta = path.parent / META
    if meta.is_file() and not meta.is_symlink():
        try:
            name = read_object(meta).get("name")
        except InputError:  # named by itself as a problem
            name = None
        if isinstance(name, str) and name:
            return name
    return path.parent.parent.name.replace("__", "/", 1)


def _of_best_revision(scores: Sequence[_Scores]) -> list[_Scores]:
    count = Counter((s.model, s.revision) for s in scores)

    def order(s: _Scores) -> tuple[bool, int, str]:
        return s.revision in UNKNOWN_REVISIONS, -count[s.model, s.revision], s.revision

    best: dict[tuple[str, str], _Scores] = {}
    for one in sorted(scores, key=order):
        best.setdefault((one.model, one.task), one)
    return [best[pair] for pair in dict.fromkeys((s.model, s.task) for s in scores)]


def _means(task: str, scores: Sequence[_Scores], gathered: Gathered) -> None:
    split = Counter(s.split for s in scores).most_common(1)[0][0]
    sets = Counter(frozenset(s.subsets) for s in scores if s.split == split)
    wanted = max(sets, key=lambda subsets: (sets[subsets], len(subsets)))
    out = 0
    for s in scores:
        if s.split == split and wanted <= set(s.subsets):
            value = math.fsum(s.subsets[name] for name in wanted) / len(wanted)
            gathered.rows.append((s.model, task, value, math.nan))
        else:
            out += 1
    if out:
        gathered.problems.append(
            f"task {task!r}: {out} of {len(scores)} models have another split or lack one of its "
            f"{len(wanted)} language subsets, and are left out"
        )
    gathered.task_facts.setdefault(task, {}).update(split=split, subsets=str(len(wanted)))
