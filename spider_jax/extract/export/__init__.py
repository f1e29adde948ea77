"""Features of a model on a dataset, written into a zoo block by block.

`export` takes any `Encoder` and `Dataset`, those of a reader or of your own:

>>> import tempfile
>>> from pathlib import Path
>>> import numpy as np
>>> from spider_jax.extract.data import Dataset, classes_of_names, data_fingerprint
>>> from spider_jax.extract.export import Settings, export
>>> from spider_jax.extract.models import Encoded, Encoder
>>> from spider_jax.zoo import FeatureStore
>>> texts = ["red sky", "green leaf", "red leaf"]
>>> labels, classes = classes_of_names(["warm", "cold", "warm"])
>>> data = Dataset(
...     *("words", "made here", "text", 3, lambda row: texts[row], lambda row: f"row {row}"),
...     *(labels, "classification", classes, data_fingerprint([*texts, labels])),
... )
>>> def lengths(batch, settled):
...     return Encoded(np.array([[len(text)] for text in batch], np.float32), None)
>>> model = Encoder("lengths", "text", str, lengths, facts={"layer": "length"}, versions={})
>>> temporary = tempfile.TemporaryDirectory()
>>> zoo = Path(temporary.name)
>>> export(zoo, model, data, Settings()), export(zoo, model, data, Settings())
('written', 'there')
>>> FeatureStore(zoo).features("lengths", "words").ravel()
memmap([ 7., 10.,  8.], dtype=float32)
>>> temporary.cleanup()

Items are prepared in threads while the model runs. Where memory does not suffice for a batch, its
halves are encoded. A block of at least 256 rows is written when it is complete, under .extract/ in
the zoo, so a process that is killed loses at most that block. All processes of an export follow the
plan of the first one. Its bytes depend on the batch size, because a model may round another way in
another batch. The process that finds all blocks there joins them and moves the files into the zoo
at once. To give an unfinished export up, delete its folder.

`open_rows` reads features that exist, in blocks: .npy, .npz, .safetensors, .parquet and .csv.
"""

from spider_jax.extract.export.feature_files import Rows, open_rows
from spider_jax.extract.export.run import Extraction, Settings, export

__all__ = ["Extraction", "Rows", "Settings", "export", "open_rows"]
