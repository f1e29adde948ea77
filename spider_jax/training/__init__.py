"""How a spider is trained on a zoo: settings, teachers, target orders, the steps, the devices.

A training draws meta-tasks from the classes of the zoo's source datasets. Teachers, which are
training-free metrics, score all models on every meta-task; their scores, corrected where the zoo
knows true accuracies, are the order that the spider learns. An ensemble is trained at once. Each
member leaves other source datasets out of its training, and is judged on these: they choose the
epoch that counts, and the resolution of the spider's rankings.

Train
-----
From a shell, on every task that the manifest does not hold out:

    spider-jax train ZOO --config PAGE --out OUT

In Python:

>>> from spider_jax import TaskConfig
>>> from spider_jax.training import TEACHERS, TrainConfig, source_datasets, train
>>> from spider_jax.zoo.embedded import embedded_zoo
>>> zoo = embedded_zoo()
>>> len(source_datasets(zoo)), sorted(TEACHERS)
(10, ['h_score_shrunk', 'knn', 'logme', 'ridge'])
>>> config = TrainConfig(tasks=TaskConfig(count=24), epochs=20, members=2)
>>> spider = train(zoo, config)  # doctest: +SKIP
>>> len(spider.rank_task(zoo, "furniture_room").names)  # doctest: +SKIP
21

`help(TrainConfig)` and `help(TaskConfig)` say what every setting means and when to change it. A
page is a TOML file with the same names (`load_config`). `configs/train/` holds one for each use;
its header gives the command, the time and the result to expect. A value that cannot be is refused
at once:

>>> TrainConfig(epochs=0)
Traceback (most recent call last):
    ...
spider_jax.errors.InputError: epochs must be at least 1, got 0

What it costs
-------------
The teachers take nearly all of the time: about 10 minutes on two cores for 23 models and 1,000
meta-tasks, less with fewer tasks, smaller tasks or one cheap teacher. Their metrics are kept by
content in the user's cache, so another training on the same tasks starts at once. Features are
memmaps and need not fit in memory. `bench/zoos/make_synthetic.py` writes a zoo of any size whose
right order is known, to try a size before you need it.

With `targets = "accuracies"` no teacher runs: the zoo's true accuracies are learned, and a
meta-task has all classes of one source dataset.

Interruptions
-------------
The same command goes on where it was interrupted. OUT.run (`--run DIR`, `train(..., run=DIR)`)
holds checkpoints until the spider is written, and metrics.jsonl with loss, held-out tau and tasks a
second of every epoch. Another configuration or zoo in the same folder is refused.

Devices and processes
---------------------
`parallel = "mesh"` deals the tasks of a batch over all devices, `"pmap"` over those of one process.
`model_shards` splits the models' tokens over so many devices. None of them changes the result
beyond rounding.

Several processes train together, under SLURM by themselves (`srun spider-jax train ...`), else with
the same command and the number of each. All must see ZOO and OUT. The port of process 0 is not
authenticated: use it on trusted networks only.

    spider-jax train ZOO --out OUT --coordinator 10.0.0.1:4567 --processes 2 --process 0
    spider-jax train ZOO --out OUT --coordinator 10.0.0.1:4567 --processes 2 --process 1

When not to trust it
--------------------
Few source datasets make a spider fragile: it learns from them what tells tasks apart. With one
source dataset, or `held_out = 0`, nothing is held out: the last epoch counts, and the resolution of
a ranking is not known. Models that cannot be read are left out, logged, and listed in
`spider.description.training["left_out"]`.
"""

from spider_jax.training.config import TrainConfig, load_config
from spider_jax.training.teachers import TEACHERS, teach
from spider_jax.training.train_spider import train
from spider_jax.training.training_set import source_datasets

__all__ = ["TEACHERS", "TrainConfig", "load_config", "source_datasets", "teach", "train"]
