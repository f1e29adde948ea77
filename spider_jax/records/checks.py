"""What is checked of results once they are arrays: their ranges, one unit a task, no pair twice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int32, Int64

from spider_jax.errors import InputError
from spider_jax.records.files.faults import Faults
from spider_jax.records.measures import (
    CORRELATION,
    MEASURE_COLUMNS,
    UNITS,
    Measure,
    direction_word,
    find_measure,
    measure_key,
)

SURELY_PERCENT = 2.0  # a share above 1 up to here is a mistake rather than a few percent
TaskFacts = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class TaskRule:
    """What values of a task must be.

    Attributes:
        name: of the measure as the task's facts have it, "" where they say nothing.
        measure: what is known of it; None where nothing is.
        unit: "fraction" or "percent", "" where the values show it.
    """

    name: str = ""
    measure: Measure | None = None
    unit: str = ""


def task_rules(count: int, facts: TaskFacts) -> list[TaskRule]:
    """The rule of every task.

    A direction that is not the measure's own takes its range away: a negated error is no error.

    Args:
        count: T, tasks.
        facts: of the tasks, by column.

    Returns:
        T rules.

    Raises:
        InputError: an unknown direction.
    """
    rules = []
    for i in range(count):
        name = measure_name(i, facts)
        measure = find_measure(name) if name else None
        unit = " ".join(facts["unit"][i].casefold().split()) if "unit" in facts else ""
        unit = unit if unit in UNITS else ""
        stated = direction_word(facts["direction"][i]) if "direction" in facts else None
        if measure is not None and stated is not None and stated != measure.larger_is_better:
            measure = None
        if measure is None and unit:
            measure = CORRELATION
        rules.append(TaskRule(name, measure, unit))
    return rules


def measure_name(i: int, facts: TaskFacts) -> str:
    """What a task's facts call its measure.

    Args:
        i: position of the task.
        facts: of the tasks, by column.

    Returns:
        The first entry of the columns measure, main_score and metric that is not empty, or "".
    """
    entries = (facts[column][i] for column in MEASURE_COLUMNS if column in facts)
    return next((entry for entry in entries if entry), "")


def better_when_larger(count: int, facts: TaskFacts) -> Bool[np.ndarray, " T"]:
    """Whether larger is better, by task.

    Args:
        count: T, tasks.
        facts: of the tasks, by column.

    Returns:
        What `direction` says; else the measure's own way; else True.

    Raises:
        InputError: an unknown direction.
    """
    found = np.ones(count, bool)
    for i in range(count):
        stated = direction_word(facts["direction"][i]) if "direction" in facts else None
        measure = find_measure(measure_name(i, facts))
        own = True if measure is None else measure.larger_is_better
        found[i] = own if stated is None else stated
    return found


# ---- pairs twice -----------------------------------------------------------------------------


def pair_keys(
    model: Int32[np.ndarray, " n"], task: Int32[np.ndarray, " n"], tasks: int
) -> Int64[np.ndarray, " n"]:
    """One number a (model, task).

    Args:
        model: positions of models.
        task: positions of tasks.
        tasks: T, how many tasks there are.

    Returns:
        model T + task.
    """
    keys = model.astype(np.int64)
    keys *= max(tasks, 1)
    keys += task
    return keys


def first_of_pairs(
    keys: Int64[np.ndarray, " n"], value: Float64[np.ndarray, " n"]
) -> tuple[Bool[np.ndarray, " n"] | None, Int64[np.ndarray, "conflicts 2"]]:
    """Which rows are the first of their pair, and which disagree with the first.

    Args:
        keys: of the pairs.
        value: of the rows.

    Returns:
        Whether every row is the first of its pair, None where all are; and the positions
        (row, first row of the pair) of rows with another value.
    """
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    repeats = np.flatnonzero(ordered[1:] == ordered[:-1]) + 1
    if not len(repeats):
        return None, np.empty((0, 2), np.int64)
    starts = np.ones(len(keys), bool)
    starts[repeats] = False
    begin = np.flatnonzero(starts)
    first = order[begin[np.searchsorted(begin, repeats, side="right") - 1]]
    rows = order[repeats]
    keep = np.ones(len(keys), bool)
    keep[rows] = False
    other = value[rows] != value[first]
    return keep, np.stack([rows[other], first[other]], 1).astype(np.int64)


# ---- ranges ----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Results:
    """Known results, for the check of their ranges.

    Attributes:
        models: names.
        tasks: names.
        model: position of the model of every result.
        task: position of its task.
        value: the result.
        row: the row of the file that it comes from; None where that is its position.
    """

    models: Sequence[str]
    tasks: Sequence[str]
    model: Int32[np.ndarray, " n"]
    task: Int32[np.ndarray, " n"]
    value: Float64[np.ndarray, " n"]
    row: Int64[np.ndarray, " n"] | None = None

    def report(
        self, faults: Faults, at: Int64[np.ndarray, " k"], what: str, other: int | None = None
    ) -> None:
        """Note a fault of these results.

        Args:
            faults: gets them.
            at: positions.
            what: the rule and what to do; {value}, {model} and {task} are filled in.
            other: another row of the file that it speaks of.
        """
        faults.count += max(0, len(at) - faults.limit)
        for i in at[: faults.limit].tolist():
            filled = what.format(
                value=f"{self.value[i]:g}",
                model=repr(self.models[self.model[i]]),
                task=repr(self.tasks[self.task[i]]),
            )
            faults.add(i if self.row is None else int(self.row[i]), filled, other)


def check_ranges(
    results: Results, rules: Sequence[TaskRule], faults: Faults
) -> Bool[np.ndarray, " n"]:
    """Find values outside their measure's range, and percent beside fractions within a task.

    A share may be written in percent, if the whole task is. Where no measure is stated, only
    percent beside fractions is found, and only in a table that could be one of shares.

    Args:
        results: what is known.
        rules: one per task.
        faults: gets what is found.

    Returns:
        Whether each result is at fault.
    """
    T = len(rules)
    guessed = _could_be_shares(results, rules)
    share = np.array([r.measure is not None and r.measure.share for r in rules], bool)
    asked = np.array([not r.unit for r in rules], bool) & (share | guessed)
    size = np.abs(results.value)
    over, part = size > 1, (size > 0) & (size <= 1)
    many = np.bincount(results.task[over], minlength=T)
    few = np.bincount(results.task[part], minlength=T)
    largest = np.zeros(T)
    np.maximum.at(largest, results.task[over], size[over])
    percent = asked & (largest > SURELY_PERCENT) & (many > few)
    percent |= np.array([r.unit == "percent" for r in rules], bool)
    mixed = asked & (many > 0) & (few > 0) & (share | _among(results, over, part, T))
    named = mixed[results.task] & np.where(percent[results.task], part, size > SURELY_PERCENT)
    _report_mixed(results, faults, named)
    outside = _report_outside(results, rules, faults, np.where(percent, 100.0, 1.0), named)
    return np.asarray(named | outside)


def _could_be_shares(results: Results, rules: Sequence[TaskRule]) -> Bool[np.ndarray, " T"]:
    """Tasks without a measure and a unit, where none of them has a value beyond 100."""
    silent = np.array([not r.name and not r.unit and r.measure is None for r in rules], bool)
    if len(rules) and (np.abs(results.value[silent[results.task]]) > 100).any():
        silent[:] = False
    return silent


def _among(
    results: Results, over: Bool[np.ndarray, " n"], part: Bool[np.ndarray, " n"], T: int
) -> Bool[np.ndarray, " T"]:
    """Tasks whose values above 1, a hundred times smaller, lie among their values up to 1."""

    def ends(where: Bool[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray]:
        low, high = np.full(T, np.inf), np.full(T, -np.inf)
        np.minimum.at(low, results.task[where], results.value[where])
        np.maximum.at(high, results.task[where], results.value[where])
        return low, high

    (low, high), (least, most) = ends(over), ends(part)
    return (least > 0) & (low >= 5) & (low / 100 >= least / 2) & (high / 100 <= 2 * most)


def _report_mixed(results: Results, faults: Faults, named: Bool[np.ndarray, " n"]) -> None:
    advice = "write one unit, or say unit percent or fraction in tasks.csv"
    over = np.abs(results.value) > 1
    for where, words in ((over, "percent beside fractions"), (~over, "a fraction beside percent")):
        what = f"{{value}} of {{model}} on {{task}} is {words}: {advice}"
        results.report(faults, np.flatnonzero(named & where), what)


def _report_outside(
    results: Results,
    rules: Sequence[TaskRule],
    faults: Faults,
    scale: Float64[np.ndarray, " T"],
    named: Bool[np.ndarray, " n"],
) -> Bool[np.ndarray, " n"]:
    """Values outside their range, but for those that are `named` already."""
    low, high = np.full(len(rules), -np.inf), np.full(len(rules), np.inf)
    for t, rule in enumerate(rules):
        if rule.measure is not None:
            low[t], high[t] = rule.measure.low * scale[t], rule.measure.high * scale[t]
    bad = (results.value < low[results.task]) | (results.value > high[results.task])
    bad &= ~named
    advice = "correct it, or the task's measure or unit"
    at = np.flatnonzero(bad)
    faults.count += max(0, len(at) - faults.limit)
    for i in at[: faults.limit]:
        t = int(results.task[i])
        name = (rules[t].name or rules[t].unit).replace("{", "{{").replace("}", "}}")
        results.report(
            faults,
            np.array([i], np.int64),
            f"{{value}} of {{model}} on {{task}} is outside {low[t]:g} to {high[t]:g}, the range "
            f"of {name}: {advice}",
        )
    return np.asarray(bad)


def refuse_other_measure(
    tasks: Sequence[str], mine: TaskFacts, theirs: TaskFacts, pairs: Sequence[tuple[int, int]]
) -> None:
    """Refuse to join results of one task that are given in two measures.

    Args:
        tasks: names of the first table.
        mine: facts of its tasks.
        theirs: facts of the other's.
        pairs: positions (first, other) of tasks that both have.

    Raises:
        InputError: another measure, unit or direction in one of them.
    """
    for i, j in pairs:
        words = (measure_name(i, mine), measure_name(j, theirs))
        if all(words) and measure_key(words[0]) != measure_key(words[1]):
            raise InputError(
                f"task {tasks[i]!r} is in {words[0]!r} here and in {words[1]!r} there: rename one "
                "of the two tasks, or leave it out"
            )
        if "direction" in mine and "direction" in theirs:
            ways = direction_word(mine["direction"][i]), direction_word(theirs["direction"][j])
            if None not in ways and ways[0] != ways[1]:
                raise InputError(
                    f"task {tasks[i]!r} has direction {mine['direction'][i]!r} here and "
                    f"{theirs['direction'][j]!r} there: correct one of the two"
                )
