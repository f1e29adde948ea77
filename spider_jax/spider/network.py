"""The parameters of one spider, as a Flax module."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array

from spider_jax.spider.attention import LAYER_NORM_EPSILON
from spider_jax.spider.weights import Weights

ATTENTION_OUTPUT_SCALE = 0.3


class SpiderNet(nnx.Module):
    """Parameters of one spider: a token theta_m per model and the weights that all models share.

    As published but for the start of W_o, a third of Xavier-normal [measured]: training begins near
    an order that ignores the task and learns first what tasks agree on.

    Args:
        models: M. token_width: width of a scaled task token. width: d. rngs: of the start.
        own_width: width of scaled tokens of a model's own features, 0 for none.
    """

    def __init__(
        self, models: int, token_width: int, width: int, rngs: nnx.Rngs, own_width: int = 0
    ) -> None:
        square = nnx.initializers.normal((1 / width) ** 0.5)
        start = nnx.initializers.normal(ATTENTION_OUTPUT_SCALE * (1 / width) ** 0.5)
        self.theta = nnx.Param(jax.random.normal(rngs.params(), (models, width)))
        self.project = nnx.Linear(token_width, width, rngs=rngs)
        self.query = nnx.Linear(width, width, use_bias=False, kernel_init=square, rngs=rngs)
        self.key = nnx.Linear(width, width, use_bias=False, kernel_init=square, rngs=rngs)
        self.value = nnx.Linear(width, width, use_bias=False, kernel_init=square, rngs=rngs)
        self.output = nnx.Linear(width, width, kernel_init=start, rngs=rngs)
        self.norm = nnx.LayerNorm(width, epsilon=LAYER_NORM_EPSILON, rngs=rngs)
        self.head_norm = nnx.LayerNorm(width, epsilon=LAYER_NORM_EPSILON, rngs=rngs)
        self.head = nnx.Linear(width, 1, rngs=rngs)
        self.own_project, self.own_bias = nnx.data(None), nnx.data(None)
        if own_width:
            own = jax.random.normal(rngs.params(), (models, own_width, width))
            self.own_project = nnx.Param(own * (1 / own_width) ** 0.5)
            self.own_bias = nnx.Param(jnp.zeros((models, width)))

    def weights(self) -> Weights:
        """The parameters under the names of the algebra."""
        return Weights(
            theta=self.theta[...],
            project=self.project.kernel[...],
            project_bias=_of(self.project.bias),
            query=self.query.kernel[...],
            key=self.key.kernel[...],
            value=self.value.kernel[...],
            output=self.output.kernel[...],
            output_bias=_of(self.output.bias),
            norm_scale=_of(self.norm.scale),
            norm_bias=_of(self.norm.bias),
            head_norm_scale=_of(self.head_norm.scale),
            head_norm_bias=_of(self.head_norm.bias),
            head=self.head.kernel[...][:, 0],
            head_bias=_of(self.head.bias)[0],
            own_project=None if self.own_project is None else _of(self.own_project),
            own_bias=None if self.own_bias is None else _of(self.own_bias),
        )


def _of(parameter: nnx.Param[Array] | None) -> Array:
    assert parameter is not None  # every layer above that is read so has this parameter
    return parameter[...]
