"""`spider-jax index`: build, change, check and search an index of many models."""

from typing import Annotated, Any

import tyro

from spider_jax.cli.facts import FactOptions
from spider_jax.cli.output import (
    BAD_INPUT,
    DONE,
    Flat,
    IndexFolder,
    Messages,
    Models,
    Output,
    SpiderFolder,
    Zoo,
    note,
    say,
)


def build(
    spider: SpiderFolder,
    index: IndexFolder,
    precision: str | None = None,
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Fold all models of a spider into an index; after an interruption, run it again to resume.

    Args:
        spider: folder of the spider.
        index: folder for the index.
        precision: float32 or bfloat16; default: the spider's.
        messages: what goes to stderr.
    """
    show = messages.start()
    from spider_jax.index.zoo_index import ZooIndex
    from spider_jax.spider.spider import Spider

    built = ZooIndex.build(Spider.load(spider), index, precision=precision, show_progress=show)
    say(f"{len(built)} models in {index}")
    return DONE


def append(
    index: IndexFolder,
    spider: SpiderFolder,
    models: Models = (),
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Add models of a spider with the same shared weights; what the index holds stays as it is.

    Args:
        index: folder of the index.
        spider: folder of the spider.
        models: names; default: all that the index does not hold.
        messages: what goes to stderr.
    """
    show = messages.start()
    from spider_jax.index.zoo_index import ZooIndex
    from spider_jax.spider.spider import Spider

    before = ZooIndex.open(index)
    after = before.append(Spider.load(spider), models or None, show_progress=show)
    say(f"{len(after) - len(before)} added, {len(after)} models in {index}")
    return DONE


def remove(
    index: IndexFolder,
    models: Models,
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """Take models out of an index.

    Args:
        index: folder of the index.
        models: names.
        messages: what goes to stderr.
    """
    messages.start()
    from spider_jax.index.zoo_index import ZooIndex

    after = ZooIndex.open(index).remove(models)
    say(f"{len(set(models))} removed, {len(after)} models in {index}")
    return DONE


def verify(index: IndexFolder, messages: Annotated[Messages, Flat] = Messages()) -> int:
    """Read the whole index and compare it with its checksums; exit 2 where a part is damaged.

    Args:
        index: folder of the index.
        messages: what goes to stderr.
    """
    show = messages.start()
    from spider_jax.index.zoo_index import ZooIndex

    opened = ZooIndex.open(index)
    problems = opened.verify(show_progress=show)
    for problem in problems:
        note(problem)
    if not problems:
        say(f"{len(opened)} models, {len(opened.blocks)} block(s): all as written")
    return BAD_INPUT if problems else DONE


def top_k(
    index: IndexFolder,
    zoo: Zoo,
    tasks: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="TASK...")],
    k: Annotated[int, tyro.conf.arg(aliases=["-k"])] = 10,
    about: Annotated[FactOptions, Flat] = FactOptions(),
    output: Annotated[Output, Flat] = Output(),
    messages: Annotated[Messages, Flat] = Messages(),
) -> int:
    """The best k models of an index for tasks of a zoo; several tasks share one pass.

    Args:
        index: folder of the index.
        zoo: folder of a zoo that holds the tasks' labels and the extractor's features on them.
        tasks: names of the tasks.
        k: how many models.
        about: facts of the models.
        output: how data is written.
        messages: what goes to stderr.
    """
    show = messages.start()
    from spider_jax.index.zoo_index import ZooIndex
    from spider_jax.ranking.ranking import Rankings
    from spider_jax.tasks.tokens import zoo_tokens
    from spider_jax.zoo.store import FeatureStore

    about.check()
    opened, store = ZooIndex.open(index), FeatureStore(zoo)
    models = tuple(opened.names()) if about.asked else ()
    facts = about.table(models, store)
    verdict = about.verdict(facts)  # of all models, before any is scored
    among = None if verdict is None else frozenset(verdict.names)
    tokens = [zoo_tokens(store, task, opened.about.extractor) for task in tasks]
    rankings = opened.top_k_tasks(tokens, k, tasks=tasks, among=among, show_progress=show)
    rankings = [
        about.shortlist(ranking, facts, store.task_info(task), verdict)
        for ranking, task in zip(rankings, tasks, strict=True)
    ]
    return output.write(Rankings(tuple(rankings)), beside=store.problems_on(*tasks))


COMMANDS: dict[str, Any] = {
    "build": build,
    "append": append,
    "remove": remove,
    "verify": verify,
    "top-k": top_k,
}
