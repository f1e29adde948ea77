"""Evaluation results in the front matter of Hugging Face model cards: `model-index`."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spider_jax.errors import InputError, one_line
from spider_jax.records.importers.cells import read_number
from spider_jax.records.importers.choice import Candidate, choose
from spider_jax.records.importers.gathered import (
    Gathered,
    ImportOptions,
    fact_text,
    files_below,
    first_facts,
)
from spider_jax.runtime.optional import need
from spider_jax.storage.text_files import open_text

FACTS = ("license", "base_model", "library_name", "language", "pipeline_tag")
MOST_CHARACTERS = 8_000_000  # of a front matter; those of the longest public cards have a tenth


def import_model_cards(sources: Sequence[Path], options: ImportOptions) -> Gathered:
    """Results that model cards state of their models.

    The name of a model is that of its place in the hub's cache (models--org--name), else what its
    `model-index` says. A task is the dataset's name, with its configuration where the name lacks
    it. Where a dataset has several metrics or splits, it takes what most models have.

    Args:
        sources: README.md files, or folders that hold them.
        options: `metric` names the metric to take, `model` the model of a single card.

    Returns:
        Results; a card that cannot be read, or a value that is no number, is a problem.

    Raises:
        InputError: PyYAML is missing.
    """
    need("yaml", "PyYAML", "reading model cards")
    gathered = Gathered()
    candidates: list[Candidate] = []
    for path in files_below(sources, (".md",), gathered.problems):
        try:
            matter = _front_matter(path)
        except InputError as error:
            gathered.problems.append(str(error))
            continue
        for entry in _objects(matter.get("model-index")):
            model = options.model or _model_of(path) or fact_text(entry.get("name"))
            if not model:
                gathered.problems.append(f"{path} does not name its model: name it by --model")
                continue
            gathered.model_facts.setdefault(model, first_facts(matter, FACTS))
            candidates += _candidates(path, model, entry, gathered)
    choose(candidates, options.metric, gathered)
    return gathered


def _front_matter(path: Path) -> Mapping[str, Any]:
    """The YAML between the first two lines of three dashes; aliases are refused."""
    with open_text(path) as text:
        if text.readline().strip() != "---":
            raise InputError(f"{path} has no front matter: a card begins with a line of ---")
        lines, size = [], 0
        for line in text:
            if line.rstrip() == "---":
                break
            lines.append(line)
            size += len(line)
            if size > MOST_CHARACTERS:
                raise InputError(f"{path}: its front matter has more than {MOST_CHARACTERS} signs")
        else:
            raise InputError(f"{path}: its front matter is not closed by a line of ---")
    content = _safe_load("".join(lines), path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: its front matter must be a mapping")
    return content


def _safe_load(text: str, path: Path) -> Any:
    """Plain values only. An alias could make a small text a huge one, and no card needs any."""
    yaml = need("yaml", "PyYAML", "reading model cards")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text, Loader=loader)):
            raise InputError(f"{path}: its front matter has a YAML alias, which is not followed")
        return yaml.load(text, Loader=loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: its front matter is no YAML: {one_line(error)}") from None


def _model_of(path: Path) -> str:
    """org/name where the card lies in the hub's cache, else ""."""
    for part in reversed(path.absolute().parts):
        if part.startswith("models--"):
            return part.removeprefix("models--").replace("--", "/", 1)
    return ""


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _candidates(
    path: Path, model: str, entry: Mapping[str, Any], gathered: Gathered
) -> Iterator[Candidate]:
    for result in _objects(entry.get("results")):
        dataset = result.get("dataset")
        dataset = dataset if isinstance(dataset, dict) else {}
        task = _task_name(dataset)
        if not task:
            gathered.problems.append(f"{path}: a result of {model!r} names no dataset")
            continue
        kind = result.get("task")
        if isinstance(kind, dict):
            facts = gathered.task_facts.setdefault(task, {})
            facts.setdefault("type", fact_text(kind.get("type")))
        for metric in _objects(result.get("metrics")):
            name = fact_text(metric.get("type")) or fact_text(metric.get("name"))
            try:
                value = read_number(fact_text(metric.get("value")))
            except ValueError:
                gathered.problems.append(
                    f"{path}: {name} of {model!r} on {task!r} must be a number, got "
                    f"{fact_text(metric.get('value'))[:40]!r}"
                )
                continue
            if not math.isnan(value):
                yield Candidate(model, task, name, _detail(dataset), value, math.nan)


def _task_name(dataset: Mapping[str, Any]) -> str:
    name = fact_text(dataset.get("name")) or fact_text(dataset.get("type"))
    config = fact_text(dataset.get("config"))
    given = not config or config == "default" or config.casefold() in name.casefold()
    return name if given else f"{name} ({config})"


def _detail(dataset: Mapping[str, Any]) -> str:
    arguments = dataset.get("args")
    shots = arguments.get("num_few_shot") if isinstance(arguments, dict) else None
    parts = (fact_text(dataset.get("split")), f"{shots}-shot" if shots is not None else "")
    return ", ".join(filter(None, parts))
