"""`--explain MODEL`: why a model stands where it stands, and `explain` of a file alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from spider_jax.belief.explanation import Explanation
from spider_jax.belief.explanation import explain as explain_belief
from spider_jax.cli.output import Flat, Messages, Output
from spider_jax.cli.recommend import facts_of
from spider_jax.errors import InputError

RankingFile = Annotated[Path, Positional, arg(metavar="FILE")]
Model = Annotated[str, Positional, arg(metavar="MODEL")]
KINDS = ("ranking", "rankings")


def explain(
    file: RankingFile,
    model: Model,
    task: str | None = None,
    output: Annotated[Output, Flat] = Output(),
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Say where a model stands in a ranking that was written, and what more it takes to say why.

    `rank --explain MODEL` says more: it has what made the ranking.

    Args:
        file: JSON of a ranking or of several (`rank --json`, or to_json in Python).
        model: its name.
        task: which ranking, of several.
        output: how data is written.
        messages: what goes to stderr.
    """
    messages.start()
    from spider_jax.facts.short_list import Ranking
    from spider_jax.ranking.ranking import Rankings
    from spider_jax.storage.files import read_json

    kind = str(read_json(file, None).get("format")).removeprefix("spider_jax/")
    if kind not in KINDS:
        raise InputError(f"{file} must hold a ranking, as `rank --json` writes it, got {kind}")
    if kind == "ranking":
        found = [Ranking.from_json(file)]
    else:
        found = list(Rankings.from_json(file).rankings)
    chosen = [one for one in found if task in (None, one.task)]
    if len(chosen) != 1:
        tasks = ", ".join(str(one.task) for one in found)
        raise InputError(f"--task must name one of the rankings of {file}: {tasks}; got {task}")
    return output.write(chosen[0].explain(model))


def explain_prior(
    folder: Path, model: str, describe: str, like: Sequence[str], fact: Sequence[str]
) -> Explanation:
    """Why a model stands where `rank_prior` puts it.

    Args:
        folder: of the prior.
        model: its name.
        describe: the task, in words.
        like: known tasks that it is like.
        fact: COLUMN=TEXT.
    """
    from spider_jax.recommend.saved_prior import load_prior

    prior = load_prior(folder)
    facts = facts_of(fact, prior.words.facts)
    belief = prior.belief(describe, facts=facts, like=like, task=describe or None)
    return explain_belief(belief, model, prior.stages(describe, facts=facts, like=like))
