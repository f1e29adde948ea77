"""Torch peers of the training step: the published form and a factorised one, by autograd.

Letters: B tasks of a batch, C classes, M models, d token width, D_psi width of the extractor.
No dropout in either, so that one step gives one loss and one gradient in all forms.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from jaxtyping import Bool, Float32
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from bench.peers.torch_scoring import PublishedForm

LEARNING_RATE = 2.5e-4
PAIR_ELEMENTS = 2**22  # B m d of a chunk of m models: 16 MB in float32


class PublishedTraining(PublishedForm):
    """The published form: a loop over models, each attends over all rows of every task."""

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Scores [B, M] that can be differentiated.

        Args:
            tokens: [B, C, D_psi].
            mask: [B, C].
        """
        projected = self.uni_linear(tokens)
        present = functional.pad(mask, (1, 0), value=True)
        return torch.cat([self._one(row, projected, present) for row in self.model_prompt[0]], 1)


class FactorisedTraining(PublishedForm):
    """The same scores from the row of the model token alone, by autograd.

    Every product is done on the side where it is smaller. Few models (M <= C): U is folded into the
    keys, so the B C tokens are never projected, and raw tokens are averaged, then projected. Many
    models: tokens are projected once and averaged as W_o W_v x. Models are taken in chunks that
    stay in cache: M = 100,000 in 1.7 s a step instead of 3.9. Where the backward pass would keep
    more than about 5 GB, it computes the chunks again, which takes a third of the time more.

    One thread, B = 16, C = 100, ms a step at (M, d) = (42, 1,024), (42, 256), (1,000, 256): Adam
    fused 127, 30, 122, foreach 139, 30, 125, plain 139, 32, 125; compiled, fused, 122, 28, 113.
    A softmax written out, without `cat`, took the same time.
    """

    kept_elements = 2**27  # B M d up to which nothing is computed twice

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Scores [B, M] that can be differentiated.

        Args:
            tokens: [B, C, D_psi].
            mask: [B, C].
        """
        theta = self.model_prompt[0]
        if len(theta) <= tokens.shape[1]:
            return self._few(theta, tokens, mask)
        X, values, fold = self._task_side(tokens, len(theta))
        size = max(1, PAIR_ELEMENTS // (len(tokens) * theta.shape[1]))
        chunks = theta.split(size)
        form = self._many
        if len(tokens) * theta.numel() > self.kept_elements:
            form = partial(checkpoint, form, use_reentrant=False)
        return torch.cat([form(rows, X, values, fold, mask) for rows in chunks], 1)

    def _few(self, theta: Tensor, tokens: Tensor, mask: Tensor) -> Tensor:
        block, project = self.transformer, self.uni_linear
        (B, C, D), (M, d) = tokens.shape, theta.shape
        key = block.w_qs(theta) @ block.w_ks.weight / d**0.5
        logits = (key @ project.weight) @ tokens.reshape(B * C, D).T
        logits = logits.reshape(M, B, C).transpose(0, 1) + (key @ project.bias)[None, :, None]
        share, own = _attention(logits, (key * theta).sum(1), mask)
        seen = functional.linear(torch.bmm(share, tokens).reshape(B * M, D), project.weight)
        mixed = seen.reshape(B, M, d) + (1 - own) * project.bias + own * theta
        return self._read_out(theta, block.fc(block.w_vs(mixed)))

    def _task_side(self, tokens: Tensor, models: int) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Projected tokens [B, C, d], W_o W_v of them, and the folded d x d matrices."""
        block = self.transformer
        fold = block.fc.weight @ block.w_vs.weight
        metric = block.w_qs.weight.T @ block.w_ks.weight / fold.shape[0] ** 0.5
        X = self.uni_linear(tokens)
        return X, functional.linear(X, fold), (metric, fold)

    def _many(
        self, theta: Tensor, X: Tensor, values: Tensor, fold: tuple[Tensor, ...], mask: Tensor
    ) -> Tensor:
        metric, value = fold
        (B, C, d), M = X.shape, len(theta)
        key = theta @ metric
        logits = (key @ X.reshape(B * C, d).T).reshape(M, B, C).transpose(0, 1)
        share, own = _attention(logits, (key * theta).sum(1), mask)
        attended = torch.bmm(share, values) + own * functional.linear(theta, value)
        return self._read_out(theta, attended + self.transformer.fc.bias)

    def _read_out(self, theta: Tensor, attended: Tensor) -> Tensor:
        first, (second, head) = self.transformer.layer_norm, self.mlp_head
        return head(second(first(theta + attended)))[..., 0]


class RecomputedTraining(FactorisedTraining):
    """The factorised form that keeps no chunk for the backward pass, as ours: less memory."""

    kept_elements = 0


def _attention(logits: Tensor, own: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax over the classes [B, M, C] and the model itself [B, M, 1]."""
    logits = logits.masked_fill(~mask[:, None], -torch.inf)
    both = torch.cat([logits, own[None, :, None].expand(len(logits), -1, 1)], 2).softmax(2)
    return both[..., :-1], both[..., -1:]


def plackett_luce(scores: Tensor, targets: Tensor) -> Tensor:
    """Mean over tasks of the negative log-likelihood of the target order, per position.

    Args:
        scores: [B, M].
        targets: [B, M], larger is better.
    """
    ordered = scores.gather(1, targets.argsort(1))
    return (ordered.logcumsumexp(1) - ordered).sum(1).mean() / (scores.shape[1] - 1)


class Trainer:
    """Adam on random batches of tasks in memory.

    Args:
        form: gives scores of tokens and mask.
        tokens: of all tasks, [T, C, D_psi].
        mask: of all tasks, [T, C].
        targets: of all tasks, [T, M].
        batch: B.
        compiled: whether scores and loss go through torch.compile.
    """

    def __init__(
        self,
        form: PublishedForm,
        tokens: Float32[np.ndarray, "T C D_psi"],
        mask: Bool[np.ndarray, "T C"],
        targets: Float32[np.ndarray, "T M"],
        batch: int,
        compiled: bool = False,
    ) -> None:
        self.form, self.batch = form, batch
        self._loss = torch.compile(self._eager_loss) if compiled else self._eager_loss
        self.data = tuple(torch.from_numpy(array) for array in (tokens, mask, targets))
        self.adam = torch.optim.Adam(form.parameters(), lr=LEARNING_RATE, fused=True)

    def steps(self, count: int) -> float:
        """Mean loss of some steps, each on the next batch of a shuffled order.

        Args:
            count: of steps.
        """
        order = torch.randperm(len(self.data[0]))
        total = torch.zeros(())
        for rows in order[: count * self.batch].split(self.batch):
            self.adam.zero_grad(set_to_none=True)
            loss = self._loss(*self._draw(rows))
            loss.backward()
            self.adam.step()
            total += loss.detach()
        return float(total) / count

    def gradient(self) -> tuple[float, dict[str, Tensor]]:
        """Loss of all tasks in one batch, and its gradient under the published names."""
        self.adam.zero_grad(set_to_none=True)
        loss = self._loss(*self.data)
        loss.backward()
        return float(loss.detach()), {name: p.grad for name, p in self.form.named_parameters()}

    def _draw(self, rows: Tensor) -> tuple[Tensor, ...]:
        return tuple(array[rows] for array in self.data)

    def _eager_loss(self, tokens: Tensor, mask: Tensor, targets: Tensor) -> Tensor:
        return plackett_luce(self.form(tokens, mask), targets)


FORMS: Mapping[str, type[PublishedForm]] = {
    "published": PublishedTraining,
    "torch factorised": FactorisedTraining,
    "torch compiled": FactorisedTraining,
    "torch recomputed": RecomputedTraining,
}


def trainer(
    name: str,
    state: Mapping[str, Tensor],
    tokens: Float32[np.ndarray, "T C D_psi"],
    mask: Bool[np.ndarray, "T C"],
    targets: Float32[np.ndarray, "T M"],
    batch: int,
) -> Trainer:
    """The trainer of a form.

    Args:
        name: one of FORMS.
        state: published names -> tensors.
        tokens: of all tasks.
        mask: of all tasks.
        targets: of all tasks.
        batch: B.
    """
    form = FORMS[name].from_state(state)
    return Trainer(form, tokens, mask, targets, batch, compiled=name == "torch compiled")
