"""Fine selection, the second phase: ask which models to train on, tell how they did."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from spider_jax.errors import InputError
from spider_jax.records.noise import accuracy_variance
from spider_jax.selection.policy import Policy, Seen
from spider_jax.selection.policy_table import policy_content, read_policy
from spider_jax.storage.files import read_json, write_json

LARGEST_ERROR = 1e100  # whose square is still a number
TRAINING, DROPPED, FAILED, WON, NOT_STARTED = "training", "dropped", "failed", "won", "not started"


MOST_EPOCHS = 100_000  # of a model


@dataclass
class Entry:
    """What a model cost and what became of it.

    Attributes:
        model: name.
        fate: training, dropped, failed, won or not started.
        epochs: that it was trained; one that failed counts.
        validation: score after each epoch.
        standard_error: of each score; NaN where it was not given.
        reason: why it was dropped or failed.
        confidence: P(the leader was better) when it was dropped, if the policy says.
    """

    model: str
    fate: str = NOT_STARTED
    epochs: int = 0
    validation: list[float] = field(default_factory=list)
    standard_error: list[float] = field(default_factory=list)
    reason: str = ""
    confidence: float | None = None


class Selector:
    """Spends epochs on models until one has won.

        while not selector.done:
            for model in selector.ask():
                selector.tell(model, train_one_more_epoch(model))

    Validation scores are larger-is-better. A model whose score is NaN, or that `fail` names, is
    dropped with its reason and the selection goes on. If nobody is left, the best of those that
    were dropped comes back, else the next that never started; the budget may then be exceeded, for
    a winner is worth more than the budget.

    Args:
        models: names, best by recall first: where the budget does not pay for all, the first start.
        policy: which models get another epoch, see `make_policy`.
        epochs: of a full training.
        budget: epochs in all; None: every model starts.
        validation_rows: rows behind an accuracy, from which its sampling variance follows; for
            another measure give `tell` its standard error instead.
        about: plain values that are saved with it.

    Attributes:
        entries: of every model, best by recall first.
        policy: as given.
        epochs: as given.
        budget: as given.
        validation_rows: as given.
        about: as given.

    Raises:
        InputError: no models, one twice, epochs < 1, or a budget that trains no model to the end.
    """

    def __init__(
        self,
        models: Sequence[str],
        policy: Policy,
        *,
        epochs: int = 5,
        budget: int | None = None,
        validation_rows: int | None = None,
        about: dict[str, Any] | None = None,
    ) -> None:
        if not models or len(set(models)) != len(models):
            raise InputError(f"models must be different names, at least one, got {list(models)}")
        if epochs < 1 or epochs % 1 != 0:
            raise InputError(f"epochs must be a whole number, at least 1, got {epochs}")
        if epochs > MOST_EPOCHS:  # a budget is counted epoch by epoch
            raise InputError(f"epochs must be at most {MOST_EPOCHS:,}, got {epochs}")
        if validation_rows is not None and validation_rows < 1:
            raise InputError(f"validation_rows must be at least 1 or None, got {validation_rows}")
        started = policy.started(len(models), epochs, budget)
        if started < 1:
            raise InputError(
                f"budget must pay for one full training ({epochs} epochs), got {budget}: raise it"
            )
        self.policy, self.epochs, self.budget = policy, epochs, budget
        self.validation_rows, self.about = validation_rows, dict(about or {})
        self.entries = {model: Entry(model) for model in models}
        self._dropped: list[str] = []  # in order: the last one is the best of those that left
        self._judged = 0  # epochs after which the survivors were judged last
        self._start(list(models)[:started])

    # ---- ask and tell ------------------------------------------------------------------------

    @property
    def survivors(self) -> tuple[str, ...]:
        """Models in training, in the order given."""
        return tuple(m for m, entry in self.entries.items() if entry.fate == TRAINING)

    @property
    def done(self) -> bool:
        """Whether nothing is left to train."""
        return not self.survivors

    @property
    def winner(self) -> str | None:
        """The chosen model once `done`; None before, or where every model failed."""
        return next((m for m, entry in self.entries.items() if entry.fate == WON), None)

    @property
    def spent(self) -> int:
        """Epochs so far."""
        return sum(entry.epochs for entry in self.entries.values())

    def ask(self) -> list[str]:
        """The models to train for one more epoch now, and to `tell` of; [] when done."""
        least = min((self.entries[m].epochs for m in self.survivors), default=0)
        return [m for m in self.survivors if self.entries[m].epochs == least]

    def tell(self, model: str, validation: float, *, standard_error: float | None = None) -> None:
        """One more epoch of a model is trained: its validation score.

        Args:
            model: one of those asked for.
            validation: larger is better; NaN or an infinity drops the model.
            standard_error: of the score by its finite validation set, if known.

        Raises:
            InputError: the model was not asked for, or a standard error that is none.
        """
        if standard_error is not None and not 0 <= standard_error < LARGEST_ERROR:
            raise InputError(
                f"standard_error must be 0 or more and finite, got {standard_error}: None if it is "
                "not known"
            )
        if not math.isfinite(validation):
            self.fail(model, f"its validation score is {validation}")
            return
        entry = self._asked(model)
        entry.epochs += 1
        entry.validation.append(float(validation))
        entry.standard_error.append(math.nan if standard_error is None else float(standard_error))
        self._advance()

    def fail(self, model: str, reason: str) -> None:
        """The training of a model broke: it is dropped, and its epoch counts as spent.

        Args:
            model: one of those asked for.
            reason: one line, for the reader.

        Raises:
            InputError: the model was not asked for.
        """
        entry = self._asked(model)
        entry.epochs += 1
        entry.fate, entry.reason = FAILED, reason
        self._advance()

    def _asked(self, model: str) -> Entry:
        if model not in self.ask():
            asked = ", ".join(self.ask()) or "none, the selection is done"
            raise InputError(f"model {model!r} was not asked for: asked are {asked}")
        return self.entries[model]

    # ---- rounds ------------------------------------------------------------------------------

    def _start(self, models: Sequence[str]) -> None:
        for model in models:
            self.entries[model].fate = TRAINING

    def _advance(self) -> None:
        """Close the round if all its models have reported; replace them if all failed."""
        alive = self.survivors
        if not alive:
            self._call_back()
        elif all(self.entries[m].epochs > self._judged for m in alive):
            self._close(alive)

    def _close(self, alive: tuple[str, ...]) -> None:
        for drop in self.policy.drops(self._seen(alive)):
            entry = self.entries[drop.model]
            entry.fate, entry.reason, entry.confidence = DROPPED, drop.reason, drop.confidence
            self._dropped.append(drop.model)
        leader = self.entries[self.survivors[0]]
        self._judged = leader.epochs
        if leader.epochs == self.epochs:
            leader.fate = WON

    def _seen(self, alive: tuple[str, ...]) -> Seen:
        validation = np.array([self.entries[m].validation for m in alive], np.float64)
        errors = np.array([self.entries[m].standard_error[-1] for m in alive], np.float64)
        if np.isfinite(errors).any():
            variance = float(np.nanmean(errors**2))
        elif self.validation_rows:
            variance = accuracy_variance(float(validation.max(1).mean()), self.validation_rows)
        else:
            variance = 0.0
        bounded = bool(self.validation_rows) and validation.min() >= 0 and validation.max() <= 1
        dropped = ((m, tuple(self.entries[m].validation)) for m in self._dropped)
        return Seen(alive, validation, variance, self.epochs, tuple(dropped), bounded)

    def _call_back(self) -> None:
        """No model is left: the last that was dropped goes on, else the next that never started."""
        waiting = [m for m, entry in self.entries.items() if entry.fate == NOT_STARTED]
        following = [self._dropped.pop()] if self._dropped else waiting[:1]
        for model in following:
            entry = self.entries[model]
            entry.fate, entry.reason, entry.confidence = TRAINING, "", None
            self._judged = entry.epochs

    # ---- on disk -----------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write the whole state as JSON, all or nothing.

        Args:
            path: of the file.
        """
        write_json(path, "selection", self.to_content())

    def to_content(self) -> dict[str, Any]:
        """The whole state as plain values."""
        entries = [asdict(entry) for entry in self.entries.values()]
        for entry in entries:
            errors = entry["standard_error"]
            entry["standard_error"] = [None if math.isnan(error) else error for error in errors]
        return {
            "about": self.about,
            "epochs": self.epochs,
            "budget": self.budget,
            "validation_rows": self.validation_rows,
            "policy": policy_content(self.policy),
            "entries": entries,
            "dropped": self._dropped,
            "judged": self._judged,
        }

    @staticmethod
    def read(content: dict[str, Any]) -> "Selector":
        """The inverse of `to_content`.

        Args:
            content: of a JSON.

        Returns:
            The selector as it was.

        Raises:
            AttributeError, IndexError, KeyError, TypeError, ValueError: the content is not sound.
        """
        return _from_content(content)

    @staticmethod
    def load(path: Path) -> "Selector":
        """Read what `save` wrote; the selection goes on from there.

        Args:
            path: of the file.

        Returns:
            The selector as it was.

        Raises:
            InputError: missing, broken, or of a newer version.
        """
        content = read_json(path, "selection")
        try:
            return Selector.read(content)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{path} is not a sound selection: {reason}") from None


def _from_content(content: dict[str, Any]) -> Selector:
    entries = [_read_entry(entry) for entry in content["entries"]]
    selector = Selector(
        [entry.model for entry in entries],
        read_policy(content["policy"]),
        epochs=content["epochs"],
        budget=content["budget"],
        validation_rows=content["validation_rows"],
        about=content["about"],
    )
    selector.entries = {entry.model: entry for entry in entries}
    selector._dropped, selector._judged = list(content["dropped"]), int(content["judged"])
    _check(selector)
    return selector


def _check(selector: Selector) -> None:
    """Raise ValueError where entries and rounds do not agree: the selection would not end."""
    entries, judged = selector.entries, selector._judged
    for entry in entries.values():
        scored = entry.epochs - (entry.fate == FAILED)  # the epoch that failed has no score
        if not 0 <= entry.epochs <= selector.epochs or len(entry.validation) != scored:
            raise ValueError(f"{entry.model!r} has {entry.epochs} epochs, {scored} of them scored")
        if len(entry.standard_error) != scored or not np.isfinite(entry.validation).all():
            raise ValueError(f"{entry.model!r} has scores that are none")
        in_round = entry.epochs in (judged, judged + 1) and judged < selector.epochs
        if entry.fate == TRAINING and not in_round:
            raise ValueError(f"{entry.model!r} has {entry.epochs} epochs, {judged} were judged")
    fates = [entry.fate for entry in entries.values()]
    dropped = sorted(m for m, entry in entries.items() if entry.fate == DROPPED)
    if sorted(selector._dropped) != dropped or fates.count(WON) + (TRAINING in fates) > 1:
        raise ValueError("who was dropped, is in training or won do not agree")
    if not {TRAINING, WON} & set(fates) and {DROPPED, NOT_STARTED} & set(fates):
        raise ValueError("nobody is in training and nobody won")


def _read_entry(content: dict[str, Any]) -> Entry:
    errors = [math.nan if error is None else float(error) for error in content["standard_error"]]
    scores = [float(score) for score in content["validation"]]
    entry = Entry(**(content | {"validation": scores, "standard_error": errors}))
    if entry.fate not in (TRAINING, DROPPED, FAILED, WON, NOT_STARTED):
        raise ValueError(f"unknown fate {entry.fate!r}")
    return entry
