"""One of every class of results, with names that must stay text everywhere."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from spider_jax.belief.explanation import Explanation, Margin, Step
from spider_jax.belief.explanation import Part as Moved
from spider_jax.demo import Demo, Part
from spider_jax.ensemble.combination import Combination
from spider_jax.ensemble.members import Step as MemberStep
from spider_jax.ensemble.saved import Ensemble, JointHead
from spider_jax.evaluation.baselines import CONSTANT, Method
from spider_jax.evaluation.comparison import Comparison
from spider_jax.ranking.ranking import Ranking, Rankings
from spider_jax.ranking.standing import Standing
from spider_jax.recommend.acquisition import Run
from spider_jax.recommend.report import NextRuns
from spider_jax.records.changes import Change
from spider_jax.records.files.faults import Fault
from spider_jax.records.inspection import RecordsCheck
from spider_jax.report.result import Result
from spider_jax.selection.policies import SuccessiveHalving
from spider_jax.selection.selector import Selector
from spider_jax.selection.two_phases import Selection
from spider_jax.spider.spider import Spider
from spider_jax.tuning.config import Hyperparameters
from spider_jax.tuning.tune_student import Tuned, Tuning
from spider_jax.zoo.inspection import Inspection
from spider_jax.zoo.scores import ScoreTable
from spider_jax.zoo.store import Skipped

HOSTILE = "<b>|[x](y)\x1b[31m\n`*~"
MARKDOWN = "&#60;b&#62;&#124;&#91;x&#93;(y)&#92;x1b&#91;31m&#92;x0a&#96;&#42;&#126;"
PLAIN = "plain"
WHY = Skipped(HOSTILE, "task", "file\x9b is broken [x](y)")
NOTE = f"a note on {HOSTILE}"


def ranking() -> Ranking:
    return Ranking(
        (HOSTILE, PLAIN),
        np.float32([0.1, -2]),
        0.5,
        task=HOSTILE,
        accuracies={PLAIN: 0.1 + 0.2},
        notes=(NOTE,),
        skipped=(str(WHY),),
        looked_at=(PLAIN,),
    )


def rankings() -> Rankings:
    return Rankings((ranking(), Ranking((PLAIN,), np.float32([1]), math.nan, task="other")))


def scores() -> ScoreTable:
    values = np.array([[0.1 + 0.2, math.nan], [0.5, math.nan]])
    left_out = (("nce", "no model has source probabilities"),)
    table = ScoreTable(
        HOSTILE, (HOSTILE, PLAIN), ("knn", "nce"), values, (WHY,), left_out, np.zeros(2), 2
    )
    return table.with_accuracies({(PLAIN, HOSTILE): 0.25, (PLAIN, "other"): 0.5})


def inspection() -> Inspection:
    tasks: list[list[object]] = [[HOSTILE, "classification", 40, 3, 2, 0, None, 0.1 + 0.2, 40]]
    return Inspection(
        [[HOSTILE, 12, 1, 0.1 + 0.2, "-"], [PLAIN, 5, 0, 0.0, HOSTILE]],
        tasks,
        {HOSTILE: [PLAIN]},
        HOSTILE,
        (f"{HOSTILE} on task, 1 of 2 blocks",),
        (WHY,),
    )


def comparison() -> Comparison:
    truth, other = np.random.default_rng(1).random((2, 3, 5))
    methods = {
        HOSTILE: Method((truth + 0.4 * other)[None], "extractor"),
        CONSTANT: Method(np.tile(truth[0], (1, 3, 1)), "nothing"),
    }
    return Comparison(("a", "b", "c"), tuple("vwxyz"), truth, methods, (NOTE,))


def selection() -> Selection:
    selector = Selector([HOSTILE, PLAIN, "late"], SuccessiveHalving(), epochs=3, budget=4)
    while not selector.done:
        for model in selector.ask():
            if model == PLAIN:
                selector.fail(model, "loss is \x9b nan")
            else:
                selector.tell(model, 0.1 + 0.2)
    return Selection(HOSTILE, "accuracy", selector, 0.5, 0.1, (WHY,), (NOTE,))


def tuning() -> Tuning:
    tuned = Tuned("b-tuning", Hyperparameters(0.01, 0.1, 1.0), (0.1 + 0.2, 0.5), (0.5, 0.25), {})
    plain = Tuned("fine-tuning", Hyperparameters(0.01, 0.0, None), (0.25, 0.5), None, {})
    return Tuning("accuracy", (tuned, plain), (NOTE,), (WHY,))


def demo() -> Demo:
    spider = object.__new__(Spider)  # it is saved, not shown
    part = Part(spider, {HOSTILE: ranking()}, comparison())
    return Demo({PLAIN: part}, {"training": 0.5})


def next_runs() -> NextRuns:
    runs = (Run(HOSTILE, 0.1 + 0.2, 0.5, 0.25, 0.125, 1.0), Run(PLAIN, 0.0, 0.0, -1.0, 0.5, 2.0))
    best = (PLAIN, 0.75)
    return NextRuns(runs, "accuracy", best, 0.5, 0.2, 0.1, 3.0, said=(NOTE,), failures=(str(WHY),))


def records_check() -> RecordsCheck:
    rows: list[tuple[object, ...]] = [(HOSTILE, "larger", 2, 9, 0.1 + 0.2, 0.5, 0.75)]
    faults = (Fault(Path("values.csv"), "line 3", HOSTILE),)
    return RecordsCheck(3, 2, 9, 0, rows, faults, 1, (NOTE,), (str(WHY),))


def records_change() -> Change:
    return Change(Path(PLAIN), (3, 2, 5), (4, 2, 7), (NOTE,), (str(WHY),))


def explanation() -> Explanation:
    parts = (Moved(HOSTILE, 0.1 + 0.2, HOSTILE), Moved(PLAIN, 0.0))
    steps = (Step("beforehand", 0.5, 0.5, 1.0), Step(PLAIN, 0.1 + 0.2, 0.8, 0.5, parts))
    beside = (Margin(2, HOSTILE, 0.5, 0.75),)
    return Explanation(PLAIN, 1, 2, 0.8, 0.5, "standard units", steps, beside, (NOTE,), HOSTILE)


def place() -> Standing:
    return ranking().explain(PLAIN)


def combination() -> Combination:
    steps = tuple(
        MemberStep(name, 0.1 + 0.2, 0.5, 0.125, 0.25, 0.75, np.zeros(2))
        for name in (HOSTILE, PLAIN)
    )
    weights = (np.zeros((1, 2)), np.zeros((3, 2)))
    head = JointHead((HOSTILE, PLAIN), weights, np.zeros(2), 1.0)
    ensemble = Ensemble("classification", (head,), {})
    return Combination(
        "task", "average", 2, "accuracy", steps, (0.8, 0.7), (0.75, 0.5), 0.05, ensemble,
        None, (NOTE,), (WHY,),
    )  # fmt: skip


RESULTS: dict[str, Callable[[], Result]] = {
    "ranking": ranking,
    "rankings": rankings,
    "scores": scores,
    "inspection": inspection,
    "comparison": comparison,
    "selected-models": selection,
    "tuned-students": tuning,
    "demo": demo,
    "next_runs": next_runs,
    "records_check": records_check,
    "records_change": records_change,
    "explanation": explanation,
    "standing": place,
    "combination": combination,
}
