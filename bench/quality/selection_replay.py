"""Fine selection replayed on recorded curves: no target takes part in its own selection."""

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Int64

from bench.common import data_folder
from spider_jax.records.performance import PastResults
from spider_jax.selection.noise_aware import NoiseAware
from spider_jax.selection.policy import Drop, Policy, Seen
from spider_jax.selection.selector import Selector

# Rows of each validation set. No source states them: every score is a multiple of 1/N, so N can be
# read off the scores. (cola and mrpc, Matthews and F1, fit 20 + 20 rows, qqp 500 + 500.) All
# validation sets are balanced subsamples.
VALIDATION_ROWS = {
    "wic": 1000,
    "yahoo_answers_topics": 5000,
    "yelp_review_full": 2500,
    "boolq": 1000,
    "cb": 15,
    "cola": 40,
    "copa": 40,
    "imdb": 1000,
    "mnli": 1500,
    "mrpc": 40,
    "qnli": 1000,
    "qqp": 1000,
    "sst2": 1000,
    "dbpedia_14": 7000,
    "xnli": 60,
    "anli": 60,
    "wnli": 100,
    "app_reviews": 2500,
    "sick": 120,
    "stsb": 600,
}


def recorded() -> PastResults:
    """37 language models fine-tuned on 20 datasets, validation after each of 5 epochs."""
    path = data_folder("two_phase_nlp") / "curves_dense.npz"
    with np.load(path, allow_pickle=False) as held:
        tasks = tuple(map(str, held["datasets"]))
        rows = np.array([VALIDATION_ROWS[task] for task in tasks], np.int64)
        models = tuple(map(str, held["models"]))
        return PastResults(models, tasks, held["test"], held["val"], rows)


# Datasets that only part of the 37 models were fine-tuned on. They were looked at once, after the
# policy was fixed. mteb_stsbenchmark-sts is missing because it is stsb again.
FURTHER = {
    "rotten_tomatoes": 1000,
    "amazon_polarity": 1000,
    "paws": 1000,
    "mteb-sts12-sts": 600,
    "tweet_eval": 1500,
}


def with_further(zoo: PastResults, task: str) -> PastResults:
    """The models of the zoo that were fine-tuned on one more dataset, and its runs added.

    Args:
        zoo: past results without that dataset.
        task: one of FURTHER.
    """
    with (data_folder("two_phase_nlp") / "curves_long.csv").open(newline="") as file:
        runs = {r["model"]: r for r in csv.DictReader(file) if r["dataset"] == task}
    part = zoo.for_models([model for model in zoo.models if model in runs])
    for model in part.models:
        run = runs[model]
        curve = [float(run[f"val_ep{epoch}"]) for epoch in range(1, 6)]
        part = part.with_result(
            model,
            task,
            accuracy=float(run["test"]),
            curve=curve,
            validation_rows=FURTHER[task],
        )
    return part


@dataclass(frozen=True)
class Contender:
    """A policy and where it starts.

    Attributes:
        fit: the policy from results without the target.
        pool: how many models it may use, best by the prior first; None for the whole zoo.
        budget: epochs; None: all of the pool start.
        orders: the mean over so many random orders of the pool, for policies that use the order to
            break ties only; 0: the prior's order.
    """

    fit: Callable[[PastResults], Policy]
    pool: int | None = None
    budget: int | None = None
    orders: int = 0


class Outcome(NamedTuple):
    """What a policy came to on one target.

    Attributes:
        in_pool: regret against the best of the pool.
        in_zoo: regret against the best of the zoo.
        epochs: that were trained.
        drops: of every drop the stated confidence, and whether the winner was as good.
        winner: the model that was chosen, empty for a mean over orders.
        named: of every drop, whether the leader of then was as good, of whom the confidence speaks.
    """

    in_pool: float
    in_zoo: float
    epochs: float
    drops: list[tuple[float, bool]]
    winner: str
    named: list[bool]


@dataclass(frozen=True)
class Watched:
    """A policy, and who led when a model was dropped.

    Attributes:
        policy: that decides.
        leaders: by dropped model.
    """

    policy: NoiseAware
    leaders: dict[str, str] = field(default_factory=dict)
    name: ClassVar[str] = "watched"

    def started(self, models: int, epochs: int, budget: int | None) -> int:
        """As the policy says.

        Args:
            models: see `Policy`.
            epochs: see `Policy`.
            budget: see `Policy`.
        """
        return self.policy.started(models, epochs, budget)

    def drops(self, seen: Seen) -> list[Drop]:
        """As the policy says.

        Args:
            seen: see `Policy`.
        """
        leader = seen.models[int(np.argmax(self.policy.expected(seen)))]
        found = self.policy.drops(seen)
        self.leaders.update({drop.model: leader for drop in found})
        return found


_fitted: dict[tuple[tuple[str, ...], tuple[str, ...]], NoiseAware] = {}


def ours(past: PastResults) -> NoiseAware:
    """The noise-aware policy, fitted once to the recorded results of the same models and tasks.

    Args:
        past: recorded results, as they are.
    """
    names = past.models, past.tasks
    if names not in _fitted:
        _fitted[names] = NoiseAware.fit(past)
    return _fitted[names]


def recall_order(past: PastResults) -> Int64[np.ndarray, " M"]:
    """Positions of the models, best first by their mean on the other tasks.

    Args:
        past: results on these tasks.
    """
    return np.argsort(-past.mean_accuracies(), kind="stable").astype(np.int64)


def replay(zoo: PastResults, target: str, contender: Contender) -> Outcome:
    """Select for a target with everything else of the zoo as the past.

    Args:
        zoo: past results, the target's among them.
        target: a task; of its results only the validation scores that the policy asks for are read
            before the end.
        contender: a policy and where it starts.
    """
    past = zoo.without_task(target)
    pool = recall_order(past)[: contender.pool]
    if not contender.orders:
        return _once(zoo, past, target, contender, pool)
    rng = np.random.default_rng(0)
    shuffled = [rng.permutation(pool) for _ in range(contender.orders)]
    found = np.array([_once(zoo, past, target, contender, one)[:3] for one in shuffled])
    in_pool, in_zoo, epochs = found.mean(0).tolist()
    return Outcome(in_pool, in_zoo, epochs, [], "", [])


def _once(
    zoo: PastResults,
    past: PastResults,
    target: str,
    contender: Contender,
    pool: Int64[np.ndarray, " k"],
) -> Outcome:
    t = zoo.tasks.index(target)
    policy = contender.fit(past)
    policy = Watched(policy) if isinstance(policy, NoiseAware) else policy
    selector = Selector(
        [zoo.models[i] for i in pool],
        policy,
        epochs=zoo.curves.shape[2],
        budget=contender.budget,
        validation_rows=int(zoo.validation_rows[t]),
    )
    place = {name: i for i, name in enumerate(zoo.models)}
    while not selector.done:
        for model in selector.ask():
            epoch = selector.entries[model].epochs
            selector.tell(model, float(zoo.curves[place[model], t, epoch]))
    assert selector.winner is not None
    final = zoo.accuracies[:, t]  # the target's test scores, read after the end only
    chosen = final[place[selector.winner]]
    drops = [
        (entry.confidence, bool(chosen >= final[place[model]]))
        for model, entry in selector.entries.items()
        if entry.confidence is not None
    ]
    leaders = policy.leaders if isinstance(policy, Watched) else {}
    named = [
        bool(final[place[leaders[model]]] >= final[place[model]])
        for model, entry in selector.entries.items()
        if entry.confidence is not None and model in leaders
    ]
    in_pool, in_zoo = final[pool].max() - chosen, final.max() - chosen
    return Outcome(in_pool, in_zoo, selector.spent, drops, selector.winner, named)
