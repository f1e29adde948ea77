"""The weights of a spider under the names of the algebra."""

from typing import NamedTuple

from jaxtyping import Array, Float, Int

PER_MODEL = ("theta", "own_project", "own_bias")  # of Weights: rows of models, the rest is shared


class Weights(NamedTuple):
    """Parameters of the spider. Matrices are [in, out]: x @ matrix everywhere.

    Attributes:
        theta: [M, d] token of each model.
        project: [D, d] U, of the general extractor's class centres.
        project_bias: [d] of U.
        query: [d, d] W_q.
        key: [d, d] W_k.
        value: [d, d] W_v.
        output: [d, d] W_o.
        output_bias: [d] of W_o.
        norm_scale: [d] of the LayerNorm of the attention block.
        norm_bias: [d] of the same.
        head_norm_scale: [d] of the LayerNorm of the head.
        head_norm_bias: [d] of the same.
        head: [d] to the score.
        head_bias: of the score.
        own_project: [M, p, d] P_m, of every model's own class centres; None where it has none.
        own_bias: [M, d] of P_m; None where it has none.
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
    """Models' own class centres on tasks.

    Attributes:
        tokens: [T, k, C, p] scaled.
        models: [T, k] whose they are.
    """

    tokens: Float[Array, "T k C p"]
    models: Int[Array, "T k"]
