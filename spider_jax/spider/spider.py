"""The spider and its verbs: scores, rankings, saved and loaded."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32
from numpy.typing import ArrayLike

from spider_jax.belief.belief import Belief
from spider_jax.belief.explanation import Explanation, explain
from spider_jax.errors import InputError
from spider_jax.facts.short_list import shortlist
from spider_jax.ranking.ranking import Ranking, note_of_guesses
from spider_jax.runtime.single_precision import single_precision
from spider_jax.spider.checkpoint import load, save
from spider_jax.spider.folding import check_form, check_precision, form_for
from spider_jax.spider.from_torch import read_state
from spider_jax.spider.prior_stages import prior_stages
from spider_jax.spider.rerank import (
    EVIDENCE,
    checked_k,
    cost_of_looks,
    rerank_scores,
    reranked,
)
from spider_jax.spider.scoring import score_pairs
from spider_jax.spider.state import Description, SpiderState
from spider_jax.tasks.padding import class_buckets, pad_tokens
from spider_jax.tasks.pseudo_classes import what_tokens_are
from spider_jax.tasks.scaling import Scaling
from spider_jax.tasks.tokens import TaskTokens, checked_tokens, zoo_tokens
from spider_jax.zoo.store import FeatureStore

CENTRES_ONLY = "ranked from class centres alone: give task_tokens for a better order"


@dataclass(frozen=True, eq=False)
class Spider(SpiderState):
    """A trained ranker: scores every model of its zoo for a task from the task's tokens alone.

    Attributes:
        description: names and provenance.
        scaling: of raw extractor features.
        weights: with a leading axis of ensemble members, float32.
        memory: of its training tasks, added to the network; None where it has none.
        own: how the models' own class centres become tokens, where it has learned that.
        teacher_table: what models that are added are measured against.
        beliefs: how sure it is and how evidence is read; None in older spiders and where the
            network ranks alone.
    """

    @single_precision
    def scores(self, tasks: Sequence[TaskTokens | ArrayLike]) -> Float32[np.ndarray, "T M"]:
        """Scores of all models on many tasks, the mean over the ensemble.

        Args:
            tasks: `task_tokens` of T tasks, or arrays of raw class centres [C_t, D] alone: the
                spider's memory finds more where the deviations are known.

        Returns:
            float32 [T, M], models in the order of `models`. Only differences mean something.

        Raises:
            InputError: tokens of another extractor or width, or not finite.
        """
        names = [f"tokens of task {i}" if len(tasks) > 1 else "tokens" for i in range(len(tasks))]
        extractor = self.description.extractor
        tokens = [checked_tokens(t, extractor, name) for t, name in zip(tasks, names, strict=True)]
        scores = np.empty((len(tokens), len(self.models)), np.float32)
        for where in class_buckets(tokens).values():
            padded = pad_tokens([tokens[i] for i in where])
            found = score_pairs(self.folded, padded, self.token_scaling)
            scores[where] = found.mean(0) if len(found) > 1 else found[0]
        return scores

    @single_precision
    def belief(self, tokens: TaskTokens | ArrayLike, *, task: str | None = None) -> Belief:
        """What is known of every model on a task from its tokens alone: no model is run or read.

        Args:
            tokens: as for `rank`.
            task: its name, for the report.

        Returns:
            A posterior over the models' performance, to be changed by `look` and `observe`. Its
            mean is `scores`.

        Raises:
            InputError: tokens that do not fit, or a spider that has not learned to believe.
        """
        if self.beliefs is None or self.memory is None or self.memory.weights.process is None:
            raise InputError(
                "this spider has not learned how sure it is: train it anew with memory above 0"
            )
        given = checked_tokens(tokens, self.description.extractor)
        process = self.memory.weights.process
        mean = self.scores([given])[0].astype(np.float64)
        return self.beliefs.begin(self.models, mean, *process.known(given), task)

    @single_precision
    def rank(
        self,
        tokens: TaskTokens | ArrayLike,
        *,
        k: int | Literal["auto"] = 0,
        zoo: FeatureStore | None = None,
        task: str | None = None,
        by: str = "evidence",
    ) -> Ranking:
        """Rank all models for one task; with k = 0 no model of the zoo is run or read.

        With by = "evidence" the ranking is that of `belief` after k looks, chosen one after the
        other by what they are expected to gain; older spiders look at the k best.

        Args:
            tokens: `task_tokens` of the general extractor's raw features, or its class centres [C,
                D] alone, for a worse order.
            k: so many models are looked at with their own features; "auto": until the first is
                expected to lose little, or the next look to gain little.
            zoo: for k > 0, labels of the task and these models' features on it.
            task: its name, for the report and in the zoo.
            by: how they are looked at, see `spider.rerank`: "evidence", "attention" or a metric.

        Returns:
            A Ranking, best first, with the places that each model may hold; with k > 0, what the
            look cost and what more would, and the models it had to leave out.

        Raises:
            InputError: tokens of another extractor or width, or not finite; k > 0 without zoo and
                task, or an unknown `by`.
        """
        if self.beliefs is not None and by == EVIDENCE:
            return self._rank_by_belief(tokens, k, zoo, task)
        k = checked_k(self, k, zoo, task, by)
        given = checked_tokens(tokens, self.description.extractor)
        scores = self.scores([given])[0]
        ranking = self._first_ranking(scores, given.deviations is not None, task)
        if k == 0 or zoo is None or task is None:
            return ranking
        found = rerank_scores(self, scores, given, zoo, task, k=k, by=by)
        return reranked(ranking, self, found, zoo, task, by=by)

    @single_precision
    def explain(
        self,
        tokens: TaskTokens | ArrayLike,
        model: str,
        *,
        k: int | Literal["auto"] = 0,
        zoo: FeatureStore | None = None,
        task: str | None = None,
        known: Sequence[str] = (),
    ) -> Explanation:
        """Why `rank` puts a model where it does: what each source moved, and by how much.

        Args:
            tokens: as for `rank`.
            model: its name.
            k: as for `rank`.
            zoo: as for `rank`.
            task: as for `rank`.
            known: what the training tasks are called, see `prior_stages`.

        Returns:
            The constant order, similar training tasks, the network and the looks, one after the
            other, and the margin to the model's neighbours.

        Raises:
            InputError: as for `rank`, an unknown model, or a spider that cannot say how sure it is.
        """
        first = self.belief(tokens, task=task)
        given = checked_tokens(tokens, self.description.extractor)
        stages = prior_stages(self, given, first, known)
        return explain(self._looked(first, k, zoo, task), model, stages)

    def _looked(
        self, belief: Belief, k: int | Literal["auto"], zoo: FeatureStore | None, task: str | None
    ) -> Belief:
        """The belief after k looks."""
        most = None if k == "auto" else checked_k(self, k, zoo, task, EVIDENCE)
        if most == 0:
            return belief
        if zoo is None or task is None:
            raise InputError(f"k = {k!r} needs zoo and task: the models' own features on it")
        looked = belief.look_until if most is None else partial(belief.look_at, n=most)
        return looked(zoo, task)

    def _rank_by_belief(
        self,
        tokens: TaskTokens | ArrayLike,
        k: int | Literal["auto"],
        zoo: FeatureStore | None,
        task: str | None,
    ) -> Ranking:
        belief = self.belief(tokens, task=task)
        order = np.argsort(-belief.mean.astype(np.float32), kind="stable")
        belief = self._looked(belief, k, zoo, task)
        ranking = belief.rank()
        notes = [*ranking.notes]
        if belief.explained is None:
            notes.append(CENTRES_ONLY)
        if self.guessed:
            notes.append(note_of_guesses(self.guessed))
        if k != 0 and zoo is not None and task is not None:
            first = [self.models[i] for i in order]
            notes += cost_of_looks(self, first, belief.looks, zoo, task)
        return replace(ranking, notes=tuple(notes))

    def _first_ranking(
        self, scores: Float32[np.ndarray, " M"], whole: bool, task: str | None
    ) -> Ranking:
        """The ranking by general tokens, which were whole or bare class centres."""
        notes = [CENTRES_ONLY] if not whole and self.memory is not None else []
        if self.guessed:
            notes.append(note_of_guesses(self.guessed))
        return Ranking.from_scores(
            self.models, scores, resolution=self.description.resolution, task=task, notes=notes
        )

    @single_precision
    def rank_task(
        self,
        zoo: FeatureStore,
        task: str,
        *,
        k: int | Literal["auto"] = 0,
        by: str = "evidence",
    ) -> Ranking:
        """Rank for a task of a zoo: `rank` of the extractor's tokens of its training rows.

        Args:
            zoo: labels of the task, the extractor's features on it, and those of the k best models.
            task: its name.
            k: how many models are looked at, see `rank`.
            by: how they are looked at, see `rank`.

        Returns:
            A Ranking, with the true accuracies that the zoo knows; models that by its manifest were
            trained on the task's data are marked.

        Raises:
            InputError: unknown task, another extractor than the spider was trained with.
        """
        tokens = zoo_tokens(zoo, task, self.description.extractor)
        ranking = self.rank(tokens, k=k, zoo=zoo, task=task, by=by)
        known = {m: zoo.accuracies[m, task] for m in self.models if (m, task) in zoo.accuracies}
        said = what_tokens_are(zoo.kind(task), len(tokens.centres))
        notes = (*ranking.notes, said) if said else ranking.notes
        ranking = replace(ranking, accuracies=known, notes=notes)
        return shortlist(ranking, zoo.training_facts, task_facts=zoo.task_info(task))

    def save(self, folder: str | Path) -> None:
        """Write the spider to a folder (spider.json and orbax weights), all or nothing.

        Args:
            folder: for the spider; a spider that stands there is replaced.

        Raises:
            InputError: the folder exists and holds something else.
        """
        save(self, Path(folder))

    @staticmethod
    @single_precision
    def from_torch(
        state: Mapping[str, object],
        *,
        models: Sequence[str],
        extractor: str = "general extractor",
        form: str | None = None,
        precision: str = "float32",
        attn_pool: str = "cls",
        extra_prompt: bool = False,
    ) -> "Spider":
        """A spider with the weights of the published torch code; it scores the same.

        It departs from the published code where that is wrong: no prompt is added to the tokens
        once per model, and padding is never attended to.

        Args:
            state: mapping of arrays or tensors of any float type under the published parameter
                names (`model.state_dict()`), see `from_torch.NAMES`; or the whole of what was
                saved, as `{"model": state, ...}`. A prefix like `module.` is taken off.
            models: M names, in the order of `model_prompt`.
            extractor: name of the general extractor that tokens come from; their width is that of
                `uni_linear`. Tokens are used as they come, without scaling.
            form: "many" or "few"; by default the faster one for so many models, see
                `folding.form_for`. The bits of a score, not the score, hang on it.
            precision: of the products of a pair, "float32" or "bfloat16".
            attn_pool: that the network was trained with. Only "cls" is scored; another is refused.
                The parameters do not tell it, so give it where it may be another.
            extra_prompt: whether it was trained with `heterogeneous_extra_prompt`. Then it is
                refused, as its scores depend on the order of the models.

        Returns:
            The spider; how far it can tell models apart is not known.

        Raises:
            InputError: a parameter is missing, does not fit or is not finite; names given twice; a
                network that scores in another way.

        References:
            Zhang et al., "Model Spider", NeurIPS 2023, arXiv 2306.03900.
        """
        form = form_for(len(models)) if form is None else form
        check_form(form)
        check_precision(precision)
        if len(set(models)) < len(models):
            raise InputError("models must be named once each")
        weights, widths, own = read_state(
            state, models, attn_pool=attn_pool, extra_prompt=extra_prompt
        )
        D, d = weights.project.shape[1:]
        description = Description(
            models=tuple(models),
            widths=widths,
            extractor={"name": extractor, "width": D},
            width=d,
            members=1,
            token_width=D,
            resolution=math.nan,
            precision=precision,
            form=form,
            training={"from": "published torch weights"},
        )
        unscaled = Scaling(np.zeros(D, np.float32), np.ones(D, np.float32), spread=False)
        return Spider(description, unscaled, jax.tree.map(jnp.asarray, weights), own=own)

    @staticmethod
    @single_precision
    def load(folder: str | Path) -> "Spider":
        """Read a spider that `save` wrote, of this version or an older one.

        Args:
            folder: of the spider.

        Returns:
            The spider.

        Raises:
            InputError: not a spider, a newer format, or damaged weights.
        """
        state = load(Path(folder))
        return Spider(**{field.name: getattr(state, field.name) for field in fields(state)})
