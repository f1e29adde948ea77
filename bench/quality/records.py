"""Which model, from results that exist? Priors from records on real leaderboards, groups held out.

    python bench/quality/records.py

Reads $SPIDER_JAX_DATA/records and writes bench/results/quality/records.json and .md. In every table
whole groups of tasks are held out (families, languages, types, datasets): a prior is fitted on the
others, and each task is a target that is known by its words alone. Then p models are evaluated,
drawn at random or chosen one after the other. "lost" is the best model's result less the best
evaluated one's, in standard deviations of the task over models. Everything that is learned is
learned on the other groups, by siblings held out among them; but normal scores and expected
improvement were chosen with these tables at hand, the last two apart.
About 25 minutes on two cores.
"""

import re
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tyro
from jaxtyping import Float64, Int

from bench.common import about, data_folder, page_head, write_results
from bench.quality.records_page import (
    ADAPTIVE,
    BEST_OF_CONSTANT,
    EVALUATED,
    OURS,
    Found,
    mean_of,
    section,
    summary,
)
from bench.quality.records_rivals import CONSTANT, PLAIN, Target, rivals
from spider_jax.belief.belief import Belief
from spider_jax.ranking.measures import weighted_tau
from spider_jax.recommend.acquisition import next_runs, stop_loss
from spider_jax.recommend.records_prior import RecordsPrior
from spider_jax.records.table import Records
from spider_jax.report.tables import to_markdown

FOLDS = 5
MOST_TASKS = 30
FEWEST_MODELS = 50  # results of a target, where a table has so many
DRAWS = 2
AT_RANDOM = "random"


class Table(NamedTuple):
    """A leaderboard and what is held out together.

    Attributes:
        folder: below records/.
        groups: a name, and a task's group from its facts.
    """

    folder: str
    groups: str
    group: Callable[[str, Mapping[str, str]], str]


def column(name: str) -> Callable[[str, Mapping[str, str]], str]:
    """Groups as a column of the tasks says.

    Args:
        name: of the column.
    """
    return lambda task, facts: facts.get(name) or task


TABLES = (
    Table("mteb_text", "families", column("base_task")),
    Table("mteb_text", "types", column("type")),
    Table("euroeval", "languages", column("language")),
    Table("euroeval", "types", column("type")),
    Table("openclip", "families", lambda task, _: re.split(r"[ \-/]", task)[0].casefold()),
    Table("openclip", "groups", column("group")),
    Table("transfergraph_vtab", "datasets", column("dataset")),
    Table("transfergraph_vtab", "groups", column("group")),
    # Of these nothing was looked at before the choices by hand.
    Table("openclip_multilingual", "languages", column("language")),
    Table("timm", "test sets", column("group")),
)


@dataclass(frozen=True)
class Options:
    """How the bench runs.

    Attributes:
        out: path of the page and the JSON without suffix.
        tables: folders to take, all where empty.
        masked: shares of the records that are masked, at random.
        tasks: targets of a table, at most.
    """

    out: Path = Path(__file__).parents[1] / "results" / "quality" / "records"
    tables: tuple[str, ...] = ()
    masked: tuple[float, ...] = (0.0, 0.5, 0.8, 0.95)
    tasks: int = MOST_TASKS


def masked(records: Records, share: float, seed: int = 0) -> Records:
    """The records without a random share of them.

    Args:
        records: the whole.
        share: that is taken away.
        seed: of the draw.
    """
    keep = np.random.default_rng(seed).random(len(records)) >= share
    return records.at(np.flatnonzero(keep))


def targets_of(table: Table, most: int, share: float) -> list[Target]:
    """All targets of a table, each with a prior that was fitted without its group.

    Args:
        table: the leaderboard.
        most: targets at most.
        share: of the other tasks' records that is masked.
    """
    whole = Records.read(data_folder("records") / table.folder)
    facts = [{c: t[i] for c, t in whole.task_facts.items()} for i in range(len(whole.tasks))]
    group = np.array([table.group(t, f) for t, f in zip(whole.tasks, facts, strict=True)])
    signs = np.where(whole.larger_is_better, 1.0, -1.0)
    results = whole.matrix() * signs
    counts = np.isfinite(results).sum(0)
    rng = np.random.default_rng(0)
    fit_for = np.flatnonzero(counts >= min(FEWEST_MODELS, np.quantile(counts, 0.5)))
    chosen = np.sort(rng.permutation(fit_for)[:most])
    names = rng.permutation(np.unique(group))
    fold_of = {name: k % FOLDS for k, name in enumerate(names)}
    folds = np.array([fold_of[name] for name in group])
    records, found = masked(whole, share), []
    for fold in np.unique(folds[chosen]):
        out = [whole.tasks[i] for i in np.flatnonzero(folds == fold)]
        prior = RecordsPrior.fit(records, hold_out=out)
        for i in chosen[folds[chosen] == fold]:
            belief = prior.belief(whole.tasks[i], facts=facts[i])
            known = np.flatnonzero(np.isfinite(results[:, i]))
            found.append(Target(of_models(belief, known), prior, known, results[known, i]))
    return found


def of_models(belief: Belief, models: Int[np.ndarray, " n"]) -> Belief:
    """The belief over some of its models.

    Args:
        belief: over all.
        models: positions.
    """
    names = tuple(belief.names[i] for i in models)
    return Belief(names, belief.prior.of(models), belief.evidence, belief.explained)


def observed(target: Target, places: Int[np.ndarray, " p"]) -> Belief:
    """The target's belief with some results.

    Args:
        target: the task.
        places: among its known models.
    """
    names = target.belief.names
    return target.belief.observe({names[i]: float(target.results[i]) for i in places})


# ---- what is measured ---------------------------------------------------------------------------


def tau(target: Target, scores: Float64[np.ndarray, " n"], rest: Int[np.ndarray, " r"]) -> float:
    """Weighted tau on the models that were not evaluated.

    Args:
        target: the task.
        scores: of all models.
        rest: positions of those.
    """
    value = weighted_tau(target.results[rest], scores[rest])
    return value if np.isfinite(value) else 0.0


def after_random(targets: Sequence[Target]) -> Found:
    """Order of the models that were not evaluated, after p random evaluations.

    Args:
        targets: of a table.
    """
    found: Found = defaultdict(list)
    for number, target in enumerate(targets):
        n = len(target.known)
        draws = [np.random.default_rng([number, k]).permutation(n) for k in range(DRAWS)]
        for p in EVALUATED:
            if p > n - 10:
                continue
            each: dict[str, list[float]] = defaultdict(list)
            covered = []
            for order in draws if p else draws[:1]:
                places, rest = order[:p], order[p:]
                seen = observed(target, places) if p else target.belief
                ways = rivals(target, seen, places) | {OURS: seen.posterior.mean}
                for name, scores in ways.items():
                    each[name].append(tau(target, scores, rest))
                if p >= 3:
                    gap = np.abs(target.results - seen.mean)[rest]
                    covered.append(float(np.mean(gap < 1.645 * seen.result_sd[rest])))
            for name, values in each.items():
                found["tau", name, p].append(float(np.mean(values)))
            if covered:
                found["covered", OURS, p].append(float(np.mean(covered)))
    return found


def lost(
    results: Float64[np.ndarray, " n"], places: Sequence[int] | Int[np.ndarray, " p"]
) -> float:
    """What the best of some models loses to the best of all, in standard deviations.

    Args:
        results: of all models.
        places: of the evaluated ones.
    """
    best = results[np.asarray(places, np.int64)].max()
    return float((results.max() - best) / results.std())


def after_search(targets: Sequence[Target]) -> Found:
    """What the best of p evaluated models loses to the best of all.

    Args:
        targets: of a table.
    """
    found: Found = defaultdict(list)
    for number, target in enumerate(targets):
        y, n = target.results, len(target.known)
        constant = np.argsort(-target.prior.constant[target.known], kind="stable")
        prior = np.argsort(-target.belief.prior.mean, kind="stable")
        chance = [np.random.default_rng([number, k, 1]).permutation(n) for k in range(20)]
        chosen: list[int] = []
        stopped = None
        seen = target.belief
        for p in range(1, min(max(EVALUATED), n) + 1):
            chosen.append(seen.names.index(next_runs(seen, 1)[0].model))
            seen = observed(target, np.array(chosen))
            loss = stop_loss(seen)
            if stopped is None and loss < 0.1:
                stopped = p
                found["stopped", "after", 0].append(p)
                found["stopped", "lost", 0].append(lost(y, chosen))
            if p not in EVALUATED:
                continue
            found["lost", ADAPTIVE, p].append(lost(y, chosen))
            found["lost", BEST_OF_CONSTANT, p].append(lost(y, constant[:p]))
            found["lost", "best of the moved mean", p].append(lost(y, prior[:p]))
            found["lost", AT_RANDOM, p].append(float(np.mean([lost(y, c[:p]) for c in chance])))
            first = chosen[int(np.argmax(y[chosen]))]
            found["best", "said", p].append(seen.probability_best()[seen.names[first]])
            found["best", "was", p].append(float(y[first] >= y.max()))
            found["loss", "said", p].append(loss)
    return found


def main(options: Options) -> None:
    """Measure, and write the page.

    Args:
        options: how.
    """
    parts, content = [], []
    for table in TABLES:
        if options.tables and table.folder not in options.tables:
            continue
        began = time.perf_counter()
        targets = targets_of(table, options.tasks, 0.0)
        found = {**after_random(targets), **after_search(targets)}
        seconds = time.perf_counter() - began
        parts.append(section(table.folder, table.groups, found, seconds, len(targets)))
        kept = {"/".join(map(str, k)): np.round(v, 5).tolist() for k, v in found.items()}
        content.append({"table": table.folder, "groups": table.groups, "found": kept})
        print(parts[-1], flush=True)
    rows = []
    for share in [s for s in options.masked if s > 0]:
        for table in TABLES[::2]:
            if options.tables and table.folder not in options.tables:
                continue
            targets = targets_of(table, options.tasks // 2, share)
            one = after_random(targets)
            rows.append(
                [f"{share:.0%} masked", f"{table.folder}, {table.groups}"]
                + [
                    f"{mean_of(one, ('tau', m, p))}"
                    for p in (0, 5, 20)
                    for m in (PLAIN, CONSTANT, OURS)
                ]
            )
            print(rows[-1], flush=True)
    head = ["records", "table"] + [
        f"{m}, p = {p}" for p in (0, 5, 20) for m in ("plain", "calibrated", "posterior")
    ]
    masks = "## Records masked at random\n\nWeighted tau.\n\n" + to_markdown(head, rows)
    page = page_head("Priors from records", "quality/records", options.out)
    write_results(
        options.out,
        {**about(), "tables": content, "masked": rows},
        "\n\n".join([page, summary(content), *parts, *([masks] if rows else [])]) + "\n",
    )


if __name__ == "__main__":
    main(tyro.cli(Options))
