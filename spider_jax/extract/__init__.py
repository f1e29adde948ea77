"""From models and data to a zoo, or to the tokens of one task.

    pip install "spider_jax[extract]"
    spider-jax extract --model "psi=torch:my_models:make?weights=w.safetensors" \\
        --data folder:photos/ --out zoo/ --extractor
    spider-jax extract --model timm:resnet18 hf:org/encoder \\
        --data pets=tfds:oxford_iiit_pet:train --out zoo/

A model and data are named by a spec, [NAME=]READER:WHAT[?option=value&option=value]. NAME is the
name in the zoo; without it the reader chooses one. Beside torch, a reader may need a package of its
own, `pip install "spider_jax[timm]"` or torchvision, transformers, datasets, onnx; the error names
it.

    models                               data
    torch:module:factory                 folder:PATH, a sub-folder for each class
    timm:NAME                            arrays:FILE.npz or arrays:FILE.npy
    torchvision:NAME                     tfds:NAME[/config]:split
    hf:NAME                              hf:NAME:split
    onnx:FILE#tensor                     csv:FILE
    features:FILE, features that exist   parquet:FILE

`help(spider_jax.extract.models)` and `help(spider_jax.extract.data)` list their options.

In Python. Features that exist already are put into a zoo without running a model:

>>> import tempfile
>>> from pathlib import Path
>>> import numpy as np
>>> from spider_jax.extract import extract
>>> from spider_jax.zoo import FeatureStore
>>> temporary, rng = tempfile.TemporaryDirectory(), np.random.default_rng(0)
>>> folder = Path(temporary.name)
>>> np.save(folder / "labels.npy", np.arange(30) % 3)
>>> np.save(folder / "resnet.npy", rng.normal(size=(30, 8)).astype(np.float16))
>>> models, data = f"resnet=features:{folder}/resnet.npy", f"pets=arrays:{folder}/labels.npy"
>>> done = extract([models], [data], folder / "zoo")
>>> done.written, done.problems
([('resnet', 'pets')], [])
>>> FeatureStore(folder / "zoo").features("resnet", "pets").shape
(30, 8)
>>> temporary.cleanup()

Models and data of your own are called the same way: `extract(["timm:resnet18"],
["folder:photos/"], "zoo/")`. `import_features` does the same for one file of features.

A task that no zoo holds
------------------------
To rank models for your data, only the general extractor has to run on them:

    spider-jax rank SPIDER --data folder:photos/ --extractor "psi=torch:my_models:make?weights=..."

In Python `rank_data(spider, "folder:photos/", "psi=torch:...")`, or `task_from` for the tokens
alone. The environment variable SPIDER_JAX_EXTRACTOR may hold the extractor's spec. Data without
labels become k-means centres, a regression becomes quantile bins; the ranking says so.

What to expect
--------------
- **Run it again and it goes on.** What is written is kept, what is missing is computed. An export
  that was interrupted loses at most one block of rows.
- **Several machines** that see the folder share the work: `--shard i/n`, the same command with each
  i. The process that ends last joins the parts. The bytes are those of one process with the same
  batch size.
- **One failure does not stop the rest**: it is listed, and the exit code is 3.
- **Broken items** (pictures that do not open, texts that are missing or empty) are all named at
  once. Up to 1 % of a dataset's items are left out (`--left-out` says another share): the task has
  fewer rows, the manifest records which, and every model that follows has the same rows. With more
  of them the task fails; what was encoded is kept, and once they are mended the same call goes on.
- **What is passed over is said**: files that are no pictures, leftovers of archives, columns of a
  table that are no features. Equal items are counted.
- **The manifest records** weights hash, preprocessing, layer, versions and a SHA-256 of what the
  items hold and of their labels. Other data or weights under the same name are refused; a picture
  that is replaced makes other data. Every call reads the files of the data once for it.
- **Features** of a torch model are the input of its source head, pooled over places; those of a
  transformer are what its classifier of pictures reads, or the mean over the tokens of a text. An
  option chooses another layer. The source head's softmax is kept for NCE and LEEP.
- **A model that is no function of a row is refused**: before an export a few rows are encoded
  together, again, and one alone. Dropout or masks that stay on, batch statistics and padding that
  is seen show there. So are checkpoints with missing or unknown tensors.

What it costs
-------------
N forward passes for each model and dataset of N rows, once, and three small batches before them. A
zoo takes 4 N D bytes for each (2 with `dtype="float16"`). Memory holds a batch and a block of 256
rows; `task_from` holds all features of the extractor, 4 N D bytes.

When not to trust it
--------------------
- Features that you import are checked for their number of rows and for values that are not finite,
  not for their order. Row i must belong to label i.
- A spider knows tasks by one extractor with one preprocessing. Where the zoo or the spider records
  weights hash, preprocessing and layer, another extractor is refused; where nothing is recorded,
  only its name is compared.
- k-means centres are not classes. A ranking from data without labels rests on what the extractor
  sees as alike, which may not be what you want to tell apart.
- Near-copies among the items (frames of a video, crops) are no equal items; `inspect --check` and
  `score` look for them in the features and warn.
- `hf:NAME?layer=best` chooses the layer by labels of up to 512 rows from all splits, so scores of
  that model are a little too good.

What is run
-----------
`torch:module:factory` imports and runs the module that you name. Nothing else is run: weights are
read from safetensors or by torch's restricted loader, no code of a Hugging Face repository is
executed, features of TFDS are only those of TFDS itself, and arrays with Python objects are
refused. TFDS is read in array_record, without TensorFlow.
"""

from spider_jax.extract.export.import_features import import_features
from spider_jax.extract.export.run import Extraction
from spider_jax.extract.extract_features import extract
from spider_jax.extract.target_task import TargetTask, rank_data, task_from

__all__ = ["Extraction", "TargetTask", "extract", "import_features", "rank_data", "task_from"]
