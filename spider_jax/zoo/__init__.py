"""A model zoo on disk: labels of tasks, and the features of every model on every task.

Rankings, scores, training and selection all read a zoo. It holds no pictures, no weights and no
code. A zoo is a folder of plain .npy files, opened as memmaps and never unpickled:

    zoo/
      manifest.json                     optional: {"format": "spider_jax/zoo", "version": 1,
                                          "extractor": NAME, "models": {NAME: FACTS},
                                          "tasks": {NAME: FACTS}}
      labels/<task>.npy                 int [N] classes, float [N] or [N, K] targets, or
                                          bool [N, K] multi-labels
      features/<model>/<task>.npy       float16 or float32 [N, D], row i belongs to label i
      probabilities/<model>/<task>.npy  optional [N, Z]: softmax of the source head, for NCE, LEEP
      splits/<task>.npy                 optional int8 [N]: 0 train, 1 validation, 2 test
      domains/<task>.npy                optional int [N]: where a row comes from, for ZooD; a split
                                          made here never parts a domain
      accuracies.csv                    optional: model,task,accuracy

D and Z are each model's own. Names are path components as `urllib.parse.quote(name, safe="")`
writes them, with a leading dot quoted as well.

Make one
--------
`spider_jax.extract` runs models on data and writes a zoo. With features of your own, write the
files by any means, or with these functions:

>>> import tempfile
>>> import numpy as np
>>> from spider_jax.zoo import FeatureStore, score_zoo
>>> rng = np.random.default_rng(0)
>>> temporary, labels = tempfile.TemporaryDirectory(), np.arange(60) % 3
>>> folder = temporary.name
>>> FeatureStore.write_labels(folder, "pets", labels)
>>> for model, signal in (("good", 2), ("weak", 0.2)):
...     features = signal * np.eye(3)[labels] + rng.normal(size=(60, 3))
...     FeatureStore.write_features(folder, model, "pets", features.astype(np.float32))
>>> FeatureStore.write_manifest(folder, extractor="good")

Use one
-------
>>> zoo = FeatureStore(folder)
>>> zoo.models, zoo.tasks, zoo.extractor, zoo.problems
(('good', 'weak'), ('pets',), 'good', [])
>>> zoo.features("good", "pets").shape, zoo.training_labels("pets").shape
((60, 3), (60,))
>>> print(score_zoo(zoo, "pets", ["knn"], cache=False).to_text().splitlines()[1])
good   0.850
>>> temporary.cleanup()

From the command line:

    spider-jax inspect ZOO                             # what is there, missing or broken
    spider-jax score ZOO TASK                          # training-free metrics of all models
    spider-jax train ZOO --hold-out TASK --out SPIDER  # learn to rank its models
    spider-jax rank SPIDER ZOO TASK --csv ranking.csv

Data goes to stdout (`--json` for programs, `--csv FILE`), messages to stderr (`-q`, `-v`). Exit
codes: 0 done, 1 unexpected failure, 2 bad input (one line says what to do), 3 done but something
was skipped, and is listed.

`embedded_zoo()` opens the zoo that ships with the package: 21 vision models on 14 tasks;
`embedded_zoo("text")` is its text part: 17 text encoders on 12 tasks.

What to know
------------
- **The extractor** is one of the models: the spider knows tasks by its features. It must have
  features on every task that is used. Name it in the manifest.
- **Splits.** Rankings, metrics and teachers read rows of split 0 only; selection and tuning choose
  by split 1 and measure on split 2 once. A task without a split is used whole by the former and
  split 60/20/20 by the latter (`task_split`). A class without a training row is left out, and the
  log says so.
- **Kinds.** Whole numbers [N] are classes, floats are a regression, whole numbers or bool [N, K]
  are multi-label. `"kind"` in the facts of a task decides otherwise. Classes are re-encoded to
  0..C-1 in sorted order. -1 beside other classes marks rows without a label and is refused.
- **Copies.** Rows that are near-copies of others make neighbours look good: `inspect --check` and
  `score` warn of them.
- **Facts.** A task may also have `"classes"` (names, checked against the labels) and `"measure"`
  (of its results and for selection, for instance "matthews"; larger is better, so that errors are
  negative; what is no fraction from 0 to 1 does not count as an accuracy). Facts of a model
  (`"params"`, `"source_accuracy"`, `"family"`, ...) let a spider guess the place of a model without
  features. `"standardized": true` beside the extractor says that features are standardised already.
- **Broken files.** One broken file takes out one model on one task, or one task. It is listed in
  `FeatureStore.problems`, and everything else goes on. A link that leads out of the zoo is not
  followed.

What it costs
-------------
Opening a zoo reads the headers of its files. The first use of a feature file reads it once to look
for NaN and infinities. Features need not fit in memory. `inspect_zoo` says how many bytes a ranking
and a scoring read, and how many forward passes are missing.

When not to trust it
--------------------
Only the number of rows is checked, not their order: features whose rows are shuffled against the
labels look like features of a bad model. Rows of one dataset under two tasks, or near copies of
target rows among the source tasks, make every comparison too good. `accuracies.csv` is taken as
it is.
"""

from spider_jax.zoo.embedded import embedded_zoo
from spider_jax.zoo.inspection import Inspection, inspect_zoo
from spider_jax.zoo.scores import ScoreTable, score_zoo
from spider_jax.zoo.splits import TaskSplit, task_split
from spider_jax.zoo.store import FeatureStore, Skipped

__all__ = [
    "FeatureStore",
    "Inspection",
    "ScoreTable",
    "Skipped",
    "TaskSplit",
    "embedded_zoo",
    "inspect_zoo",
    "score_zoo",
    "task_split",
]
