"""The commonest job in one call: these models, this labelled data, which is the best?

    spider-jax compare --model timm:resnet18 timm:vit_tiny_patch16_224 --data photos/

In Python `spider_jax.compare(["timm:resnet18", ...], "photos/")`, or `compare_models` for the
posterior: it takes in results, says probabilities, and says why (`explain`). Models run once; their
features are kept, and the same call again is answered at once.

>>> import tempfile
>>> from pathlib import Path
>>> import numpy as np
>>> import spider_jax
>>> temporary, rng = tempfile.TemporaryDirectory(), np.random.default_rng(0)
>>> folder, labels = Path(temporary.name), np.arange(60) % 3
>>> np.save(folder / "pets.npy", labels)
>>> for name, noise in (("blurred", 4.0), ("clear", 1.0), ("dim", 8.0)):
...     features = np.eye(3)[labels] * 3 + noise * rng.normal(size=(60, 3))
...     np.save(folder / f"{name}.npy", features.astype(np.float32))
>>> files = [folder / f"{name}.npy" for name in ("blurred", "clear", "dim")]
>>> spider_jax.compare(files, folder / "pets.npy", out=folder / "zoo").names[0]
'clear'
>>> temporary.cleanup()

What it costs
-------------
A forward pass of every model over the data, once, and three metrics of its features. A budget says
how many models run, or how long.

When not to trust it
--------------------
- Without a spider nothing is known of a model beforehand: the order is that of three metrics, read
  as they are on the tasks of the embedded zoos. There is no constant order to compare with.
- The truth behind it is a linear probe on frozen features, not fine-tuning.
- How sure it says to be was measured on classification; of a regression and of multi-label data
  LogME alone speaks, and its intervals are a guess.
- The cache tells a model by its spec, and by size and time of the files that the spec names. What
  else a factory or a function reads is not seen: give another name, or another `out`.
"""

from spider_jax.choose.compared import Compared, compare, compare_models

__all__ = ["Compared", "compare", "compare_models"]
