"""`train` and `rank`: a spider from a zoo, and its order of the models for a task."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from spider_jax.cli.facts import FactOptions
from spider_jax.cli.output import (
    DONE,
    Flat,
    Messages,
    Output,
    SpiderFolder,
    Zoo,
    messages_only,
    report_skipped,
    say,
)
from spider_jax.cli.recommend import rank_prior, refuse_with_prior
from spider_jax.errors import InputError


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
        messages: what goes to stderr.
    """
    show = messages.start()
    from dataclasses import replace

    from spider_jax.cli.output import keep_stdout
    from spider_jax.runtime import processes as distributed
    from spider_jax.spider.checkpoint import refuse_foreign
    from spider_jax.storage.run_folder import remove_checkpoints
    from spider_jax.training.config import TrainConfig, load_config
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
    share = ""
    if spider.beliefs is not None:  # by held-out datasets
        share = f"the network's share {spider.network_weight * settings.memory:.2f}, "
    say(
        f"{len(spider.models)} models, {len(datasets)} source datasets, "
        f"held-out weighted tau {tau}, {share}written to {out}"
    )
    return report_skipped([*training["left_out"], *store.problems_on(*datasets)])


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
    describe: str = "",
    like: tuple[str, ...] = (),
    fact: tuple[str, ...] = (),
    explain: str | None = None,
    top: int | None = None,
    about: Annotated[FactOptions, Flat] = FactOptions(),
    output: Annotated[Output, Flat] = Output(),
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Rank all models of a spider for a task of a zoo; only the extractor's features are read.

    With a prior from `records fit` instead of a spider the task is described, and nothing is read.

    With --data instead of ZOO and TASK the extractor runs on the data here.
    With --rerank K the K best are then looked at with their own features and sorted again.

    Args:
        spider: folder of the spider, or of a prior.
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
        describe: with a prior: the task, in words.
        like: with a prior: known tasks that it is like.
        fact: with a prior: COLUMN=TEXT of the task, as the table of tasks has it.
        explain: a model: say why it stands where it stands, instead of the table.
        top: show only the best so many.
        about: facts of the models.
        output: how data is written.
        messages: what goes to stderr.
    """
    show = messages.start()
    from spider_jax.recommend.saved_prior import is_prior

    about.check()
    if is_prior(spider):
        given: dict[str, object] = {"ZOO": zoo, "TASK": task, "--data": data}
        given |= {"--extractor": extractor}
        given |= {"--rerank": rerank or None, "--by": None if by == "evidence" else by}
        given |= {"--clusters": None if clusters == 10 else clusters}
        given |= {"--bins": None if bins == 10 else bins}
        refuse_with_prior(spider, given)
        if explain is not None:
            from spider_jax.cli.explain import explain_prior

            return output.write(explain_prior(spider, explain, describe, like, fact))
        ranking = rank_prior(spider, describe, like, fact, about)
        return output.write(ranking, ranking.page(top), models=ranking.data()["models"][:top])
    if describe or like or fact:
        raise InputError(
            f"--describe, --like and --fact go with a prior from records; {spider} is none: make "
            "one with `spider-jax records fit`"
        )
    from spider_jax.extract.target_task import rank_data, task_for
    from spider_jax.onboarding.training_tasks import names_of_training_tasks
    from spider_jax.spider.spider import Spider
    from spider_jax.tasks.tokens import zoo_tokens
    from spider_jax.zoo.store import FeatureStore

    if explain is not None and by != "evidence":
        raise InputError(f"--explain says what evidence moved; it goes without --by {by}")
    if by != "evidence" and rerank == 0:
        raise InputError(f"--by {by} says how --rerank looks at models: give --rerank K as well")
    beside: Sequence[object] = ()
    known: FeatureStore | None = None
    task_facts: Mapping[str, object] = {}
    if data is not None:
        if zoo is not None or rerank != 0:
            raise InputError("--data takes the place of ZOO and TASK, and goes without --rerank")
        loaded = Spider.load(spider)
        how = {"clusters": clusters, "bins": bins}
        with messages_only():  # the extractor may be anyone's code
            if explain is not None:
                found = task_for(loaded, data, extractor, **how, show_progress=show)
                return output.write(loaded.explain(found.tokens, explain, task=found.name))
            ranking = rank_data(loaded, data, extractor, **how, show_progress=show)
    elif zoo is None or task is None:
        raise InputError("rank needs ZOO and TASK, or --data")
    else:
        store, loaded = FeatureStore(zoo), Spider.load(spider)
        if explain is not None:
            tokens = zoo_tokens(store, task, loaded.description.extractor)
            names = names_of_training_tasks(loaded, store)
            why = loaded.explain(tokens, explain, k=rerank, zoo=store, task=task, known=names)
            return output.write(why, beside=store.problems_on(task))
        ranking = loaded.rank_task(store, task, k=rerank, by=by)
        beside = store.problems_on(task)
        known, task_facts = store, store.task_info(task)
    ranking = about.shortlist(ranking, about.table(ranking.names, known), task_facts)
    shown = ranking.data()["models"][:top]
    return output.write(ranking, ranking.page(top), beside=beside, models=shown)
