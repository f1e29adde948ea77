"""Torch peers for the scoring benchmarks, written from the equations and from nothing else.

Letters: T tasks, C classes, M models, d token width, D_psi width of the general extractor.
A mask is True where a class exists. Everything runs without gradients and in eval mode.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor, nn
from torch.nn import functional

LAYER_NORM_EPS = 1e-5
IGNORED = ("hete_", "uni_prompt")  # parameters of the published file that scoring does not read
SPARE = 16  # columns added to each row of a table, for scalars: the matrix products carry them
TABLE_ELEMENTS = 2**20  # of one chunk of a table: 4 MB in float32, best of 2**18 ... 2**23
PublishedState = dict[str, Tensor]  # weights under the published names
Search = Callable[
    [Float32[np.ndarray, "C d"], int],
    tuple[Float32[np.ndarray, "C k"], Int64[np.ndarray, "C k"]],
]


class _Attention(nn.Module):
    """One head over a whole sequence, then projection, residual and LayerNorm of every row."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.w_qs = nn.Linear(width, width, bias=False)
        self.w_ks = nn.Linear(width, width, bias=False)
        self.w_vs = nn.Linear(width, width, bias=False)
        self.fc = nn.Linear(width, width)
        self.layer_norm = nn.LayerNorm(width, eps=LAYER_NORM_EPS)

    def forward(self, rows: Tensor, present: Tensor) -> Tensor:
        queries, keys, values = self.w_qs(rows), self.w_ks(rows), self.w_vs(rows)
        logits = queries @ keys.transpose(1, 2) / rows.shape[-1] ** 0.5
        weights = logits.masked_fill(~present[:, None, :], -torch.inf).softmax(-1)
        return self.layer_norm(rows + self.fc(weights @ values))


class PublishedForm(nn.Module):
    """The published computation without its bugs: a loop over models, attention over all rows.

    Parameters carry the published names, so `load_state_dict` takes a published mapping;
    the prompts and the PTM-specific projections in it are ignored.

    Args:
        models: M, number of model tokens.
        width: d, token width.
        task_width: D_psi, width of the general extractor.
    """

    def __init__(self, models: int, width: int, task_width: int) -> None:
        super().__init__()
        self.model_prompt = nn.Parameter(torch.zeros(1, models, width))
        self.transformer = _Attention(width)
        self.mlp_head = nn.Sequential(nn.LayerNorm(width, eps=LAYER_NORM_EPS), nn.Linear(width, 1))
        self.uni_linear = nn.Linear(task_width, width)
        self.register_load_state_dict_pre_hook(_drop_ignored)
        self.eval()

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> "PublishedForm":
        """Build from a published mapping, in the mapping's dtype.

        Args:
            state: published names -> tensors.
        """
        token, projection = state["model_prompt"], state["uni_linear.weight"]
        form = cls(token.shape[1], token.shape[2], projection.shape[1]).to(token.dtype)
        form.load_state_dict(dict(state))
        return form

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Score every model for every task.

        Args:
            tokens: [T, C, D_psi] class centres of the general extractor.
            mask: [T, C] bool, True where the class exists.

        Returns:
            [T, M] scores, larger is better.
        """
        with torch.no_grad():
            projected = self.uni_linear(tokens)
            present = functional.pad(mask, (1, 0), value=True)
            scores = [self._one(row, projected, present) for row in self.model_prompt[0]]
            return torch.cat(scores, 1)

    def _one(self, model: Tensor, projected: Tensor, present: Tensor) -> Tensor:
        first = model.expand(projected.shape[0], 1, -1)
        rows = self.transformer(torch.cat([first, projected], 1), present)
        return self.mlp_head(rows[:, 0])


def _drop_ignored(_module: nn.Module, state: dict[str, Tensor], *_: object) -> None:
    for name in [name for name in state if name.startswith(IGNORED) or name == "hete_prompt"]:
        del state[name]


class FactorisedForm(nn.Module):
    """The same scores from the row of the model token alone, folded once per model.

    With F = W_o W_v, x = U mu + b and softmax weights a over (self, classes):

        logits = (<key, theta> - <key, b>, <key, U mu_j>),   key = W_k^T W_q theta / sqrt(d)
        y      = (theta + b_o + F b) + a_0 (F theta - F b) + sum_j a_j F U mu_j

    so neither bias is ever added to a task token. The two LayerNorms and the head need only
    |y|^2, |g y|^2 and three inner products of the centred y (see `_read_out`); y is linear in
    its parts, so those inner products are columns of the same tables. Why it is laid out so:

    - scalars (self logit, mask, inner products) are extra columns, so that one product gives all
      logits and one gives y with its read-outs; it also breaks the power-of-two row stride;
    - U is folded into the keys as long as that costs fewer operations than projecting the
      tokens, and the tokens are averaged before they are projected when M < C;
    - classes stand in rows and are padded to a multiple of 8: matrix products of 11 columns
      took 1.2 to 1.6 x the time of products of 16 columns;
    - models go by in chunks small enough that y [m, d] stays in cache between the passes, which
      halves the time at d = 1024, C = 10; buffers reused through `out=` gained nothing more.

    The Gram form, which never makes y (one product of theta with 5 C columns), took 1.2 x the
    time at C = 10 and over 2 x at C = 100, because the LayerNorm's gain asks for two metrics.

    A bfloat16 form stores its model tables in bfloat16 and computes in float32, which halves the
    memory traffic and keeps float32 accumulation also where there is no bfloat16 unit; the
    scalar columns are split in a high and a low part so that they keep 16 bits.

    Args:
        state: published names -> tensors.
        dtype: of the model tables: float64, float32 or bfloat16.
        chunk: models per chunk, None for the measured default. `torch.compile` unrolls the chunks.
    """

    keys: Tensor
    base: Tensor
    self_value: Tensor
    project: Tensor
    value_map: Tensor
    gain: Tensor
    constants: Tensor

    def __init__(
        self,
        state: Mapping[str, Tensor],
        *,
        dtype: torch.dtype = torch.float32,
        chunk: int | None = None,
    ) -> None:
        super().__init__()
        self.models, self.width = state["model_prompt"].shape[1:]
        self.chunk = min(self.models, chunk or max(256, TABLE_ELEMENTS // self.width))
        compute = torch.float64 if dtype == torch.float64 else torch.float32
        wide = {k: v.double() for k, v in state.items() if not k.startswith("hete_")}
        with torch.no_grad():
            self._fold_keys(wide, dtype, compute)
            self._fold_values(wide, dtype, compute)

    def _fold_keys(
        self, state: Mapping[str, Tensor], dtype: torch.dtype, compute: torch.dtype
    ) -> None:
        theta, weight = state["model_prompt"][0], state["uni_linear.weight"]
        metric = state["transformer.w_qs.weight"].T @ state["transformer.w_ks.weight"]
        keys = theta @ metric / self.width**0.5
        self_logit = (keys * (theta - state["uni_linear.bias"])).sum(1, keepdim=True)
        task_width = weight.shape[1]
        self.raw_keys = self.models * (task_width - self.width) <= task_width * self.width
        if self.raw_keys:
            keys = keys @ weight
        ones = torch.ones_like(self_logit)
        self.register_buffer("keys", _table(keys, [self_logit, ones], dtype))
        self.register_buffer("project", weight.T.to(compute).contiguous())

    def _fold_values(
        self, state: Mapping[str, Tensor], dtype: torch.dtype, compute: torch.dtype
    ) -> None:
        theta, bias = state["model_prompt"][0], state["uni_linear.bias"]
        fold = state["transformer.fc.weight"] @ state["transformer.w_vs.weight"]
        gain, shift = state["transformer.layer_norm.weight"], state["transformer.layer_norm.bias"]
        head = state["mlp_head.0.weight"] * state["mlp_head.1.weight"][0]
        shift = shift - shift.mean()
        columns = torch.stack([gain, gain * shift, gain * (head - head.mean())], 1)
        base = _centre(theta + state["transformer.fc.bias"] + fold @ bias)
        own = _centre((theta - bias) @ fold.T)
        value_map = _centre((fold @ state["uni_linear.weight"]).T)
        offset = state["mlp_head.0.bias"] @ state["mlp_head.1.weight"][0]
        offset = offset + state["mlp_head.1.bias"][0]
        constants = torch.stack([shift @ shift, head @ shift, offset])
        self.register_buffer("base", _table(base, [base @ columns], dtype))
        self.register_buffer("self_value", _table(own, [own @ columns], dtype))
        self.register_buffer("value_map", _table(value_map, [value_map @ columns], compute))
        self.register_buffer("gain", gain.to(compute))
        self.register_buffer("constants", constants.to(compute))

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Score every model for every task.

        Args:
            tokens: [T, C, D_psi] class centres of the general extractor.
            mask: [T, C] bool, True where the class exists.

        Returns:
            [T, M] scores in float32 (float64 for a float64 form).
        """
        with torch.no_grad():
            late = self.models < tokens.shape[1]  # average the tokens first, project after
            slots, values = self._task_side(tokens.to(self.project.dtype), mask, late)
            spans = range(0, self.models, self.chunk)
            parts = [self._chunk_scores(slots, values, lo, late) for lo in spans]
            return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def _task_side(self, tokens: Tensor, mask: Tensor, late: bool) -> tuple[Tensor, Tensor]:
        """Rows that meet the keys [T, n, w] and rows that are averaged [T, n, v]; row 0 is self."""
        tail = -(mask.shape[1] + 1) % 8
        rows = tokens if self.raw_keys else tokens @ self.project
        bias = torch.zeros(mask.shape, dtype=rows.dtype).masked_fill(~mask, -torch.inf)
        slots = functional.pad(rows, (0, SPARE, 1, tail))
        first = self.keys.shape[1] - SPARE
        slots[:, 0, first : first + 3 : 2] = 1.0  # both parts of the self logit
        slots[:, 1:, first + 1] = functional.pad(bias, (0, tail), value=-torch.inf)
        values = tokens if late else tokens @ self.value_map
        return slots, functional.pad(values, (0, 0, 1, tail))

    def _chunk_scores(self, slots: Tensor, values: Tensor, lo: int, late: bool) -> Tensor:
        span = slice(lo, lo + self.chunk)
        keys, base, own = (
            table[span].to(slots.dtype) for table in (self.keys, self.base, self.self_value)
        )
        scores = []
        for slot, value in zip(slots, values, strict=True):
            weights = torch.mm(slot, keys.T).softmax(0)
            y = torch.addcmul(base, weights[0, :, None], own)
            if late:
                y.addmm_(weights.T @ value, self.value_map)
            else:
                y.addmm_(weights.T, value)
            scores.append(self._read_out(y))
        return torch.stack(scores)

    def _read_out(self, y: Tensor) -> Tensor:
        """LayerNorm, LayerNorm and linear head of rows y [m, d + SPARE], centred; y is spent.

        With s = (|y|^2 / d + eps)^-1/2 the first LayerNorm is z = s g y + b, its centred square
        |z|^2 = s^2 (|g y|^2 - <g, y>^2 / d) + 2 s <g b, y> + |b|^2 (b centred), and the head
        reads (|z|^2 / d + eps)^-1/2 (s <g h, y> + <h, b>) + constant with h = g_2 w.
        Two norms and a product in place: a quarter to a half of the time of two `layer_norm`s.
        """
        d = self.width
        total, shifted, read = (y[:, d : d + 3] + y[:, d + 3 : d + 6]).unbind(1)
        shift_square, head_shift, offset = self.constants.unbind()
        rows = y[:, :d]
        first = (torch.linalg.vector_norm(rows, dim=1).square() / d + LAYER_NORM_EPS).rsqrt()
        square = torch.linalg.vector_norm(rows.mul_(self.gain), dim=1).square()
        square = first.square() * (square - total.square() / d) + 2 * first * shifted
        second = ((square + shift_square) / d + LAYER_NORM_EPS).rsqrt()
        return second * (first * read + head_shift) + offset


def _centre(rows: Tensor) -> Tensor:
    return rows - rows.mean(1, keepdim=True)


def _table(rows: Tensor, columns: list[Tensor], dtype: torch.dtype) -> Tensor:
    """Rows and SPARE columns behind them: the scalars' high parts, then their low parts."""
    exact = torch.cat(columns, 1)
    high = exact.to(dtype)
    low = (exact - high.to(exact.dtype)).to(dtype)
    spare = functional.pad(torch.cat([high, low], 1), (0, SPARE - 2 * exact.shape[1]))
    return torch.cat([rows.to(dtype), spare], 1)


def faiss_flat(vectors: Float32[np.ndarray, "M d"]) -> Search:
    """Exact inner-product search over a flat FAISS index.

    Args:
        vectors: [M, d] float32, the rows of the index.

    Returns:
        A callable (queries [C, d] float32, k) -> (scores [C, k] float32, rows [C, k] int64).
    """
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(np.ascontiguousarray(vectors))

    def search(
        queries: Float32[np.ndarray, "C d"], k: int
    ) -> tuple[Float32[np.ndarray, "C k"], Int64[np.ndarray, "C k"]]:
        return index.search(np.ascontiguousarray(queries), k)

    return search


def random_state(M: int, d: int, D_psi: int, seed: int) -> PublishedState:
    """Random float32 parameters under the published names, none of them at a neutral value.

    Args:
        M: models.
        d: token width.
        D_psi: width of the general extractor.
        seed: of the generator; the same seed gives the same tensors.
    """
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int, scale: float = 1.0, mean: float = 0.0) -> Tensor:
        return torch.empty(shape).normal_(mean, scale, generator=generator)

    square = {name: normal(d, d, scale=d**-0.5) for name in ("w_qs", "w_ks", "w_vs", "fc")}
    return {
        "model_prompt": normal(1, M, d),
        **{f"transformer.{name}.weight": value for name, value in square.items()},
        "transformer.fc.bias": normal(d, scale=0.1),
        "transformer.layer_norm.weight": normal(d, scale=0.1, mean=1.0),
        "transformer.layer_norm.bias": normal(d, scale=0.1),
        "mlp_head.0.weight": normal(d, scale=0.1, mean=1.0),
        "mlp_head.0.bias": normal(d, scale=0.1),
        "mlp_head.1.weight": normal(1, d, scale=d**-0.5),
        "mlp_head.1.bias": normal(1, scale=0.1),
        "uni_linear.weight": normal(d, D_psi, scale=D_psi**-0.5),
        "uni_linear.bias": normal(d, scale=0.1),
    }
