"""One call for the commonest job: models and labelled data in, a ranking with intervals out."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from spider_jax.belief.belief import Belief
from spider_jax.belief.explanation import Explanation, Stage, explain
from spider_jax.belief.gaussian import Standings
from spider_jax.choose.budget import Budget
from spider_jax.choose.candidates import Candidate, Models, read_candidates
from spider_jax.choose.features import Features, open_labelled
from spider_jax.choose.spider_prior import Start, spider_start
from spider_jax.choose.usual_evidence import HELD, METRICS, prior_of, usual_evidence
from spider_jax.errors import InputError
from spider_jax.extract.export.run import Settings
from spider_jax.ranking.ranking import Ranking
from spider_jax.spider.spider import Spider
from spider_jax.zoo.store import FeatureStore

log = logging.getLogger("spider_jax")

NO_SPIDER = (
    "no spider: the order is by metrics of the models' own features alone "
    f"({', '.join(METRICS)}), read as on the embedded zoos, whose truth is a linear probe, not "
    "fine-tuning; no results of these models on other tasks are known, so no constant order "
    "stands beside it"
)
ROUGH = (
    "intervals are rough, most often wider than they say: on zoos of a kind of data that was not "
    "learned from, "
    + ", ".join(f"those of {a:.0%} held {low:.0%} to {high:.0%}" for a, (low, high) in HELD.items())
    + " of the true standings"
)
OTHER_KIND = "a {} task: what metrics say was learned on classification, intervals are a guess"


@dataclass(frozen=True, eq=False)
class Compared:
    """What is known of the models after a comparison.

    Attributes:
        belief: the posterior over those that could be run, or are still to be run.
        notes: sentences for the reader.
        skipped: models and items that are left out, and why.
        zoo: where the features lie.
        before: how a spider's prior came about.
    """

    belief: Belief
    notes: tuple[str, ...]
    skipped: tuple[str, ...]
    zoo: Path
    before: tuple[Stage, ...] = ()

    def rank(self) -> Ranking:
        """The models by expected performance, with what cannot be separated."""
        found = self.belief.rank()
        return replace(found, notes=(*found.notes, *self.notes), skipped=self.skipped)

    def explain(self, model: str) -> Explanation:
        """Why a model stands where it stands.

        Args:
            model: its name.

        Raises:
            InputError: it is none of the models, or it was left out.
        """
        found = explain(self.belief, model, self.before)
        return replace(found, said=(*found.said, *self.notes))


def compare(
    models: Models,
    data: str | Path,
    *,
    budget: int | str | None = None,
    out: str | Path | None = None,
    spider: Spider | str | Path | None = None,
    extractor: str | None = None,
    batch: int | None = None,
    show_progress: bool = False,
) -> Ranking:
    """Rank models for a task by running them on its labelled data: features, metrics, a posterior.

    Features are kept, so that the same call again is answered at once and another model costs its
    own run only. A model that fails is left out by name.

    Args:
        models: each [NAME=]READER:WHAT as for `extract` (timm:NAME, hf:NAME, onnx:FILE,
            torch:module:factory, features:FILE), the path of an ONNX file or of a folder of them, a
            torch.nn.Module, or a function from a list of items (Pillow's pictures in RGB, or texts)
            to features [n, D]; in a row, or by name.
        data: [NAME=]READER:WHAT as for `extract`, or the path of a folder of pictures with a
            sub-folder a class, of a table of texts, or of arrays.
        budget: run so many models, or begin none after a time as "90s", "10m" or "1.5h"; at least
            two run. The others are ranked by what is known without them. Default: all run.
        out: folder of the zoo that keeps the features; default: one in the user's cache, found
            again by what the data hold.
        spider: a trained spider, or its folder; what it expects of the task comes before the
            metrics. Default: none, every model is expected the same.
        extractor: [NAME=]READER:WHAT of the model that the spider knows tasks by, where it is none
            of the models.
        batch: rows encoded together; default: as memory allows, at most 64.
        show_progress: whether to show bars on stderr.

    Returns:
        The ranking. Scores are in standard units: how far models of a zoo differ on a task.

    Raises:
        InputError: models or data that cannot be read, or no model that can be run.
    """
    return compare_models(
        models,
        data,
        budget=budget,
        out=out,
        spider=spider,
        extractor=extractor,
        batch=batch,
        show_progress=show_progress,
    ).rank()


def compare_models(
    models: Models,
    data: str | Path,
    *,
    budget: int | str | None = None,
    out: str | Path | None = None,
    spider: Spider | str | Path | None = None,
    extractor: str | None = None,
    batch: int | None = None,
    show_progress: bool = False,
) -> Compared:
    """What `compare` knows, as a posterior that can be asked more, or take in results.

    Args:
        models: as for `compare`, as all others.
        data: the labelled data.
        budget: what may be run.
        out: folder of the zoo.
        spider: whose prior counts.
        extractor: of the spider.
        batch: rows encoded together.
        show_progress: whether to show bars on stderr.

    Returns:
        The posterior, and what was left out.

    Raises:
        InputError: as for `compare`.
    """
    candidates, limit = read_candidates(models), Budget(budget)
    if len(candidates) < 2:
        raise InputError(f"compare needs at least two models, got {candidates[0].name!r} alone")
    settings = Settings(batch=batch, show_progress=show_progress)
    features = Features(open_labelled(data), out, settings)
    names, task = tuple(one.name for one in candidates), features.data.name
    if spider is None:
        belief = Belief(names, prior_of(len(names)), usual_evidence(), task=task)
        start = Start(belief, (), NO_SPIDER)
    else:
        start = spider_start(spider, extractor, candidates, features)
    guided = spider is not None and limit.said is not None  # else all run, in any order
    found, lost = _looked(start.belief, candidates, features, limit, guided=guided)
    done = features.result
    log.info(
        "features in %s: %d written, %d there", features.zoo, len(done.written), len(done.there)
    )
    problems = [*map(str, done.problems), *map(str, found.problems)]
    if not found.looks:
        raise InputError(f"no model can be run on {task!r}: {'; '.join(problems)}")
    kept = _without(found, {*lost, *(str(p.model) for p in found.problems)})
    rough = (ROUGH,) if spider is None else ()
    notes = (start.note, *rough, *_notes(kept, features, limit, names))
    before = tuple(stage.of(start.belief.positions(kept.names)) for stage in start.before)
    return Compared(kept, notes, tuple(dict.fromkeys(problems)), features.zoo, before)


def _looked(
    start: Belief,
    candidates: Sequence[Candidate],
    features: Features,
    limit: Budget,
    *,
    guided: bool,
) -> tuple[Belief, set[str]]:
    """The belief after as many runs as the budget allows, and the models that failed."""
    by_name = {one.name: one for one in candidates}
    now, made, lost = start, list[str](), set[str]()
    order = list(by_name)
    if limit.seconds is not None:  # what is there costs no time
        order.sort(key=lambda name: not features.there(by_name[name]))
    while len(made) + len(lost) < len(order) and limit.left(len(made)):
        name = _next(now, order, {*made, *lost}, guided)
        if not features.make(by_name[name]):
            lost.add(name)
            continue
        made.append(name)
        if guided:
            now = now.look(FeatureStore(features.zoo), features.data.name, [name])
    if made and not guided:
        now = now.look(FeatureStore(features.zoo), features.data.name, made)
    return now, lost


def _next(now: Belief, order: Sequence[str], tried: set[str], guided: bool) -> str:
    """Whom to run next: by what a look is expected to gain where models differ beforehand."""
    left = [name for name in order if name not in tried]
    if not guided or len(left) == 1:
        return left[0]
    asked = [one.model for one in now.next(len(tried) + 1) if one.model not in tried]
    return (asked or sorted(left, key=lambda name: -now.mean[now.positions([name])[0]]))[0]


def _without(belief: Belief, lost: set[str]) -> Belief:
    """The belief over the other models: one that cannot be run is no candidate."""
    kept = [name for name in belief.names if name not in lost]
    if len(kept) == len(belief.names):
        return belief
    prior: Standings = belief.prior.of(belief.positions(kept))
    return replace(belief, names=tuple(kept), prior=prior, problems=())


def _notes(
    belief: Belief, features: Features, limit: Budget, names: Sequence[str]
) -> tuple[str, ...]:
    kind = features.data.kind
    left = [name for name in belief.names if name not in belief.looks]
    notes = list[str]()
    if left:
        notes.append(
            f"{len(belief.looks)} of {len(belief.names)} models were run within the budget of "
            f"{limit.said}; the others stand by what is known without a run: a larger budget "
            "goes on"
        )
    if kind != "classification":
        notes.append(OTHER_KIND.format(kind))
    if len(belief.names) == 1:
        notes.append(f"one of {len(names)} models is left: it is compared with none")
    return tuple(notes)
