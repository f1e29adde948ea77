"""`spider-jax tune`: from a ranking to a tuned student."""

import hashlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypedDict

from tyro.conf import arg

from spider_jax.cli.output import Flat, Messages, Output, Task, Zoo, note

if TYPE_CHECKING:
    from spider_jax.tuning.config import TuneZooConfig


class TuneOptions(TypedDict, total=False):
    """Fields of TuneZooConfig and its TuneConfig: only those that were given."""

    teachers: Annotated[tuple[str, ...], arg(help_behavior_hint="(default: auto:3)")]
    """Names, or auto:K for the K best."""
    methods: Annotated[tuple[str, ...], arg(help_behavior_hint="(default: b-tuning fine-tuning)")]
    """b-tuning, fine-tuning, l2-sp, distillation, head-only."""
    learning_rates: Annotated[
        tuple[float, ...], arg(help_behavior_hint="(default: 0.003 0.01 0.03 0.1)")
    ]
    """To choose from on validation rows."""
    weights: Annotated[tuple[float, ...], arg(help_behavior_hint="(default: the method's own)")]
    """Of the penalty, to choose from."""
    temperatures: Annotated[tuple[float, ...], arg(help_behavior_hint="(default: 1.0)")]
    """Of the teachers' weights, to choose from."""
    raw: Annotated[bool, arg(help_behavior_hint="(default: False)")]
    """Weigh teachers by LogME as it is, not standardised."""
    hidden: Annotated[int, arg(help_behavior_hint="(default: 64)")]
    """Units of the student's own layer."""
    epochs: Annotated[int, arg(help_behavior_hint="(default: 40)")]
    """Of every run."""
    batch: Annotated[int, arg(help_behavior_hint="(default: 48)")]
    """Rows a step."""
    seeds: Annotated[int, arg(help_behavior_hint="(default: 3)")]
    """Runs of every setting."""
    seed: Annotated[int, arg(help_behavior_hint="(default: 0)")]
    """Of the first one, and of a split where the zoo has none."""


def tune(
    zoo: Zoo,
    task: Task,
    student: str,
    settings: Annotated[TuneOptions, Flat],
    config: Path | None = None,
    spider: Path | None = None,
    out: Path | None = None,
    run: Path | None = None,
    output: Annotated[Output, Flat] = Output(),
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Tune a network on a model's features, taught by the best models; run it again, it goes on.

    Its rows are methods, not models, so there are no facts to show or to choose by: choose the
    student by `rank --where --show`, and name it here.

    Args:
        zoo: folder of the zoo.
        task: name of the task.
        student: name of the model that will be deployed.
        settings: What is given here goes before the page of --config, and that before the defaults.
        config: a TOML page of settings, see configs/tune/.
        spider: folder of a spider that ranks the teachers; default: LogME on the training rows.
        out: folder for the student that is best on validation rows.
        run: folder for checkpoints; default: in the user's cache until it is done.
        output: how data is written.
        messages: what goes to stderr.
    """
    show = messages.start()
    from spider_jax.spider.spider import Spider
    from spider_jax.storage.cache import default_folder
    from spider_jax.tuning.files import refuse_foreign
    from spider_jax.tuning.zoo import tune_zoo
    from spider_jax.zoo.store import FeatureStore

    if out is not None:
        refuse_foreign(out)  # before the work, not after it
    store = FeatureStore(zoo)
    asked = _asked(config, settings)
    about = (
        zoo.absolute(),
        task,
        student,
        asked.teachers,
        spider,
        asked.methods,
        asked.training,
        asked.hidden,
    )
    name = hashlib.sha256(repr(about).encode()).hexdigest()[:24]
    folder = run or default_folder("tunings") / name
    found = tune_zoo(
        store,
        task,
        student,
        teachers=asked.teachers,
        spider=None if spider is None else Spider.load(spider),
        methods=asked.methods,
        config=asked.training,
        hidden=asked.hidden,
        run=folder,
        show_progress=show,
    )
    if out is not None and found.student is not None:
        found.student.save(out)
        note(f"written: {out}")
    code = output.write(found, beside=store.problems_on(task), task=task)
    if run is None:
        shutil.rmtree(folder, ignore_errors=True)  # nothing is left to go on from
    return code


def _asked(page: Path | None, options: TuneOptions) -> "TuneZooConfig":
    """The settings of a page, if one is given, and the options before them."""
    from spider_jax.storage.toml_page import read_page, with_options
    from spider_jax.tuning.config import TuneZooConfig

    given = dict(options)
    if "raw" in given:
        given["standardised"] = not given.pop("raw")
    return with_options(read_page(page, TuneZooConfig) if page else TuneZooConfig(), given)
