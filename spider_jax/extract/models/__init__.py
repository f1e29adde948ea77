"""Readers of models, one file each: what turns pictures or texts into features.

A user names a model by a spec, [NAME=]READER:WHAT[?option=value&...]. The options of every reader:

- `torch:module:factory`, a callable that returns an nn.Module: weights (a file), head, layer (names
  of modules), and size, resize, interpolation, mean, std of the preprocessing.
- `timm:NAME`, `torchvision:NAME`: the same, and pretrained (yes, no). The preprocessing is the
  model's own unless an option changes it.
- `hf:NAME`, a folder, the cache or the hub: pooling (mean, cls, last), layer (last, mean, best, a
  number), head (yes, no), tokens.
- `onnx:FILE#tensor`: logits (a tensor), layout (nchw, nhwc), and the preprocessing.

The feature of a torch model is the input of its source head, the last linear layer or 1 x 1
convolution whose width is that of the output, pooled over places. `head=` and `layer=` say it where
that is wrong. Models run in float32 without TF32, on the first GPU if there is one.

Every reader gives an `Encoder`. A model of your own, for `spider_jax.extract.export.export`, is one
too:

>>> import numpy as np
>>> from spider_jax.extract.models import Encoded, Encoder, softmax
>>> def count_letters(batch, settled):
...     counts = [[text.count(letter) for letter in "aeiou"] for text in batch]
...     return Encoded(np.array(counts, np.float32), None)
>>> model = Encoder(
...     name="vowels",
...     modality="text",
...     prepare=str,
...     encode=count_letters,
...     facts={"source": "made here", "layer": "counts"},
...     versions={"numpy": np.__version__},
... )
>>> model.encode(["green leaf"], None).features
array([[1., 3., 0., 0., 0.]], dtype=float32)
>>> softmax(np.array([[0.0, 0.0]]))
array([[0.5, 0.5]], dtype=float32)
"""

from spider_jax.extract.models.encoder import Encoded, Encoder, check_encoded, softmax

__all__ = ["Encoded", "Encoder", "check_encoded", "softmax"]
