"""`next`, and `rank` and `records fit` on priors from records."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import arg

from spider_jax.cli.facts import FactOptions
from spider_jax.cli.output import DONE, Flat, Messages, Output, report_skipped, say
from spider_jax.errors import InputError
from spider_jax.ranking.ranking import Ranking

if TYPE_CHECKING:
    from spider_jax.facts.fact_table import FactTable
    from spider_jax.facts.verdict import Verdict
    from spider_jax.recommend.report import NextRuns
    from spider_jax.recommend.search import RunSearch

Goal = Literal["best", "order"]
Direction = Literal["larger", "smaller"]
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
    say(
        f"{len(records.models)} models, {len(records.tasks)} tasks, {len(records)} results, "
        f"written to {out}"
    )
    return report_skipped(records.problems)


def facts_of(given: Sequence[str], columns: Collection[str]) -> dict[str, str]:
    """COLUMN=TEXT as facts.

    Args:
        given: from the command line.
        columns: that the prior's tasks have.

    Raises:
        InputError: one without "=", an unknown column, or a column twice.
    """
    found: dict[str, str] = {}
    for text in given:
        column, equals, said = text.partition("=")
        if not equals:
            raise InputError(f"--fact must be COLUMN=TEXT, got {text!r}")
        if column not in columns:
            known = ", ".join(sorted(columns)) or "no columns: use --describe"
            raise InputError(f"--fact names the column {column!r}; the prior's tasks have {known}")
        if column in found:
            raise InputError(f"--fact gives {column!r} twice: keep one, its words together")
        found[column] = said
    return found


def refuse_with_prior(folder: Path, given: Mapping[str, object]) -> None:
    """Refuse options of `rank` that are of a spider.

    Args:
        folder: of the prior.
        given: option -> what was given; None where nothing was.

    Raises:
        InputError: one was given.
    """
    bad = [option for option, value in given.items() if value is not None]
    if bad:
        raise InputError(
            f"{folder} is a prior from records, which takes no {' and no '.join(bad)}: say the "
            "task by --describe, --like or --fact"
        )


def rank_prior(
    folder: Path, describe: str, like: Sequence[str], fact: Sequence[str], about: FactOptions
) -> Ranking:
    """The ranking of a prior for a described task.

    Args:
        folder: of the prior.
        describe: the task, in words.
        like: known tasks that it is like.
        fact: COLUMN=TEXT.
        about: facts of the models.
    """
    from spider_jax.recommend.saved_prior import load_prior

    prior = load_prior(folder)
    facts = facts_of(fact, prior.words.facts)
    ranking = prior.belief(describe, facts=facts, like=like, task=describe or None).rank()
    table = about.table(ranking.names, prior)
    return about.shortlist(ranking, table, prior.task_facts(describe, facts))


def next_(
    prior: Prior,
    describe: str = "",
    like: tuple[str, ...] = (),
    fact: tuple[str, ...] = (),
    results: Path | None = None,
    batch: int = 4,
    goal: Annotated[Goal | None, arg(help_behavior_hint="(default: best)")] = None,
    costs: Path | None = None,
    budget: Annotated[float | None, arg(help_behavior_hint="(default: no limit)")] = None,
    direction: Annotated[
        Direction | None, arg(help_behavior_hint="(default: as on similar tasks)")
    ] = None,
    enough: Annotated[float | None, arg(help_behavior_hint="(default: 0.1)")] = None,
    parts: bool = False,
    probe: Annotated[tuple[Path, str] | None, arg(metavar="ZOO TASK")] = None,
    state: Path | None = None,
    explain: str | None = None,
    about: Annotated[FactOptions, Flat] = FactOptions(),
    output: Annotated[Output, Flat] = Output(),
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Whom to evaluate next, how sure the best so far is, and whether to stop.

    With --state the search goes on where it was: what it heard is known, its task stays, and
    --goal, --costs, --budget and --enough may be given anew.

    Args:
        prior: folder that `records fit` wrote.
        describe: the task, in words.
        like: known tasks that it is like.
        fact: COLUMN=TEXT of the task, as the table of tasks has it.
        results: CSV of model, value and maybe stderr or rows; a word such as "failed" instead of a
            value, or in a column failed, is a failed run.
        batch: runs to propose.
        goal: find the best model, or know the order of all.
        costs: CSV of model and cost: gain is weighed by it; where not known, the median.
        budget: what may be spent in all, in the unit of the costs; without them, in runs.
        direction: which results are better.
        enough: expected loss at which to stop, in standard units.
        parts: results with a standard error are of a part of the rows: a model may be asked for
            again, on more of them; --budget counts first runs.
        probe: evaluate here: a linear probe on a zoo's features of the task, --batch models or
            until stopping loses little; with --state what was run is kept as it comes.
        state: JSON that keeps the search; made, or gone on with and given the results. It keeps
            whom --where excluded, until another --where is given.
        explain: a model: say why it stands where it stands, instead of whom to evaluate next.
        about: facts of the models.
        output: how data is written.
        messages: what goes to stderr.
    """
    show = messages.start()
    from dataclasses import replace

    from spider_jax.recommend.run_table import read_costs, read_runs
    from spider_jax.recommend.saved_prior import load_prior
    from spider_jax.recommend.search import RunSearch

    about.check()
    known = load_prior(prior)
    models = frozenset(known.models)
    given = RunSearch(known, describe, facts_of(fact, known.words.facts), like, direction)
    if state is not None and state.exists():
        given = _gone_on(RunSearch.load(state, known), given, state)
    anew: dict[str, Any] = {"goal": goal, "budget": budget, "enough": enough}
    anew["parts"] = parts or None
    if costs is not None:
        anew["costs"] = read_costs(costs, models)
    table = about.table(known.models, known)
    verdict = about.verdict(table)
    if verdict is not None:
        anew["excluded"] = frozenset(verdict.excluded)
    search = replace(given, **{name: one for name, one in anew.items() if one is not None})
    if results is not None:
        search = search.tell_all(*read_runs(results, models, search.results))
    if state is not None:
        search.save(state)
    if probe is not None:
        search = _probed(search, *probe, batch, state, show)
    if explain is not None:
        return output.write(search.explain(explain))
    output.write(_told(search, batch, about, table, verdict))
    return DONE  # a run that failed is news, which is listed


def _told(
    search: "RunSearch",
    batch: int,
    about: FactOptions,
    table: "FactTable",
    verdict: "Verdict | None",
) -> "NextRuns":
    """What a search says, with the facts that are asked for."""
    from spider_jax.facts.beside import Beside
    from spider_jax.facts.front import pareto
    from spider_jax.facts.short_list import without
    from spider_jax.recommend.report import NextRuns

    task_facts = search.prior.task_facts(search.describe, search.facts)
    task = search.describe or None
    beside = Beside.of(table, show=about.shown, task=task, task_facts=task_facts)
    said = [] if verdict is None else [verdict.note()]
    if verdict is None and search.excluded:
        said = [f"{len(search.excluded)} models are excluded, as when the search was last given"]
    if about.pareto is not None:
        ranking = search.belief.rank()
        if search.excluded:
            ranking = without(ranking, search.excluded)
        said += pareto(ranking, table, about.pareto).notes()
    said += [f"facts: {note}" for note in table.notes if about.asked]
    return NextRuns.of(search, batch, beside, said)


def _probed(
    search: "RunSearch", zoo: Path, task: str, most: int, state: Path | None, show: bool
) -> "RunSearch":
    """The search after so many probes; each is kept when it is done."""
    from spider_jax.recommend.probe import probe
    from spider_jax.runtime.progress import progress
    from spider_jax.zoo.store import FeatureStore

    runs = probe(search, FeatureStore(zoo), task, most)
    for now in progress(runs, "probing", show):
        search = now
        if state is not None:
            search.save(state)
    return search


def _gone_on(old: "RunSearch", given: "RunSearch", state: Path) -> "RunSearch":
    """The search of a state, where what is given now does not say another task."""
    for option in ("describe", "facts", "like", "direction"):
        before, now = getattr(old, option), getattr(given, option)
        if now and now != before:
            name = "fact" if option == "facts" else option
            raise InputError(
                f"{state} keeps a search with --{name} {before!r}, got {now!r}: leave it out, or "
                "name another --state"
            )
    return old
