"""The command line: each command a few lines over one public function.

Data on stdout, messages and progress on stderr. Exit 0 done, 1 unexpected failure, 2 bad input or
a file that cannot be read or written, 3 done but some models were skipped (listed).
"""

import json
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from spider_jax.cli import extract as cli_extract
from spider_jax.cli import selection as cli_select
from spider_jax.cli import tuning as cli_tune
from spider_jax.cli.output import (
    BAD_INPUT,
    DONE,
    FAILED,
    SKIPPED,
    Flat,
    Messages,
    Models,
    Output,
    SpiderFolder,
    Task,
    Zoo,
)
from spider_jax.errors import InputError


def demo(
    out: Path | None = None,
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Train on the embedded zoo, rank its models for held-out tasks, compare with every baseline.

    Args:
        out: folder for the spider, the rankings as CSV and JSON, and a Markdown summary.
    """
    show = messages.start()
    from spider_jax.demo import run_demo

    found = run_demo(show_progress=show)
    print(found.to_text())
    if out is not None:
        found.save(out)
        print(f"\nwritten: {out}", file=sys.stderr)
    return DONE


def inspect(
    zoo: Zoo,
    check: bool = False,
    output: Annotated[Output, Flat] = Output(),
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Show the models, widths, tasks and sizes of a zoo, and what is missing or broken.

    Args:
        zoo: folder of the zoo.
        check: also read every value (finds NaN; takes as long as reading the zoo).
    """
    show = messages.start()
    from spider_jax.zoo.inspection import inspect_zoo
    from spider_jax.zoo.store import FeatureStore

    found = inspect_zoo(FeatureStore(zoo), check=check, show_progress=show)
    tasks = found.task_entries()
    more = {"unfinished": list(found.unfinished), "costs": list(found.costs())}
    output.write("inspection", found.columns, found.rows, found.to_text(), tasks=tasks, **more)
    return _skipped(found.problems)


def score(
    zoo: Zoo,
    task: Task,
    metrics: tuple[str, ...] = (),
    cache: bool = True,
    output: Annotated[Output, Flat] = Output(),
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Score every model of a zoo on a task with training-free metrics.

    Args:
        zoo: folder of the zoo.
        task: name of the task.
        metrics: names of metrics, or "all"; default: those that are worth their cost.
        cache: keep scores in the user's cache and take from there what was computed before.
    """
    show = messages.start()
    from spider_jax.metrics import DEFAULT_METRICS, METRICS
    from spider_jax.zoo.scores import score_zoo
    from spider_jax.zoo.store import FeatureStore

    store = FeatureStore(zoo)
    chosen = tuple(METRICS) if metrics == ("all",) else metrics or DEFAULT_METRICS
    table = score_zoo(store, task, chosen, cache=cache, show_progress=show)
    output.write("scores", *table.listing(store.accuracies))
    return _skipped(table.problems)


def train(
    zoo: Zoo,
    out: Path,
    config: Path | None = None,
    hold_out: tuple[str, ...] = (),
    seed: int | None = None,
    run: Path | None = None,
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Train a spider on a zoo; run it again after an interruption, it goes on.

    Several processes train together where each is given --coordinator, --processes and --process,
    or where SLURM started them.

    Args:
        zoo: folder of the zoo.
        out: folder for the spider.
        config: a TOML page, see configs/; default: TrainConfig().
        hold_out: tasks to leave out of training, besides those the manifest holds out.
        seed: instead of the configuration's.
        run: folder for checkpoints and metrics.jsonl; default: beside OUT, with ".run" at its end.
        coordinator: host:port of process 0, which listens there; on trusted networks only.
        processes: how many there are.
        process: number of this one, from 0.
    """
    show = messages.start()
    from dataclasses import replace

    from spider_jax.cli.output import keep_stdout
    from spider_jax.runtime import processes as distributed
    from spider_jax.spider.checkpoint import refuse_foreign
    from spider_jax.storage.run_folder import remove_checkpoints
    from spider_jax.storage.toml_page import load_config
    from spider_jax.training.config import TrainConfig
    from spider_jax.training.train_spider import train as train_spider
    from spider_jax.training.training_set import source_datasets
    from spider_jax.zoo.store import FeatureStore

    refuse_foreign(out)  # before the work, not after it
    where = distributed.place(coordinator, processes, process, os.environ)
    if where is not None:
        keep_stdout()
        distributed.connect(where)
        show = show and where.process == 0
    store = FeatureStore(zoo)
    settings = load_config(config) if config else TrainConfig()
    settings = settings if seed is None else replace(settings, seed=seed)
    for name in hold_out:
        store.kind(name)  # an unknown name is an error, not ignored
    datasets = [task for task in source_datasets(store) if task not in hold_out]
    run = run or out.with_name(out.name + ".run")
    spider = train_spider(store, settings, datasets=datasets, run=run, show_progress=show)
    if where is not None and where.process > 0:
        return DONE
    spider.save(out)
    remove_checkpoints(run)
    training = spider.description.training
    taus = [h["held_out_tau"] for h in training["history"] if h["held_out_tau"] is not None]
    tau = f"{max(taus):.3f} against the teachers" if taus else "not known (no task to judge by)"
    print(
        f"{len(spider.models)} models, {len(datasets)} source datasets, "
        f"held-out weighted tau {tau}, written to {out}"
    )
    return _skipped(training["left_out"])


def rank(
    spider: SpiderFolder,
    zoo: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="ZOO")] = None,
    task: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="TASK")] = None,
    data: str | None = None,
    extractor: str | None = None,
    clusters: int = 10,
    bins: int = 10,
    rerank: int | Literal["auto"] = 0,
    by: str = "evidence",
    top: int | None = None,
    output: Annotated[Output, Flat] = Output(),
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Rank all models of a spider for a task of a zoo; only the extractor's features are read.

    With --data instead of ZOO and TASK the extractor runs on the data here.
    With --rerank K the K best are then looked at with their own features and sorted again.

    Args:
        spider: folder of the spider.
        zoo: folder of a zoo that holds the task's labels and the extractor's features on it.
        task: name of the task.
        data: [NAME=]READER:WHAT as for extract, instead of a zoo and a task.
        extractor: [NAME=]READER:WHAT of the model that the spider knows tasks by; default: the
            environment variable SPIDER_JAX_EXTRACTOR.
        clusters: k-means centres for data without labels.
        bins: of a regression.
        rerank: how many models to look at, whose features the zoo must hold; "auto" for as many
            as paid on held-out source tasks.
        by: how: "evidence" (the spider's score and its teachers' metrics), "attention" (the network
            with the models' own class centres), or the name of a metric.
        top: show only the best so many.
    """
    show = messages.start()
    from spider_jax.spider.spider import Spider
    from spider_jax.zoo.store import FeatureStore

    if by != "evidence" and rerank == 0:
        raise InputError(f"--by {by} says how --rerank looks at models: give --rerank K as well")
    if data is not None:
        if zoo is not None or rerank != 0:
            raise InputError("--data takes the place of ZOO and TASK, and goes without --rerank")
        ranking = cli_extract.ranking_of_data(spider, data, extractor, clusters, bins, show)
    elif zoo is None or task is None:
        raise InputError("rank needs ZOO and TASK, or --data")
    else:
        ranking = Spider.load(spider).rank_task(FeatureStore(zoo), task, k=rerank, by=by)
    text, content = ranking.to_text(top), ranking.to_content()
    content["models"] = content["models"][:top]
    if output.csv is not None:
        ranking.to_csv(output.csv)
    print(json.dumps(content, indent=1, ensure_ascii=False) if output.json else text)
    return _skipped(ranking.skipped)


def add(
    spider: SpiderFolder,
    zoo: Zoo,
    models: Models = (),
    cold: bool = False,
    out: Path | None = None,
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Add models of a zoo to a spider without training; no other model's score changes.

    Args:
        spider: folder of the spider.
        zoo: folder of a zoo with the labels of the training and the new models' features.
        models: names; default: all of the zoo that the spider does not know.
        cold: add models without features too, by a guess from what the manifest tells of them.
        out: folder for the new spider; default: the spider itself is replaced.
    """
    show = messages.start()
    from spider_jax.onboarding.add_models import add as add_models
    from spider_jax.spider.checkpoint import refuse_foreign
    from spider_jax.spider.spider import Spider
    from spider_jax.zoo.store import FeatureStore

    target = out or spider
    refuse_foreign(target)
    before = Spider.load(spider)
    found = add_models(before, FeatureStore(zoo), models or None, cold=cold, show_progress=show)
    found.spider.save(target)
    guessed = len(found.spider.guessed) - len(before.guessed)
    guesses = f", {guessed} of them by a guess" if guessed else ""
    print(f"{len(found.models)} added{guesses}, {len(found.spider.models)} models in {target}")
    return _skipped(found.problems)


def remove(
    spider: SpiderFolder,
    models: Models,
    out: Path | None = None,
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Take models out of a spider; no other model's score changes.

    Args:
        spider: folder of the spider.
        models: names.
        out: folder for the new spider; default: the spider itself is replaced.
    """
    messages.start()
    from spider_jax.onboarding.add_models import remove as remove_models
    from spider_jax.spider.spider import Spider

    if not models:
        raise InputError("remove needs the name of at least one model")
    return _changed(remove_models(Spider.load(spider), models), out or spider)


def rename(
    spider: SpiderFolder,
    old: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OLD")],
    new: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NEW")],
    out: Path | None = None,
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Give a model of a spider another name.

    Args:
        spider: folder of the spider.
        old: its name.
        new: the other name.
        out: folder for the new spider; default: the spider itself is replaced.
    """
    show = messages.start()
    from spider_jax.onboarding.add_models import rename as rename_model
    from spider_jax.spider.spider import Spider

    code = _changed(rename_model(Spider.load(spider), {old: new}), out or spider)
    if show:
        print(
            f"spider-jax: an index keeps {old} until it is removed there and {new} appended, a zoo "
            "until its folder of features is renamed",
            file=sys.stderr,
        )
    return code


def _changed(spider: Any, target: Path) -> int:
    spider.save(target)
    print(f"{len(spider.models)} models in {target}")
    return DONE


def index() -> int:
    """Build, change, check and search an index of many models: `spider-jax index --help`."""
    return _run(["index", "--help"])


INTERRUPTED = 130

COMMANDS: dict[str, Any] = {
    "demo": demo,
    "inspect": inspect,
    "score": score,
    "train": train,
    "rank": rank,
    "add": add,
    "remove": remove,
    "rename": rename,
    "index": index,
    "extract": cli_extract.extract,
    "select": cli_select.select,
    "tune": cli_tune.tune,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit code."""
    code: Any = FAILED
    try:
        try:
            code = _run(list(sys.argv[1:] if arguments is None else arguments))
        finally:
            _flush()
    except InputError as error:
        print(f"spider-jax: {error}", file=sys.stderr)
        code = BAD_INPUT
    except KeyboardInterrupt:
        print("spider-jax: interrupted: the same command goes on or begins anew", file=sys.stderr)
        sys.stderr.flush()
        os._exit(INTERRUPTED)  # compiled work still runs in threads, which leaving would wait for
    except BrokenPipeError:  # the reader has seen enough, as in `| head`
        code = DONE
    except OSError as error:  # a file without permission, a full disk
        print(f"spider-jax: {' '.join(str(error).split())}", file=sys.stderr)
        code = BAD_INPUT
    sys.exit(code)


def _run(arguments: list[str]) -> Any:
    """The exit code of a command, or of a command of `index`."""
    from spider_jax.cli import index as cli_index

    if arguments == ["--version"]:
        print(f"spider-jax {version('spider_jax')}")
        return DONE
    commands, prog, about = COMMANDS, "spider-jax", __doc__
    if arguments[:1] == ["index"] and len(arguments) > 1:
        commands, prog, about = cli_index.COMMANDS, "spider-jax index", cli_index.__doc__
        arguments = arguments[1:]
    return tyro.extras.subcommand_cli_from_dict(
        commands, prog=prog, args=arguments, description=about
    )


def _flush() -> None:
    """Write what stdout still holds; drop it where that fails, or Python would fail on leaving."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise


def _skipped(problems: Sequence[object]) -> int:
    for problem in problems:
        print(f"spider-jax: skipped: {problem}", file=sys.stderr)
    return SKIPPED if problems else DONE
