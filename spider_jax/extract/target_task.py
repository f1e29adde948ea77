"""A target task straight from data: the general extractor runs once, its features become tokens."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, Int
from numpy.typing import NDArray

from spider_jax.errors import InputError
from spider_jax.extract.data.dataset import Dataset
from spider_jax.extract.export.batches import sound_items, spans
from spider_jax.extract.export.block_rows import leave_out
from spider_jax.extract.export.encode import encoded_batches, refuse_other_items, rows_of_batch
from spider_jax.extract.export.guard import refuse_unsteady
from spider_jax.extract.export.measured import Stopwatch
from spider_jax.extract.export.run import LEFT_OUT
from spider_jax.extract.models.encoder import Encoder
from spider_jax.extract.readers import FEATURES, model_spec, open_data, open_model
from spider_jax.ranking.ranking import Ranking
from spider_jax.spider.spider import Spider
from spider_jax.tasks.clusters import k_means
from spider_jax.tasks.pseudo_classes import classes_of_task, what_tokens_are
from spider_jax.tasks.tokens import TaskTokens, task_tokens
from spider_jax.zoo.store import FeatureStore

log = logging.getLogger("spider_jax")

EXTRACTOR = "SPIDER_JAX_EXTRACTOR"  # the variable that may hold the spec of the extractor


@dataclass(frozen=True, eq=False)
class TargetTask:
    """A task made of data that no zoo holds.

    Attributes:
        name: of the data.
        tokens: what a spider reads of it, with the name of the extractor that ran.
        classes: what the C class centres stand for.
        rows: N, the number of forward passes that were made.
        note: for the reader of a ranking, where the tokens are no classes; else "".
    """

    name: str
    tokens: TaskTokens
    classes: tuple[str, ...]
    rows: int
    note: str = ""


def task_from(
    data: str,
    extractor: str,
    *,
    zoo: FeatureStore | None = None,
    named: str | None = None,
    facts: Mapping[str, object] | None = None,
    clusters: int = 10,
    bins: int = 10,
    seed: int = 0,
    batch: int | None = None,
    show_progress: bool = False,
) -> TargetTask:
    """Tokens of data that no zoo holds: `spider.rank(task.tokens)`.

    Without labels the tokens are k-means centres; of a regression they are the centres of quantile
    bins (of several targets: of k-means clusters of the targets); of multi-label data the centres
    of the rows that have each label. Features are held in memory, 4 N D bytes.

    Args:
        data: [NAME=]READER:WHAT, as for `extract`.
        extractor: [NAME=]READER:WHAT of the model that the spider knows tasks by.
        zoo: a zoo with that extractor; other weights, preprocessing or layer are refused.
        named: the name that the extractor must have, for instance that of a spider's extractor.
        facts: how the extractor ran in a spider's training, from
            `description.training["extractor_facts"]`; other weights, preprocessing or layer are
            refused.
        clusters: k of k-means.
        bins: number of bins of a regression.
        seed: of k-means.
        batch: rows encoded together; default: as memory allows, at most 64.
        show_progress: whether to show a bar on stderr.

    Returns:
        The task.

    Raises:
        InputError: data or model that cannot be read, another model than the zoo's extractor, or
            one class only.
    """
    spec = model_spec(extractor)
    if spec.reader == FEATURES:
        raise InputError("the extractor must be a model, not a file of features")
    opened, encoder = open_data(data), open_model(spec)
    if named is not None and encoder.name != named:
        raise InputError(
            f"the extractor must be {named!r}, got {encoder.name!r}: "
            f"if it is that model, name it {named}={spec}"
        )
    if zoo is not None:
        refuse_other_extractor(zoo, encoder)
    refuse_other_facts(encoder.name, encoder.facts, facts or {}, "the spider's training")
    refuse_other_items(encoder, opened)
    features, opened = _features(encoder, opened, batch, show_progress)
    rows, labels, classes = pseudo_classes(features, opened, clusters, bins, seed)
    return TargetTask(
        name=opened.name,
        tokens=task_tokens(features[rows], labels, extractor=encoder.name),
        classes=classes,
        rows=opened.rows,
        note=_note(opened, len(classes)),
    )


def rank_data(
    spider: Spider,
    data: str,
    extractor: str | None = None,
    *,
    clusters: int = 10,
    bins: int = 10,
    show_progress: bool = False,
) -> Ranking:
    """Rank the models of a spider for data that no zoo holds: the extractor runs on them here.

    Args:
        spider: a trained spider.
        data: [NAME=]READER:WHAT, as for `extract`.
        extractor: [NAME=]READER:WHAT of the model that the spider knows tasks by; default: the
            environment variable SPIDER_JAX_EXTRACTOR.
        clusters: number of k-means centres for data without labels.
        bins: number of bins of a regression.
        show_progress: whether to show a bar on stderr.

    Returns:
        The ranking. Where the tokens are no classes, a note says what they are.

    Raises:
        InputError: no extractor is named, or another one than the spider's.
    """
    task = task_for(
        spider, data, extractor, clusters=clusters, bins=bins, show_progress=show_progress
    )
    ranking = spider.rank(task.tokens, task=task.name)
    return replace(ranking, notes=(*ranking.notes, task.note)) if task.note else ranking


def task_for(
    spider: Spider,
    data: str,
    extractor: str | None = None,
    *,
    clusters: int = 10,
    bins: int = 10,
    show_progress: bool = False,
) -> TargetTask:
    """The task that data are, for a spider: `task_from` by its own extractor.

    Args:
        spider: a trained spider.
        data: as for `rank_data`, as all others.
        extractor: of the spider.
        clusters: of data without labels.
        bins: of a regression.
        show_progress: whether to show a bar on stderr.

    Returns:
        The task.

    Raises:
        InputError: no extractor is named, or another one than the spider's.
    """
    name, spec = spider.description.extractor["name"], extractor or os.environ.get(EXTRACTOR)
    if spec is None:
        raise InputError(
            f"the spider knows tasks by {name!r}: say how to run it, "
            f"--extractor {name}=READER:WHAT, or put that into {EXTRACTOR}"
        )
    return task_from(
        data,
        spec,
        named=name,
        facts=spider.description.training.get("extractor_facts"),
        clusters=clusters,
        bins=bins,
        show_progress=show_progress,
    )


def _note(data: Dataset, tokens: int) -> str:
    """What the tokens are, where they are no classes; else ""."""
    if data.labels is None:
        return f"no labels: its tokens are {tokens} k-means centres of {data.rows} rows"
    return what_tokens_are(data.kind, tokens)


def refuse_other_extractor(zoo: FeatureStore, encoder: Encoder) -> None:
    """Refuse a model that is not the zoo's general extractor.

    Args:
        zoo: the zoo.
        encoder: the model.

    Raises:
        InputError: another name, or other weights, preprocessing or layer than it was exported
            with, where the manifest records them.
    """
    if zoo.extractor != encoder.name:
        raise InputError(
            f"{zoo.folder} has extractor {zoo.extractor!r}, got {encoder.name!r}: "
            f"if it is that model, name it {zoo.extractor}={encoder.facts.get('source', 'SPEC')}"
        )
    refuse_other_facts(encoder.name, encoder.facts, zoo.model_info(encoder.name), str(zoo.folder))


def refuse_other_facts(
    name: str, facts: Mapping[str, object], known: Mapping[str, object], whose: str
) -> None:
    """Refuse an extractor with other weights, preprocessing or layer than before.

    Args:
        name: of the extractor.
        facts: of how it runs here.
        known: facts of how it ran before; what is missing there is not compared.
        whose: where these facts are from, for the error.

    Raises:
        InputError: one of them differs.
    """
    for key in ("weights_sha256", "preprocessing", "layer"):
        if key in known and known[key] != facts.get(key):
            raise InputError(
                f"extractor {name!r}: its {key} is not that of {whose}: "
                f"{facts.get(key)} here, {known[key]} there"
            )


def _features(
    encoder: Encoder, data: Dataset, batch: int | None, show: bool
) -> tuple[NDArray[np.float32], Dataset]:
    """Features of the rows that can be read, and the data without the others."""
    _, first = next(sound_items(data, encoder.prepare, range(data.rows)))
    if encoder.settle is not None:
        raise InputError(f"{encoder.name!r}: an extractor reads the same layer on every task")
    together = batch or rows_of_batch(encoder, first)
    refuse_unsteady(encoder, data, None, together)
    cuts, broken = spans(0, data.rows, together), dict[int, str]()
    batches = encoded_batches(encoder, data, cuts, None, show, broken, Stopwatch())
    parts = [encoded.features for _, _, encoded in batches if encoded is not None]
    if said := encoder.report():
        log.warning("%s on %s: %s", encoder.name, data.name, said)
    if broken:
        labels = np.zeros(data.rows) if data.labels is None else data.labels
        data = replace(data, left_out=leave_out(data, broken, LEFT_OUT, labels))
        for message in broken.values():
            log.warning("left out: %s", message)
        rows = len(data.kept)
        data = replace(data, rows=rows, labels=data.kept_labels, left_out=(), groups=None)
    return np.concatenate(parts), data


def pseudo_classes(
    features: Float32[np.ndarray, "N D"], data: Dataset, clusters: int, bins: int, seed: int
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], tuple[str, ...]]:
    """The classes that a task is made of.

    Args:
        features: of the extractor.
        data: whose labels are used, if there are any.
        clusters: k of k-means, for data without labels.
        bins: number of bins of a regression.
        seed: of k-means.

    Returns:
        Row numbers, a class 0..C-1 for each, and the C names of the classes. A row of multi-label
        data comes once for each of its labels.
    """
    labels = data.labels
    if labels is None:
        found = k_means(features, min(clusters, data.rows), seed)
        return np.arange(data.rows), found, _numbered("cluster", found)
    rows, found = classes_of_task(data.kind, labels, bins, seed)
    if data.kind == "multi-label":
        single = labels.shape[1] == 1
        names = ("not label 0", "label 0") if single else _numbered("label", np.nonzero(labels)[1])
        return rows, found, tuple(names)
    if data.kind == "regression":
        return rows, found, _numbered("bin", found)
    return rows, found, data.classes or tuple(map(str, np.unique(labels)))


def _numbered(word: str, labels: NDArray[np.int64]) -> tuple[str, ...]:
    return tuple(f"{word} {i}" for i in np.unique(labels))
