"""`--explain MODEL`: why a model stands where it stands, instead of the table."""

from collections.abc import Sequence
from pathlib import Path

from spider_jax.belief.explanation import Explanation, explain
from spider_jax.cli.recommend import facts_of


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
    return explain(belief, model, prior.stages(describe, facts=facts, like=like))
