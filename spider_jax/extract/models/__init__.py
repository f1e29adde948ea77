"""Readers of models, one file each: what turns pictures or texts into features.

A user names a model by a spec, [NAME=]READER:WHAT[?option=value&...]. The options of every reader:

- `torch:module:factory`, a callable that returns an nn.Module: weights (a file), head, layer (names
  of modules), channels (first, last), and size, resize, interpolation, mean, std of the
  preprocessing.
- `timm:NAME`, `torchvision:NAME`: the same, and pretrained (yes, no). The preprocessing is the
  model's own unless an option changes it.
- `hf:NAME`, a folder, the cache or the hub: pooling (mean, cls, last, own), layer (last, mean,
  best, a number), head (yes, no), tokens.
- `onnx:FILE#tensor`: logits (a tensor), layout (nchw, nhwc), channels (first, last), and the
  preprocessing. A graph with several outputs needs the tensor.

The feature of a torch model is the input of its source head, the last linear layer or 1 x 1
convolution whose output is the model's by value, pooled over places; of heads that are averaged it
is the mean of their inputs. `head=` and `layer=` say it where that is wrong. Of a transformer it is
what the classifier of pictures reads, else its own pooled output; of a text the mean over tokens.
Models run in float32 without TF32, on the first GPU if there is one. Before an export a few rows
are encoded together, again, and one alone: a model whose features depend on chance or on other rows
is refused.

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
