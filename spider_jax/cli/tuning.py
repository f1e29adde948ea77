"""`spider-jax tune`: from a ranking to a tuned student."""

import hashlib
import shutil
import sys
from pathlib import Path
from typing import Annotated

from spider_jax.cli.output import DONE, SKIPPED, Flat, Messages, Output, Task, Zoo


def tune(
    zoo: Zoo,
    task: Task,
    student: str,
    teachers: tuple[str, ...] = ("auto:3",),
    spider: Path | None = None,
    methods: tuple[str, ...] = ("b-tuning", "fine-tuning"),
    learning_rates: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1),
    weights: tuple[float, ...] = (),
    temperatures: tuple[float, ...] = (1.0,),
    raw: bool = False,
    hidden: int = 64,
    epochs: int = 40,
    batch: int = 48,
    seeds: int = 3,
    seed: int = 0,
    out: Path | None = None,
    run: Path | None = None,
    output: Annotated[Output, Flat] = Output(),
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Tune a network on a model's features, taught by the best models; run it again, it goes on.

    Args:
        zoo: folder of the zoo.
        task: name of the task.
        student: name of the model that will be deployed.
        teachers: names, or auto:K for the K best.
        spider: folder of a spider that ranks the teachers; default: LogME on the training rows.
        methods: b-tuning, fine-tuning, l2-sp, distillation, head-only.
        learning_rates: to choose from on validation rows.
        weights: of the penalty, to choose from; default: the method's own.
        temperatures: of the teachers' weights, to choose from.
        raw: weigh teachers by LogME as it is, not standardised.
        hidden: units of the student's own layer.
        epochs: of every run.
        batch: rows a step.
        seeds: runs of every setting.
        seed: of the first one, and of a split where the zoo has none.
        out: folder for the student that is best on validation rows.
        run: folder for checkpoints; default: in the user's cache until it is done.
    """
    show = messages.start()
    from spider_jax.spider.spider import Spider
    from spider_jax.storage.cache import default_folder
    from spider_jax.tuning.config import TuneConfig
    from spider_jax.tuning.files import refuse_foreign
    from spider_jax.tuning.zoo import tune_zoo
    from spider_jax.zoo.store import FeatureStore

    if out is not None:
        refuse_foreign(out)  # before the work, not after it
    store = FeatureStore(zoo)
    config = TuneConfig(
        learning_rates,
        weights,
        temperatures,
        standardised=not raw,
        seeds=seeds,
        seed=seed,
        epochs=epochs,
        batch=batch,
    )
    asked = (zoo.absolute(), task, student, teachers, spider, methods, config, hidden)
    name = hashlib.sha256(repr(asked).encode()).hexdigest()[:24]
    folder = run or default_folder("tunings") / name
    found = tune_zoo(
        store,
        task,
        student,
        teachers=teachers,
        spider=None if spider is None else Spider.load(spider),
        methods=methods,
        config=config,
        hidden=hidden,
        run=folder,
        show_progress=show,
    )
    if out is not None and found.student is not None:
        found.student.save(out)
        print(f"written: {out}", file=sys.stderr)
    rows, said = found.rows(), found.statements()
    output.write("tuned-students", found.COLUMNS, rows, found.to_text(), task=task, notes=said)
    if run is None:
        shutil.rmtree(folder, ignore_errors=True)  # nothing is left to go on from
    for problem in found.problems:
        print(f"spider-jax: skipped: {problem}", file=sys.stderr)
    return SKIPPED if found.problems else DONE
