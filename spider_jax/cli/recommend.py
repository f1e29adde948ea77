"""`next`, and `rank` and `records fit` on priors from records."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from spider_jax.cli.output import DONE, Flat, Messages, Output, report_skipped
from spider_jax.errors import InputError
from spider_jax.ranking.ranking import Ranking

Prior = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="PRIOR")]
Folders = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER...")]


def fit(
    folders: Folders,
    out: Path,
    groups: str | None = None,
    hold_out: tuple[str, ...] = (),
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Learn a prior over models from records of past results.

    Args:
        folders: records folders or zoos; of two results for one pair the first counts.
        out: folder for the prior.
        groups: column of the tasks that names those held out together; default: siblings.
        hold_out: tasks whose results are not read.
        messages: what goes to stderr.
    """
    messages.start()
    from spider_jax.recommend.records_prior import RecordsPrior
    from spider_jax.recommend.saved_prior import refuse_foreign_prior, save_prior
    from spider_jax.records.table import Records

    refuse_foreign_prior(out)  # before the work, not after it
    if not folders:
        raise InputError("records fit needs at least one FOLDER")
    records = Records.read(*folders)
    save_prior(RecordsPrior.fit(records, hold_out=hold_out, groups=groups), out)
    print(
        f"{len(records.models)} models, {len(records.tasks)} tasks, {len(records)} results, "
        f"written to {out}"
    )
    return report_skipped(records.problems)


def facts_of(given: Sequence[str]) -> dict[str, str]:
    """COLUMN=TEXT as facts.

    Args:
        given: from the command line.

    Raises:
        InputError: one without "=".
    """
    for text in given:
        if "=" not in text:
            raise InputError(f"--fact must be COLUMN=TEXT, got {text!r}")
    return dict(text.split("=", 1) for text in given)


def rank_prior(folder: Path, describe: str, like: Sequence[str], fact: Sequence[str]) -> Ranking:
    """The ranking of a prior for a described task.

    Args:
        folder: of the prior.
        describe: the task, in words.
        like: known tasks that it is like.
        fact: COLUMN=TEXT.
    """
    from spider_jax.recommend.saved_prior import load_prior

    prior = load_prior(folder)
    return prior.belief(describe, facts=facts_of(fact), like=like, task=describe or None).rank()


def next_(
    prior: Prior,
    describe: str = "",
    like: tuple[str, ...] = (),
    fact: tuple[str, ...] = (),
    results: Path | None = None,
    batch: int = 1,
    goal: Literal["best", "order"] = "best",
    costs: Path | None = None,
    budget: float = float("inf"),
    smaller: bool = False,
    enough: float = 0.1,
    state: Path | None = None,
    output: Annotated[Output, Flat] = Output(),
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Whom to evaluate next, how sure the best so far is, and whether to stop.

    Args:
        prior: folder that `records fit` wrote.
        describe: the task, in words.
        like: known tasks that it is like.
        fact: COLUMN=TEXT of the task, as the table of tasks has it.
        results: CSV of model, value and maybe stderr; a word such as "failed" is a failed run.
        batch: runs to propose.
        goal: find the best model, or know the order of all.
        costs: CSV of model and cost: gain is weighed by it.
        budget: what may be spent in all.
        smaller: smaller results are better.
        enough: expected loss at which to stop, in standard units.
        state: JSON that keeps the search; one that exists goes on, and is told the results.
        output: how data is written.
        messages: what goes to stderr.
    """
    messages.start()
    from spider_jax.recommend.report import NextRuns
    from spider_jax.recommend.run_table import read_costs, read_runs
    from spider_jax.recommend.saved_prior import load_prior
    from spider_jax.recommend.search import RunSearch

    known = load_prior(prior)
    if state is not None and state.exists():
        if describe or like or fact:
            raise InputError(
                f"{state} says what the task is: leave --describe, --like and --fact out, or name "
                "another --state"
            )
        search = RunSearch.load(state, known)
    else:
        search = RunSearch(
            known, describe, facts_of(fact), like, smaller, goal, budget=budget, enough=enough
        ).with_costs({} if costs is None else read_costs(costs))
    if results is not None:
        search = search.tell_all(*read_runs(results, frozenset(known.models)))
    if state is not None:
        search.save(state)
    output.write(NextRuns.of(search, batch))
    return DONE
