"""The spider: model tokens, one attention block, a head; and the ranking of a task."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from spider_jax.errors import InputError
from spider_jax.ranking.ranking import Ranking, note_of_guesses
from spider_jax.spider.folding import Checkpoint, check_form, check_precision, fold_checkpoint
from spider_jax.spider.own_maps import OwnMaps
from spider_jax.spider.scoring import score_pairs
from spider_jax.spider.state import Description, TeacherTable
from spider_jax.spider.task_memory import Memory
from spider_jax.spider.weights import Weights
from spider_jax.tasks.padding import class_buckets, pad_tokens
from spider_jax.tasks.scaling import Scaling
from spider_jax.tasks.tokens import check_tokens, checked_deviations, zoo_deviations, zoo_tokens
from spider_jax.zoo.store import FeatureStore

CENTRES_ONLY = "ranked from class centres alone: give task_deviations for a better order"


@dataclass(frozen=True, eq=False)
class Spider:
    """A trained ranker: scores every model of its zoo for a task from the task's tokens alone.

    description: names and provenance. scaling: of raw extractor features. weights: Weights with a
    leading axis of ensemble members, float32. memory: of its training tasks, added to the network.
    own: how the models' own class centres become tokens, where it has learned that.
    teacher_table: what models that are added are measured against.
    """

    description: Description
    scaling: Scaling
    weights: Weights
    memory: Memory | None = None
    own: OwnMaps | None = None
    teacher_table: TeacherTable | None = None

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models it ranks."""
        return self.description.models

    @property
    def guessed(self) -> tuple[str, ...]:
        """Models that were added without features, by a guess."""
        added = self.description.training.get("added", {})
        return tuple(m for m in self.models if str(added.get(m, "")).startswith("guessed"))

    @cached_property
    def folded(self) -> Checkpoint:
        """The weights ready to score, in the precision of the description."""
        about, weights = self.description, self.weights
        if self.token_scaling is None:
            factor = self.scaling.matrix[None, :, None]
            weights = weights._replace(project=weights.project * factor)
        return fold_checkpoint(
            weights, memory=self.memory, form=about.form, precision=about.precision
        )

    @cached_property
    def token_scaling(self) -> Scaling | None:
        """Of tokens before they are scored: None where it is folded into the weights.

        A memory meets scaled tokens.
        """
        return None if self.scaling.folds and self.memory is None else self.scaling

    def scores(
        self, tasks: Sequence[ArrayLike], deviations: Sequence[ArrayLike] | None = None
    ) -> NDArray[np.float32]:
        """Scores of all models on many tasks, the mean over the ensemble.

        Args:
            tasks: T arrays of raw class centres [C_t, D].
            deviations: T arrays [2, D] of `task_deviations`: the spider's memory finds more with
                them. None: it makes do with the centres.

        Returns:
            float32 [T, M], models in the order of `models`. Only differences mean something.

        Raises:
            InputError: tokens of another width than the extractor's, or not finite.
        """
        names = [f"tokens of task {i}" if len(tasks) > 1 else "tokens" for i in range(len(tasks))]
        tokens = [
            check_tokens(task, self.description.extractor, name)
            for task, name in zip(tasks, names, strict=True)
        ]
        spread = checked_deviations(deviations, len(tokens), self.description.extractor)
        scores = np.empty((len(tokens), len(self.models)), np.float32)
        for classes, where in class_buckets(tokens).items():
            padded, mask = pad_tokens([tokens[i] for i in where], classes=classes)
            own = None if spread is None else spread[where]
            found = score_pairs(self.folded, padded, mask, self.token_scaling, own)
            scores[where] = found.mean(0) if len(found) > 1 else found[0]
        return scores

    def rank(
        self,
        tokens: ArrayLike,
        *,
        deviations: ArrayLike | None = None,
        k: int | Literal["auto"] = 0,
        zoo: FeatureStore | None = None,
        task: str | None = None,
        by: str = "evidence",
    ) -> Ranking:
        """Rank all models for one task; with k = 0 no model of the zoo is run or read.

        Args:
            tokens: [C, D_psi] class centres of the general extractor's raw features
                (`task_tokens`).
            deviations: [2, D_psi] of the same features (`task_deviations`), for a better order.
            k: the best so many models are looked at with their own features and sorted again;
                "auto": as many as paid on held-out source tasks.
            zoo: for k > 0, labels of the task and these models' features on it.
            task: its name, for the report and in the zoo.
            by: how they are looked at, see `rerank`: "evidence", "attention" or a metric.

        Returns:
            A Ranking, best first, with the score difference below which it cannot tell apart; with
            k > 0, what the look cost and what more would, and the models it had to leave out.

        Raises:
            InputError: tokens of another width than the extractor's, or not finite; k > 0 without
                zoo and task, or an unknown `by`.
        """
        from spider_jax.spider import rerank as again

        k = again.checked_k(self, k, zoo, task, by)
        ranking, scores = self._first_ranking(tokens, deviations, task)
        if k == 0 or zoo is None or task is None:
            return ranking
        given = np.asarray(tokens, np.float32)
        looked = again.rerank_scores(self, scores, given, zoo, task, k=k, by=by)
        return again.reranked(ranking, self, looked, zoo, task, by=by)

    def _first_ranking(
        self, tokens: ArrayLike, deviations: ArrayLike | None, task: str | None
    ) -> tuple[Ranking, NDArray[np.float32]]:
        """The ranking by general tokens, and its scores in model order."""
        scores = self.scores([tokens], None if deviations is None else [deviations])[0]
        notes = [CENTRES_ONLY] if deviations is None and self.memory is not None else []
        if self.guessed:
            notes.append(note_of_guesses(self.guessed))
        ranking = Ranking.from_scores(
            self.models,
            scores,
            resolution=self.description.resolution,
            task=task,
            notes=notes,
        )
        return ranking, scores

    def rank_task(
        self,
        zoo: FeatureStore,
        task: str,
        *,
        k: int | Literal["auto"] = 0,
        by: str = "evidence",
    ) -> Ranking:
        """Rank for a task of a zoo: `rank` of the extractor's class centres on its training rows.

        Args:
            zoo: labels of the task, the extractor's features on it, and those of the k best models.
            task: its name.
            k, by: see `rank`.

        Returns:
            A Ranking, with the true accuracies that the zoo knows.

        Raises:
            InputError: unknown task, another extractor than the spider was trained with.
        """
        extractor = self.description.extractor
        tokens, deviations = zoo_tokens(zoo, task, extractor), zoo_deviations(zoo, task, extractor)
        ranking = self.rank(tokens, deviations=deviations, k=k, zoo=zoo, task=task, by=by)
        known = {m: zoo.accuracies[m, task] for m in self.models if (m, task) in zoo.accuracies}
        return replace(ranking, accuracies=known)

    def save(self, folder: str | Path) -> None:
        """Write the spider to a folder (spider.json and orbax weights), all or nothing.

        Raises:
            InputError: the folder exists and holds something else.
        """
        from spider_jax.spider.checkpoint import save

        save(self, Path(folder))

    @staticmethod
    def from_torch(
        state: Mapping[str, Any],
        *,
        models: Sequence[str],
        extractor: str = "general extractor",
        form: str = "many",
        precision: str = "float32",
    ) -> "Spider":
        """A spider with the weights of the published torch code; it scores the same.

        It departs from the published code where that is wrong: no prompt is added to the tokens
        once per model, and padding is never attended to.

        Args:
            state: mapping of arrays or CPU tensors under the published parameter names
                (`model.state_dict()`); see `from_torch.NAMES`.
            models: M names, in the order of `model_prompt`.
            extractor: name of the general extractor that tokens come from; their width is that of
                `uni_linear`. Tokens are used as they come, without scaling.
            form: "many", or "few", which is faster for tens of models; the bits of a score, not
                the score, hang on it.
            precision: of the products of a pair, "float32" or "bfloat16".

        Returns:
            The spider; how far it can tell models apart is not known.

        Raises:
            InputError: a parameter is missing, does not fit or is not finite; names given twice.

        References:
            Zhang et al., "Model Spider", NeurIPS 2023, arXiv 2306.03900.
        """
        from spider_jax.spider.from_torch import read_state

        check_form(form)
        check_precision(precision)
        if len(set(models)) < len(models):
            raise InputError("models must be named once each")
        weights, widths, own = read_state(state, models)
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
    def load(folder: str | Path) -> "Spider":
        """Read a spider that `save` wrote.

        Raises:
            InputError: not a spider, a newer format, or damaged weights.
        """
        from spider_jax.spider.checkpoint import load

        return load(Path(folder))
