"""What a trained spider expects of the models of a comparison, before one of them is looked at."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spider_jax.belief.belief import Belief
from spider_jax.belief.explanation import Stage
from spider_jax.belief.gaussian import Standings
from spider_jax.choose.candidates import Candidate, read_candidates
from spider_jax.choose.features import Features
from spider_jax.choose.usual_evidence import usual_evidence
from spider_jax.errors import InputError
from spider_jax.extract.target_task import EXTRACTOR, refuse_other_facts
from spider_jax.spider.prior_stages import prior_stages
from spider_jax.spider.spider import Spider
from spider_jax.tasks.tokens import task_tokens
from spider_jax.zoo.store import FeatureStore


class Start(NamedTuple):
    """What is known before a model is looked at.

    Attributes:
        belief: over the candidates.
        before: how it came about; () where it is one step.
        note: for the reader.
    """

    belief: Belief
    before: tuple[Stage, ...]
    note: str


def spider_start(
    given: Spider | str | Path,
    extractor: str | None,
    candidates: Sequence[Candidate],
    features: Features,
) -> Start:
    """The belief of a spider, over the candidates: the extractor runs on the data first.

    A candidate that the spider does not know is expected as any model: N(0, 1) in standard units.

    Args:
        given: the spider, or its folder.
        extractor: spec of its extractor, where that is no candidate.
        candidates: the models.
        features: of the data.

    Returns:
        The belief, how it came about, and a note.

    Raises:
        InputError: a spider that knows none of the candidates, or whose extractor cannot be run.
    """
    spider = given if isinstance(given, Spider) else Spider.load(given)
    names = [one.name for one in candidates]
    if not {*names} & {*spider.models}:
        raise InputError(
            f"the spider knows none of the models {', '.join(names[:3])}: name them as it does, "
            f"{spider.models[0]}=READER:WHAT"
        )
    psi = str(spider.description.extractor["name"])
    if not features.make(_extractor(psi, extractor, candidates)):
        raise InputError(f"the spider's extractor fails: {features.result.problems[-1]}")
    zoo, task = FeatureStore(features.zoo), features.data.name
    facts = spider.description.training.get("extractor_facts") or {}
    refuse_other_facts(psi, zoo.model_info(psi), facts, "the spider's training")
    tokens = task_tokens(zoo.training_features(psi, task), zoo.training_labels(task), extractor=psi)
    whole = spider.belief(tokens, task=task)
    evidence = whole.evidence if whole.evidence.noise is not None else usual_evidence()
    prior = _of_candidates(whole, names)
    stages = prior_stages(spider, tokens, whole)
    before = tuple(_stage_of(stage, whole, names) for stage in stages)
    strange = [name for name in names if name not in spider.models]
    said = f"; {', '.join(strange[:5])} it does not know: expected as any model" * bool(strange)
    note = f"before the metrics stands what a spider of {len(spider.models)} models expects{said}"
    return Start(Belief(tuple(names), prior, evidence, whole.explained, task), before, note)


def _extractor(name: str, given: str | None, candidates: Sequence[Candidate]) -> Candidate:
    """How the extractor runs: as the candidate of its name, or as it is given."""
    among = [one for one in candidates if one.name == name]
    if among:
        return among[0]
    spec = given or os.environ.get(EXTRACTOR)
    if spec is None:
        raise InputError(
            f"the spider knows tasks by {name!r}, which is none of the models: say how to run it, "
            f"--extractor {name}=READER:WHAT, or put that into {EXTRACTOR}"
        )
    (found,) = read_candidates([spec])
    if found.name != name:
        raise InputError(
            f"the extractor must be {name!r}, got {found.name!r}: if it is that model, name it "
            f"{name}={found.spec}"
        )
    return found


def _of_candidates(whole: Belief, names: Sequence[str]) -> Standings:
    """The spider's standings of the models that it knows, N(0, 1) of the others."""
    prior, M = whole.prior, len(names)
    known = [i for i, name in enumerate(names) if name in set(whole.names)]
    some = prior.of(whole.positions([names[i] for i in known]))
    mean, own = np.zeros(M), np.full(M, 1 / prior.scale)
    loadings = np.zeros((M, prior.loadings.shape[1]))
    mean[known], loadings[known], own[known] = some.mean, some.loadings, some.own
    return Standings(mean, loadings, own, prior.scale)


def _stage_of(stage: Stage, whole: Belief, names: Sequence[str]) -> Stage:
    """A stage of the spider, of the candidates; the others are N(0, 1) at every stage."""
    known = {i: whole.names.index(name) for i, name in enumerate(names) if name in whole.names}
    mean, variance = np.zeros(len(names)), np.ones(len(names))
    mean[list(known)] = stage.mean[list(known.values())]
    variance[list(known)] = stage.variance[list(known.values())]
    parts = stage.parts
    if parts is None:
        return Stage(stage.source, mean, variance)
    return Stage(stage.source, mean, variance, lambda i: parts(known[i]) if i in known else ())
