"""Rank models from results that exist, and find the best with the fewest runs.

Use it when you have results instead of features: your own history, a leaderboard, colleagues'
spreadsheets, with holes and mixed measures. Nothing is run to rank.

    spider-jax records fit records/ --out prior/
    spider-jax rank prior/ --describe "short legal sentences in Polish, 12 classes"
    spider-jax next prior/ --describe "..." --results mine.csv --batch 4
    spider-jax next prior/ --describe "..." --probe zoo/ my_task  # runs them itself, on features

What it needs
    A records folder (`spider_jax.records`). Facts of models and words of tasks are not needed, but
    they are what places a model without results, and what says which past tasks are like yours.

What is learned
    One scale for all tasks (`scales`), which words make tasks alike (`words`, `task_kernel`), and
    how models' surprises go together (`factor_analysis`, `model_facts`, `covariance`); the numbers
    by holding groups of sibling tasks out (`siblings`). `RecordsPrior.belief(...)` is a belief as
    of a spider: it ranks, takes in results, and says how sure it is.

When not to trust it
    A task unlike all that was recorded gets the constant order, and the belief says so. Results
    enter mostly by their order, so a model that fails outright is "last", not "how much".

>>> from spider_jax.recommend import RecordsPrior, RunSearch
>>> from spider_jax.records import Records
>>> pairs = [(i, t) for i in range(6) for t in range(8)]
>>> rows = [(f"m{i}", f"task {t}", float(i + (t % 3) * (i % 2))) for i, t in pairs]
>>> prior = RecordsPrior.fit(Records.from_rows(rows))
>>> search = RunSearch(prior, describe="task 9")
>>> first = search.ask()[0].model
>>> search = search.tell(first, 5.0)
>>> search.best == first, len(search.ask(2))
(True, 2)
"""

from spider_jax.recommend.acquisition import Run, next_runs
from spider_jax.recommend.records_prior import RecordsPrior
from spider_jax.recommend.saved_prior import load_prior, save_prior
from spider_jax.recommend.search import RunSearch
from spider_jax.recommend.siblings import sibling_groups

__all__ = [
    "RecordsPrior",
    "Run",
    "RunSearch",
    "load_prior",
    "next_runs",
    "save_prior",
    "sibling_groups",
]
