"""A list in order: the `Ranking` result, measures of agreement, losses, aggregation of metrics.

**Reading a ranking, and when not to trust it.**

- Only differences between scores mean something. Models closer than the printed *resolution* cannot
  be separated: at that difference 4 of 5 pairs were ordered right on source tasks that the members
  of the ensemble had not seen. The column "cannot tell from" (`Ranking.rank_intervals`) gives the
  places that a model may hold.
- A spider knows tasks through one extractor and learned from its source datasets. A target unlike
  all of them gets an order close to the average one; few source datasets make it fragile.
- Compare with the constant order, which never looks at the task. Where it does as well, the ranking
  does not depend on the task, and neither should your choice.
- With a budget for running models, look at the best few (`--rerank 5`): metrics that see each
  model's own features are better, and cost one forward pass per model.

`to_text`, `to_markdown`, `to_csv` and `to_json` write a ranking down; `Ranking.from_json` reads it
back.

**How well a ranking agrees with the truth.** `weighted_tau(truth, scores)`: two conventions differ
by several hundredths, so report which one. `regret` is the accuracy that is lost by trying only the
k best, `top_k_hits` the share of the k best that are truly there; both depend on the size of the
zoo. `bootstrap_interval` and `paired_difference` say how sure a mean over tasks is; they are too
narrow below about ten tasks, and they do not cover the choice of the tasks.

**Losses and aggregates.** `LOSSES` are listwise and pairwise losses with one signature, for any
batch of lists; masked items count for nothing. `copeland`, `borda` and `mean_z` make one score per
model of several metrics; only `mean_z` keeps distances, and one outlier flattens it.

>>> from spider_jax.ranking import Ranking, mean_z, regret, weighted_tau
>>> scores = mean_z([[0.7, 0.5, 0.9], [2.0, 1.0, 4.0]])
>>> ranking = Ranking.from_scores(["resnet", "vgg", "vit"], scores, resolution=0.5)
>>> ranking.names, ranking.rank_intervals().tolist()
(('vit', 'resnet', 'vgg'), [[1, 1], [2, 2], [3, 3]])
>>> accuracies = [0.75, 0.5, 0.875]
>>> weighted_tau(accuracies, scores), regret(accuracies, scores)
(1.0, 0.0)
"""

from spider_jax.ranking.aggregate import AGGREGATES, borda, copeland, mean_z, z_scores
from spider_jax.ranking.losses import (
    LOSSES,
    Loss,
    listnet_loss,
    pairwise_logistic_loss,
    plackett_luce_loss,
)
from spider_jax.ranking.measures import (
    MEASURES,
    Interval,
    PairedDifference,
    bootstrap_interval,
    paired_difference,
    pearson,
    regret,
    spearman,
    top_k_hits,
    weighted_tau,
)
from spider_jax.ranking.ranking import Ranking

__all__ = [
    "AGGREGATES",
    "LOSSES",
    "MEASURES",
    "Interval",
    "Loss",
    "PairedDifference",
    "Ranking",
    "bootstrap_interval",
    "borda",
    "copeland",
    "listnet_loss",
    "mean_z",
    "paired_difference",
    "pairwise_logistic_loss",
    "pearson",
    "plackett_luce_loss",
    "regret",
    "spearman",
    "top_k_hits",
    "weighted_tau",
    "z_scores",
]
