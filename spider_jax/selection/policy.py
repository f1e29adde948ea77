"""What a policy is: it sees validation scores of the target and says who leaves."""

from typing import ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float


class Seen(NamedTuple):
    """What a policy may know of the target: n models after e epochs.

    Attributes:
        models: names of the survivors.
        validation: their scores, a column an epoch.
        variance: mean sampling variance of the last column; 0 where it is not known.
        epochs: of a full training.
        gone: models that were dropped earlier, with their scores.
        bounded: whether scores lie between 0 and 1.
    """

    models: tuple[str, ...]
    validation: Float[np.ndarray, "n e"]
    variance: float
    epochs: int
    gone: tuple[tuple[str, tuple[float, ...]], ...] = ()
    bounded: bool = False

    @property
    def goes_on(self) -> bool:
        """Whether the survivors may train another epoch."""
        return self.validation.shape[1] < self.epochs


class Drop(NamedTuple):
    """A model that gets no further epoch.

    Attributes:
        model: name.
        reason: why.
        confidence: how sure that is: P(the leader is better); None where the policy does not say.
    """

    model: str
    reason: str
    confidence: float | None = None


@runtime_checkable
class Policy(Protocol):
    """How a fine selection spends its epochs."""

    name: ClassVar[str]

    def started(self, models: int, epochs: int, budget: int | None) -> int:
        """How many models, the best by recall, are trained at all.

        Args:
            models: how many there are.
            epochs: of a full training.
            budget: epochs in all, over all models; None for any.

        Returns:
            At most `models`; 0 where the budget does not pay for one full training.
        """
        ...

    def drops(self, seen: Seen) -> list[Drop]:
        """Which models leave after this epoch.

        Args:
            seen: the survivors and their scores.

        Returns:
            The worst first; after the last epoch all but the winner.
        """
        ...
