"""Results that exist: records of models on tasks with holes, and what is learned from them.

A records folder
----------------
    values.csv    model,task,value[,stderr]   or values.csv.gz, values.parquet (needs pyarrow)
    models.csv    model, and any facts        optional, or models.csv.gz
    tasks.csv     task, and any facts         optional, or tasks.csv.gz

`Records.read` takes such folders, zoos (their records/ and accuracies.csv) and single files; where
two have a result or a fact, the first wins. Of the facts of a task three are understood:

- `direction`: larger or smaller (higher, lower, ...); empty: as the measure has it, else larger. A
  column that says image, text or en-de is a fact like any other and is read as `task_direction`.
- `measure` (or `main_score`, `metric`): the values of a known one must lie in its range.
- `unit`: fraction or percent. A share may be in percent if its whole task is.

A fault is an InputError that names file, line, rule and value: a value outside its measure's range,
percent beside fractions, a pair with two values, an unknown direction, an empty name, no number.
Equal rows count once. A task with one model teaches nothing: its result is set aside and said in
`problems`, and counts when a second model comes. An empty value is a hole. 10,000,000 rows of CSV
are read in 21 s and 0.7 GB on one core of a server.

>>> import tempfile
>>> from pathlib import Path
>>> from spider_jax.records import Records
>>> with tempfile.TemporaryDirectory() as folder:
...     rows = "vgg,pets,0.5\\nvit,pets,0.75\\nvgg,birds,0.25\\n"
...     _ = Path(folder, "values.csv").write_text("model,task,value\\n" + rows)
...     records = Records.read(folder)
>>> records.problems
("task 'birds' has one model only ('vgg'): it teaches nothing and is left out",)
>>> records.with_records([("vit", "birds", 0.5)]).matrix().tolist()
[[0.5, 0.25], [0.75, 0.5]]

`import_records` adds results of other programs to a folder (a spreadsheet, mteb, lm-evaluation-
harness, model cards, timm: see `spider_jax.records.importers`), `add_result` a single one, and
`check_records` lists every fault. On the command line: `spider-jax records import|add|check`.

Past fine-tuning
----------------

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

from spider_jax.records.changes import Change, add_result, import_records
from spider_jax.records.clusters import cluster_models, model_distances, representatives
from spider_jax.records.importers.gathered import ImportOptions
from spider_jax.records.inspection import RecordsCheck, check_records
from spider_jax.records.noise import (
    ValidationNoise,
    accuracy_variance,
    best_so_far,
    measure_spread,
)
from spider_jax.records.performance import PastResults, masked_mean
from spider_jax.records.table import Records
from spider_jax.records.trends import mine_trends, predict_final, trend_predictions

__all__ = [
    "Change",
    "ImportOptions",
    "PastResults",
    "Records",
    "RecordsCheck",
    "ValidationNoise",
    "accuracy_variance",
    "add_result",
    "best_so_far",
    "check_records",
    "cluster_models",
    "import_records",
    "masked_mean",
    "measure_spread",
    "mine_trends",
    "model_distances",
    "predict_final",
    "representatives",
    "trend_predictions",
]
