"""`add`, `remove` and `rename`: the models of a spider, changed without training."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import tyro

from spider_jax.cli.output import (
    DONE,
    Flat,
    Messages,
    Models,
    SpiderFolder,
    Zoo,
    note,
    report_skipped,
    say,
)
from spider_jax.errors import InputError
from spider_jax.storage.locks import locked_folder
from spider_jax.storage.opening import refuse_link


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
        messages: what goes to stderr.
    """
    show = messages.start()
    from spider_jax.onboarding.add_models import add as add_models
    from spider_jax.spider.checkpoint import refuse_foreign
    from spider_jax.spider.spider import Spider
    from spider_jax.zoo.store import FeatureStore

    target = out or spider
    refuse_foreign(target)
    store = FeatureStore(zoo)
    with _held(spider, target):
        before = Spider.load(spider)
        found = add_models(before, store, models or None, cold=cold, show_progress=show)
        found.spider.save(target)
    guessed = len(found.spider.guessed) - len(before.guessed)
    guesses = f", {guessed} of them by a guess" if guessed else ""
    say(f"{len(found.models)} added{guesses}, {len(found.spider.models)} models in {target}")
    return report_skipped([*found.problems, *store.problems_on()])


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
        messages: what goes to stderr.
    """
    messages.start()
    from spider_jax.onboarding.edit import remove as remove_models
    from spider_jax.spider.spider import Spider

    if not models:
        raise InputError("remove needs the name of at least one model")
    target = out or spider
    with _held(spider, target):
        return _changed(remove_models(Spider.load(spider), models), target)


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
        messages: what goes to stderr.
    """
    show = messages.start()
    from spider_jax.onboarding.edit import rename as rename_model
    from spider_jax.spider.spider import Spider

    target = out or spider
    with _held(spider, target):
        code = _changed(rename_model(Spider.load(spider), {old: new}), target)
    if show:
        note(
            f"an index keeps {old} until it is removed there and {new} appended, a zoo until its "
            "folder of features is renamed"
        )
    return code


@contextmanager
def _held(spider: Path, target: Path) -> Iterator[None]:
    """Hold a spider that is read, changed and written: two changes at once would lose one."""
    if target.resolve() != spider.resolve() or not spider.is_dir():
        yield
        return
    refuse_link(target)
    with locked_folder(spider):
        yield


def _changed(spider: Any, target: Path) -> int:
    spider.save(target)
    say(f"{len(spider.models)} models in {target}")
    return DONE
