"""Past fine-tuning results with holes, and what is learned from them: clusters, trends, noise.

`PastResults` is a table of final test scores by model and task, with validation curves where they
are known. A zoo's `accuracies.csv` makes one, and `with_result` adds a result. Larger is better,
and NaN is a hole. Take the target out first (`without_task`): a selection must not see results of
its own target.

What is learned from the table, without any training:

- `mean_accuracies` of a table: a prior over models that is fair to models with holes.
- `measure_spread`: how far a model's result lies from its prior, and how far the best validation
  score after each epoch lies from the final result (`ValidationNoise`). These are measured, not
  tuned.
- `model_distances`, `cluster_models`, `representatives`: models that fine-tune alike.
- `mine_trends`, `predict_final`: which final score followed a validation score in the past.

All costs are small: trends of 40 models on 20 tasks at 10 epochs take 30 ms once compiled. When not
to trust them: with a handful of tasks the variances and the trends rest on few numbers, and with
holes a prior rests on the tasks that happen to be there. Results of another measure or another way
of training do not belong in the same table.

>>> from spider_jax.records import PastResults, measure_spread
>>> accuracies = {("vgg", "pets"): 0.5, ("vgg", "cars"): 0.25, ("vit", "pets"): 0.75}
>>> past = PastResults.from_accuracies(accuracies).with_result("vit", "birds", accuracy=1.0)
>>> past.without_task("birds").mean_accuracies().tolist()
[0.375, 0.5625]
>>> measure_spread(past.without_task("birds")).prior
{'vgg': 0.375, 'vit': 0.5625}
"""

from spider_jax.records.clusters import cluster_models, model_distances, representatives
from spider_jax.records.noise import (
    ValidationNoise,
    accuracy_variance,
    best_so_far,
    measure_spread,
)
from spider_jax.records.performance import PastResults, masked_mean
from spider_jax.records.trends import mine_trends, predict_final, trend_predictions

__all__ = [
    "PastResults",
    "ValidationNoise",
    "accuracy_variance",
    "best_so_far",
    "cluster_models",
    "masked_mean",
    "measure_spread",
    "mine_trends",
    "model_distances",
    "predict_final",
    "representatives",
    "trend_predictions",
]
