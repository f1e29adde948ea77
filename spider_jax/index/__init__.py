"""A million models on disk, and one stream over them.

An index holds what a spider has folded per model. A search streams it once, whatever its size, and
several tasks share the pass: the best 100 of a million models take 1.3 s on two cores and 0.2 GB.

- `ZooIndex.build(spider, folder)` writes one; interrupted, the same call goes on.
- `index.top_k(tokens, k)` gives a `Ranking` of the best k; `top_k_tasks` serves several tasks.
- `index.append(spider)` adds the models that a newer spider has (the same shared weights, see
  `spider_jax.onboarding`); `index.remove(models)` takes some out. Neither rewrites the rest, and an
  interruption leaves the index as it was.
- `index.verify()` reads everything and compares it with the checksums.

A `jax.sharding.Mesh` with an axis "model" deals the rows over devices, and over processes under
`jax.distributed`, whose port is not authenticated: trusted networks only.

>>> import tempfile
>>> import numpy as np
>>> from spider_jax.index import ZooIndex
>>> from spider_jax.spider import Spider
>>> rng, d, D = np.random.default_rng(0), 4, 3
>>> shapes = {"model_prompt": (1, 9, d), "uni_linear.weight": (d, D), "mlp_head.1.weight": (1, d)}
>>> shapes |= {f"transformer.{n}.weight": (d, d) for n in ("w_qs", "w_ks", "w_vs", "fc")}
>>> vectors = ("layer_norm.weight", "layer_norm.bias", "fc.bias")
>>> shapes |= {f"transformer.{n}": (d,) for n in vectors}
>>> shapes |= {n: (d,) for n in ("mlp_head.0.weight", "mlp_head.0.bias", "uni_linear.bias")}
>>> shapes |= {"mlp_head.1.bias": (1,)}
>>> state = {name: rng.normal(size=shape) for name, shape in shapes.items()}
>>> spider = Spider.from_torch(state, models=[f"model {i}" for i in range(9)])
>>> with tempfile.TemporaryDirectory() as folder:
...     index = ZooIndex.build(spider, f"{folder}/index").remove(["model 4"])
...     best = index.top_k(rng.normal(size=(5, D)), k=3)
>>> len(index), len(best.names)
(8, 3)
"""

from spider_jax.index.zoo_index import ZooIndex

__all__ = ["ZooIndex"]
