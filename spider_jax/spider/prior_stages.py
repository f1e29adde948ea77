"""How a spider comes to expect what it does: constant order, similar tasks, network."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from spider_jax.belief.belief import Belief
from spider_jax.belief.explanation import Part, Stage, grouped_parts
from spider_jax.spider.scoring import remembered
from spider_jax.spider.state import SpiderState
from spider_jax.tasks.padding import pad_tokens
from spider_jax.tasks.scaling import apply_scaling
from spider_jax.tasks.tokens import TaskTokens

CONSTANT, SIMILAR, NETWORK = "constant order", "similar training tasks", "network"


def prior_stages(
    spider: SpiderState, tokens: TaskTokens, belief: Belief, names: Sequence[str] = ()
) -> tuple[Stage, ...]:
    """What was believed after each source that a spider's prior is made of.

    Args:
        spider: with a process over tasks.
        tokens: of the task.
        belief: of the spider on it, before anything was looked at.
        names: of the S training tasks, or of the datasets that each is drawn from; default: their
            numbers.

    Returns:
        Three stages; the last is the belief's prior.
    """
    assert spider.memory is not None
    kept, targets = spider.memory.weights, spider.memory.targets.astype(np.float64)
    assert kept.process is not None
    process, prior = kept.process, belief.prior
    constant = process.constant.astype(np.float64)
    padded = pad_tokens([tokens])
    scaled = np.asarray(apply_scaling(spider.scaling, padded.centres, padded.mask))
    found = remembered(kept, scaled, padded)
    assert found is not None
    weights = found[0].astype(np.float64)
    known = names or [f"training task {i}" for i in range(len(targets))]

    def parts(model: int) -> list[Part]:
        more: Float64[np.ndarray, " S"] = weights - constant
        return grouped_parts(known, more, more * targets[:, model])

    far = prior._replace(scale=process.far).variances()
    now = prior.variances()
    return (
        Stage(CONSTANT, constant @ targets, far),
        Stage(SIMILAR, weights @ targets, now, parts),
        Stage(NETWORK, prior.mean, now),
    )
