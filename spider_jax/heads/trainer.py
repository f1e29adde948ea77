"""The heads of one selection: an epoch of some models, their validation, and the winner's test."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from spider_jax.errors import InputError
from spider_jax.heads.blocks import BLOCK_BYTES
from spider_jax.heads.files import head_path, load_head, save_head
from spider_jax.heads.measures import TASK_MEASURES, is_share, standard_error
from spider_jax.heads.targets import make_targets
from spider_jax.heads.training import (
    HeadConfig,
    HeadState,
    Params,
    init_head,
    outputs_on,
    train_epoch,
)
from spider_jax.records.noise import accuracy_variance
from spider_jax.runtime.open_files import files_at_once
from spider_jax.runtime.single_precision import single_precision
from spider_jax.zoo.splits import TaskSplit
from spider_jax.zoo.store import FeatureStore

log = logging.getLogger("spider_jax")

Features = Float[np.ndarray, "N D"]  # of one model, a memmap
GROUP_BYTES = 1 << 29  # of features and of heads with their optimiser that are in memory at once
FAILURES = (InputError, RuntimeError, MemoryError)  # of one model; a full disk stops the run


class Trained(NamedTuple):
    """An epoch of a model.

    Attributes:
        model: name.
        validation: score after the epoch; NaN where the head diverged or failed.
        standard_error: of the score; None where it follows from the number of rows.
        failure: why the epoch failed; None where it did not.
    """

    model: str
    validation: float = float("nan")
    standard_error: float | None = None
    failure: str | None = None


class HeadTrainer:
    """Trains heads on a zoo's features, an epoch at a time; every epoch is on disk when it returns.

    Args:
        zoo: features and labels.
        task: name.
        split: rows that train, validate and test; test rows are read by `test` only.
        measure: name in TASK_MEASURES.
        config: of the heads.
        folder: for heads/<model>.npz.
    """

    def __init__(
        self,
        zoo: FeatureStore,
        task: str,
        split: TaskSplit,
        measure: str,
        config: HeadConfig,
        folder: Path,
    ) -> None:
        self.zoo, self.task, self.split = zoo, task, split
        self.measure, self.config, self.folder = measure, config, folder
        labels = zoo.labels(task)
        kind = zoo.kind(task)
        self.truth = labels if kind != "regression" else labels.reshape(len(labels), -1)
        self.is_share = is_share(measure, kind)
        self.targets = make_targets(kind, labels, split.train)

    def groups(self, models: Sequence[str]) -> Iterator[list[str]]:
        """The models by width, the narrowest first; as many at once as memory and files allow.

        Args:
            models: names.

        Yields:
            Names of models of one width.
        """
        widths = {model: self.zoo.width(model) for model in models}
        for width in sorted(set(widths.values())):
            alike = [model for model in models if widths[model] == width]
            step = max(1, min(GROUP_BYTES // self._bytes(width), files_at_once()))
            yield from (alike[i : i + step] for i in range(0, len(alike), step))

    def _bytes(self, width: int) -> int:
        """Of a block of a model's features, its head, both moments and the best checkpoint."""
        block = min(BLOCK_BYTES, 4 * width * len(self.split.train))
        return block + 4 * 4 * width * (self.config.hidden or self.targets.values.shape[1])

    @single_precision
    def epoch(self, models: Sequence[str], done: int) -> list[Trained]:
        """One more epoch of some models; the failure of one does not stop the others.

        Args:
            models: names, of one width.
            done: epochs that they have had.

        Returns:
            What came of every model.
        """
        try:
            return self._epoch(models, done)
        except FAILURES as error:
            if len(models) > 1:  # find out which one it is
                return [result for model in models for result in self.epoch([model], done)]
            log.info("training of %s failed: %s", models[0], error)
            return [Trained(models[0], failure=" ".join(str(error).split()))]

    @single_precision
    def test(self, model: str, done: int) -> tuple[float, float] | None:
        """Score on the test rows, of the checkpoint with the best validation.

        Args:
            model: name.
            done: epochs that it has had.

        Returns:
            The score and its standard error; None where there are no test rows.
        """
        rows = self.split.test
        if len(rows) == 0:
            return None
        features = self._features(model)
        state = self._state(model, features, done)
        ((score, error),) = self._scores([state.best], [state], [features], rows)
        if self.is_share:
            error = float(np.sqrt(accuracy_variance(score, len(rows))))
        return score, error

    def _epoch(self, models: Sequence[str], done: int) -> list[Trained]:
        features = [self._features(model) for model in models]
        states = [self._state(m, f, done) for m, f in zip(models, features, strict=True)]
        # an interruption after the head was written and before its score was kept leaves it ahead
        waiting = [i for i, state in enumerate(states) if len(state.validation) == done]
        if waiting:
            given = [features[i] for i in waiting]
            new = self._further([states[i] for i in waiting], given, done)
            for i, state in zip(waiting, new, strict=True):
                states[i] = state
                save_head(head_path(self.folder, models[i]), state)
        return [self._result(m, s, done) for m, s in zip(models, states, strict=True)]

    def _features(self, model: str) -> Features:
        return self.zoo.features(model, self.task)

    def _further(
        self, states: list[HeadState], features: list[Features], done: int
    ) -> list[HeadState]:
        """One more epoch of heads of one width, and its validation."""
        new = train_epoch(states, features, self.targets, self.split.train, self.config, done)
        scores = self._scores([s.params for s in new], new, features, self.split.validation)
        return [_scored(state, *score) for state, score in zip(new, scores, strict=True)]

    def _state(self, model: str, features: Features, done: int) -> HeadState:
        """A head after `done` epochs, from its file; trained again where that cannot serve."""
        path = head_path(self.folder, model)
        if done > 0 or path.exists():
            try:
                state = load_head(path, self.config)
                if len(state.validation) in (done, done + 1):
                    return state
                log.warning("%s is not of epoch %d: training it again", path, done)
            except InputError as error:
                log.warning("%s: training it again", error)
        outputs = self.targets.values.shape[1]
        state = init_head(model, self.config, features, self.split.train, outputs)
        for epoch in range(done):
            (state,) = self._further([state], [features], epoch)
        return state

    def _scores(
        self,
        params: list[Params],
        states: list[HeadState],
        features: list[Features],
        rows: Int[np.ndarray, " n"],
    ) -> list[tuple[float, float]]:
        """Score of every head on some rows, NaN where outputs are not finite, and its error.

        The error of a share follows from the number of rows and is left to the selector.
        """
        truth, found = self.truth[rows], []
        for outputs in outputs_on(params, states, features, rows):
            if np.isfinite(outputs).all():
                measure = TASK_MEASURES[self.measure]
                predicted = self.targets.answers(outputs, measure)
                score = measure.score(truth, predicted)
                error = np.nan if self.is_share else standard_error(self.measure, truth, predicted)
                found.append((score, float(error)))
            else:
                found.append((float("nan"), float("nan")))
        return found

    def _result(self, model: str, state: HeadState, done: int) -> Trained:
        error = state.standard_error[done]
        return Trained(model, state.validation[done], error if np.isfinite(error) else None)


def _scored(state: HeadState, score: float, error: float) -> HeadState:
    """The state with one more validation; the best checkpoint is kept."""
    before = max((v for v in state.validation if np.isfinite(v)), default=-np.inf)
    return state._replace(
        best=state.params if score > before else state.best,
        validation=(*state.validation, score),
        standard_error=(*state.standard_error, error),
    )
