"""The ranker: a trained spider scores every model of its zoo for a task.

A spider is made by `spider_jax.train`, loaded by `Spider.load(folder)`, or made of the published
torch weights by `Spider.from_torch(module.state_dict(), models=[...])`. It reads a task as
`task_tokens`, nothing else, and scores all models in one compiled pass: 4 C d operations a pair.

- `spider.scores(tasks)` gives numbers. Only differences between them mean something.
- `spider.rank(tokens)` gives a `Ranking`, best first, which says what it cannot separate.
- `spider.rank(tokens, k=5, zoo=zoo, task=name)` looks at the five best models with their own
  features: five forward passes. `k="auto"` takes as many as paid on held-out source tasks.
- `spider.save(folder)` writes JSON and orbax arrays; nothing is ever unpickled.

How models are looked at is `by`:

- `"evidence"`, the default: the spider's score and the mean z-score of its teachers (LogME, kNN,
  ridge) over the k models, with the same weight;
- `"attention"`: the network attends to the model's own class centres as well, as published; exact,
  from the first pass's softmax. The spider must have been trained with `k_max`;
- the name of a metric.

A model whose features are missing keeps its first score and is listed.

A score depends on the model and the task alone: models that are added, removed or reordered leave
every other score as it is, to the bit, on the same kind of device. `precision` and `form` stay with
a spider for life.

Do not trust a ranking where the constant order does as well, where the target is unlike all source
datasets, or where there were few of them.

>>> import numpy as np
>>> from spider_jax.spider import Spider
>>> rng = np.random.default_rng(0)
>>> d, D = 4, 3  # token width, width of the extractor's features
>>> square = {f"transformer.{name}.weight": rng.normal(size=(d, d))
...     for name in ("w_qs", "w_ks", "w_vs", "fc")}
>>> vectors = {name: rng.normal(size=d) for name in ("transformer.fc.bias",
...     "transformer.layer_norm.weight", "transformer.layer_norm.bias", "mlp_head.0.weight",
...     "mlp_head.0.bias", "uni_linear.bias")}
>>> others = {"model_prompt": rng.normal(size=(1, 2, d)), "mlp_head.1.weight": np.ones((1, d)),
...     "mlp_head.1.bias": np.zeros(1), "uni_linear.weight": rng.normal(size=(d, D))}
>>> spider = Spider.from_torch(square | vectors | others, models=["resnet", "vit"])
>>> ranking = spider.rank(rng.normal(size=(5, D)))  # five class centres
>>> sorted(ranking.names)
['resnet', 'vit']
"""

from spider_jax.spider.spider import Spider
from spider_jax.spider.state import Description, SpiderState, TeacherTable

__all__ = ["Description", "Spider", "SpiderState", "TeacherTable"]
