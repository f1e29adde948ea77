"""Two phases that choose one model for a task: recall, then heads that are really trained.

Use it when you can afford some fine-tuning. Recall orders the models by past results on other tasks
and a cheap proxy; heads are then trained on the features of the best of them, an epoch at a time,
and a policy decides after every epoch which models get another one.

    spider-jax select zoo/ my_task --budget 16 --repository past.json
    spider-jax select zoo/ my_task --config configs/select/default.toml

`select_models(zoo, task, SelectConfig(...), run=folder)` is the same in Python.

What it needs
    A zoo with labels and features of the models on the task. Rows of split 0 train, rows of split 1
    decide, rows of split 2 are read once, for the winner; 60/20/20 where the zoo has no split.
    Past results are the zoo's `accuracies.csv`, and curves that earlier selections left in the
    `--repository`; `PastResults.with_result(...)` adds your own. Results on the task itself take no
    part.

What to choose
    `budget`: epochs in all, over all models. `recall`: a metric ("logme", "knn", ...), "prior" for
    past results alone, a spider that was not trained on the task, or a prior from records that has
    not seen it (`spider_jax.recommend`), the task described in words. `policy`: "noise-aware", or
    one of the others to compare with: "successive-halving", "brute-force", "trend-filter".

What it costs
    One read of the training rows of every model that the metric is run on, then `budget` epochs of
    a linear head. On the zoo that ships (21 models) that is seconds. The same command goes on where
    it was interrupted; every epoch is on disk.

When not to trust it
    The validation rows decide: with 40 of them the standard error of an accuracy is .08, and models
    closer than that are chosen by their past, or by chance. Column "confidence" says how sure it is
    that the leader named beside it is better. How sure to be is learned on past tasks left out: on
    recorded curves .75 to .85 held in 78 % of the cases, .90 and more in 98 %. Without past curves
    early scores count as much as is usual on recorded ones, without past results the prior is the
    same for every model. Heads on frozen features may order models otherwise than fine-tuning does.

On 37 language models and 20 datasets the noise-aware policy takes 19 epochs where successive
halving takes 70 and brute force 185; it loses .021 of test score, they lose .025 and .021, and all
intervals overlap. On five further datasets it loses more than halving (.014 against .010). What it
saves is epochs: bench/results/quality/selection.md.

For any other training, `Selector` asks and you tell; `selector.save(path)` and
`Selector.load(path)` work at any point:

>>> from spider_jax.records.performance import PastResults
>>> from spider_jax.selection import Selector, make_policy
>>> from spider_jax.zoo.embedded import embedded_zoo
>>> zoo = embedded_zoo()
>>> past = PastResults.from_accuracies(zoo.accuracies).without_task("furniture_room")
>>> policy = make_policy("noise-aware", past)
>>> selector = Selector(past.models, policy, epochs=5, budget=16, validation_rows=64)
>>> while not selector.done:
...     for model in selector.ask():  # train one more epoch of it, in whatever framework
...         selector.tell(model, zoo.accuracies[model, "furniture_room"])
>>> selector.spent, selector.winner in past.models
(16, True)
"""

from spider_jax.selection.noise_aware import NoiseAware
from spider_jax.selection.policies import BruteForce, SuccessiveHalving, TrendFilter
from spider_jax.selection.policy import Drop, Policy, Seen
from spider_jax.selection.policy_table import POLICIES, make_policy
from spider_jax.selection.recall import recall_scores
from spider_jax.selection.run import SelectConfig
from spider_jax.selection.selector import Entry, Selector
from spider_jax.selection.two_phases import Selection, select_models
from spider_jax.selection.zoo_recall import recall_zoo

__all__ = [
    "POLICIES",
    "BruteForce",
    "Drop",
    "Entry",
    "NoiseAware",
    "Policy",
    "Seen",
    "SelectConfig",
    "Selection",
    "Selector",
    "SuccessiveHalving",
    "TrendFilter",
    "make_policy",
    "recall_scores",
    "recall_zoo",
    "select_models",
]
