"""The weights of a spider under the names of the algebra."""

from typing import NamedTuple

from jaxtyping import Array, Float, Int

PER_MODEL = ("theta", "own_project", "own_bias")  # of Weights: rows of models, the rest is shared


class Weights(NamedTuple):
    """Parameters of the spider. x @ matrix everywhere; [in, out].

    own_project, own_bias: of every model's own class centres; None where there are none.
    """

    theta: Float[Array, "M d"]
    project: Float[Array, "D d"]
    project_bias: Float[Array, " d"]
    query: Float[Array, "d d"]
    key: Float[Array, "d d"]
    value: Float[Array, "d d"]
    output: Float[Array, "d d"]
    output_bias: Float[Array, " d"]
    norm_scale: Float[Array, " d"]
    norm_bias: Float[Array, " d"]
    head_norm_scale: Float[Array, " d"]
    head_norm_bias: Float[Array, " d"]
    head: Float[Array, " d"]
    head_bias: Float[Array, ""]
    own_project: Float[Array, "M p d"] | None = None
    own_bias: Float[Array, "M d"] | None = None

    def arrays(self) -> dict[str, Array]:
        """The parameters that there are, by name."""
        return {name: array for name, array in self._asdict().items() if array is not None}


class OwnTokens(NamedTuple):
    """Models' own class centres on tasks: tokens [T, k, C, p] scaled, of the models [T, k]."""

    tokens: Float[Array, "T k C p"]
    models: Int[Array, "T k"]
