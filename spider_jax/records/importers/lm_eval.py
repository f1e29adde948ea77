"""Results of lm-evaluation-harness: results_<date>.json, one file a run of a model."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spider_jax.errors import InputError
from spider_jax.records.importers.choice import Candidate, choose
from spider_jax.records.importers.gathered import (
    Gathered,
    ImportOptions,
    fact_text,
    files_below,
)
from spider_jax.records.importers.json_files import entries, plain_number, read_object

NO_METRICS = frozenset(("alias", "sample_len", "sample_count", "samples", "name", "version"))


def import_lm_eval(sources: Sequence[Path], options: ImportOptions) -> Gathered:
    """Results of lm-evaluation-harness.

    Of two runs of a model on a task the later one wins. A group whose tasks are in the same file is
    left out, because it is their mean. Where tasks have several metrics, filters or numbers of
    shots, each takes what most models have.

    Args:
        sources: files, or folders that hold them.
        options: `metric` names the one to take, `model` the model of all files.

    Returns:
        Results with their standard errors; a broken file is a problem.
    """
    gathered = Gathered()
    runs = []
    for path in files_below(sources, (".json",), gathered.problems):
        try:
            content = read_object(path)
            if not entries(content, "results"):
                raise InputError(f"{path} has no results: it is no file of lm-evaluation-harness")
            model = options.model or _model(content, path)
            runs.append((_date(content, path), path, content, model))
        except InputError as error:
            gathered.problems.append(str(error))
    candidates: list[Candidate] = []
    for _, _, content, model in sorted(runs, key=lambda run: run[:2], reverse=True):
        facts = gathered.model_facts.setdefault(model, {})
        parameters = fact_text(entries(content, "config").get("model_num_parameters"))
        facts |= {"parameters": parameters} if parameters and "parameters" not in facts else {}
        candidates += _candidates(model, content, gathered)
    choose(candidates, options.metric, gathered)
    return gathered


def _date(content: Mapping[str, Any], path: Path) -> tuple[float, str]:
    return plain_number(content.get("date")) or 0.0, path.name


def _model(content: Mapping[str, Any], path: Path) -> str:
    """The name of the model: of its own entry, of its arguments, or as lighteval writes it."""
    for name in (content.get("model_name"), entries(content, "config_general").get("model_name")):
        if isinstance(name, str) and name:
            return name
    arguments = entries(content, "config").get("model_args")
    if isinstance(arguments, str):
        pairs = (argument.partition("=") for argument in arguments.split(","))
        arguments = {name.strip(): value.strip() for name, _, value in pairs}
    for name in ("pretrained", "model", "path"):
        if isinstance(arguments, dict) and isinstance(arguments.get(name), str) and arguments[name]:
            return str(arguments[name])
    raise InputError(f"{path} does not name its model: name it by --model")


def _candidates(model: str, content: Mapping[str, Any], gathered: Gathered) -> Iterator[Candidate]:
    results = entries(content, "results")
    groups = entries(content, "group_subtasks")
    shots, better = entries(content, "n-shot"), entries(content, "higher_is_better")
    for task, metrics in results.items():
        parts = groups.get(task)
        if task == "all" or (isinstance(parts, list) and any(part in results for part in parts)):
            note = f"{task!r} is a mean of other tasks and is left out"
            gathered.notes += [note] if note not in gathered.notes else []
            continue
        if not isinstance(metrics, dict):
            gathered.problems.append(f"{model!r} on {task!r}: its results are no object")
            continue
        larger = entries(better, task)
        for metric, way, value, stderr in _metrics(metrics):
            detail = [f"{shots[task]}-shot"] if plain_number(shots.get(task)) is not None else []
            detail += [way] if way not in ("", "none") else []
            words = {"True": "larger", "False": "smaller"}
            direction = words.get(str(larger.get(metric)), "")
            yield Candidate(model, task, metric, ", ".join(detail), value, stderr, direction)


def _metrics(metrics: Mapping[str, Any]) -> Iterator[tuple[str, str, float, float]]:
    """(metric, filter, value, stderr) of a task; "acc,none" and plain "acc" are both read."""
    for key, entry in metrics.items():
        metric, _, way = key.partition(",")
        value = plain_number(entry)
        if metric in NO_METRICS or metric.endswith("_stderr") or value is None:
            continue
        comma = "," if "," in key else ""
        stderr = plain_number(metrics.get(f"{metric}_stderr{comma}{way}"))
        yield metric, way, value, math.nan if stderr is None else stderr
