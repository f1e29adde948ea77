"""What metrics share about one model on one task: one pass over the features, each result once.

Every function of the spectrum needs only the smaller side: F^T F [D, D] where N > D, summed block
by block from the memmap, else F F^T [N, N]. A `Side` holds it with the labels on that side, so that

    y_c^T F m(F^T F) F^T y_c' = left_c^T m(gram) right_c'      for every function m,

and a metric need not know which side it is. Gram matrices are summed about a pivot, the first row:
a constant column becomes exactly 0, and the centred and the raw matrix follow without cancellation.
(Wide features whose mean is not large against their deviations need no pivot, and no copy for it.)
Decompositions run on the host in float64 (batched eigh under XLA on CPU has hung and has corrupted
memory: jax-ml/jax issue 39292).
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64, Int
from numpy.typing import ArrayLike

from spider_jax.metrics.shared.eigen import leading_eigenpairs
from spider_jax.metrics.shared.inputs import check_features, check_finite_rows, one_hot

# Eigenvalues of a float64 Gram matrix below this share of the largest are rounding.
RANK_TOLERANCE = 1e-12
BLOCK_NUMBERS = 1 << 23  # of a block of rows: 64 MB in float64
FAR = 0.01  # variance over squared mean below which rows are summed about a row, not about 0
LEADING = 64  # principal directions found at once: what most metrics ask for


class Side(NamedTuple):
    """The smaller Gram matrix and the labels beside it.

    Attributes:
        gram: F^T F where N > D, else F F^T.
        left: F^T Y where N > D, else Y.
        right: F^T Y where N > D, else F F^T Y.
    """

    gram: Float64[np.ndarray, "k k"]
    left: Float64[np.ndarray, "k C"]
    right: Float64[np.ndarray, "k C"]


class Spectrum(NamedTuple):
    """The singular values of F = U diag(sqrt s) V^T, and the labels in its singular vectors.

    Attributes:
        s: ascending; rounding is set to 0.
        x: U^T Y; 0 where s is 0.
        basis: eigenvectors of the side's Gram matrix: V where N > D, else U.
    """

    s: Float64[np.ndarray, " k"]
    x: Float64[np.ndarray, "k C"]
    basis: Float64[np.ndarray, "k k"]


class Moments(NamedTuple):
    """The sums of one pass over the features; F_c are the centred features.

    Attributes:
        mean: of every column.
        gram: centred Gram matrix of the smaller side.
        cross: F_c^T Y where N > D, else empty.
        offset: F_c mean where N <= D, else empty.
        quartic: sum_n |f_n - mean|^4.
    """

    mean: Float64[np.ndarray, " D"]
    gram: Float64[np.ndarray, "k k"]
    cross: Float64[np.ndarray, "D C"]
    offset: Float64[np.ndarray, " N"]
    quartic: float


class Statistics:
    """Statistics of features and labels, each computed when it is first asked for.

    Args:
        features: [N, D] numbers; a memmap is read in blocks of rows, never whole where N > D.
        labels: classes 0..C-1, or columns of targets.
        rows: which rows of the features to use, if not all.
        standardize: standardise the columns first; constant columns become 0.

    Attributes:
        n: N, the rows in use.
        width: D.
        tall: whether N > D.
        labels: as they were given.
        classes: C.

    Raises:
        InputError: features that are not numbers [N, D]; in the first pass, not finite ones.
    """

    def __init__(
        self,
        features: ArrayLike,
        labels: Int[np.ndarray, " N"] | Float64[np.ndarray, "N C"],
        *,
        rows: Int[np.ndarray, " N"] | None = None,
        standardize: bool = False,
    ) -> None:
        self._features = check_features(features)
        self._rows = np.arange(len(self._features)) if rows is None else rows
        self._contiguous = rows is None
        self.n, self.width = len(self._rows), self._features.shape[1]
        self.tall = self.n > self.width
        self.labels = labels
        self.classes = int(labels.max()) + 1 if labels.ndim == 1 else labels.shape[1]
        self._standardize = standardize
        self._leading_pairs = np.zeros(0), np.zeros((0, 0))

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The dtype of the features as given; everything here is computed in float64."""
        return self._features.dtype

    def subset(self, rows: Int[np.ndarray, " n"]) -> "Statistics":
        """Statistics of some of the rows.

        Args:
            rows: positions among the N rows.

        Returns:
            The statistics; if the columns are standardised, by these rows alone.
        """
        rows_of_file, redo = self._rows[rows], self._standardize
        return Statistics(self._features, self.labels[rows], rows=rows_of_file, standardize=redo)

    # ---- labels --------------------------------------------------------------------------------

    def targets(
        self, where: slice | Int[np.ndarray, " n"] = slice(None)
    ) -> Float64[np.ndarray, "_ C"]:
        """The labels of some rows as columns.

        Args:
            where: the rows; all of them by default.

        Returns:
            One-hot classes, or the targets.
        """
        labels: Any = self.labels[where]
        return one_hot(labels, self.classes) if labels.ndim == 1 else labels

    @cached_property
    def total(self) -> Float64[np.ndarray, " C"]:
        """|y_c|^2 of every column; of classes, their counts."""
        if self.labels.ndim == 1:
            return np.bincount(self.labels, minlength=self.classes).astype(np.float64)
        return np.asarray((self.labels**2).sum(0), np.float64)

    # ---- rows ----------------------------------------------------------------------------------

    def take(self, rows: Int[np.ndarray, " n"]) -> Float64[np.ndarray, "n D"]:
        """Some of the rows, standardised if the statistics are.

        Args:
            rows: positions among the N rows.

        Returns:
            The rows, in memory; their values are not checked.
        """
        return self._scaled(np.asarray(self._features[self._rows[rows]], np.float64))

    def blocks(
        self, size: int | None = None, first: int = 0
    ) -> Iterator[tuple[slice, Float64[np.ndarray, "_ D"]]]:
        """The rows in blocks that fit in memory, standardised if the statistics are.

        Args:
            size: rows of a block; by default 64 MB of them.
            first: the row to begin with.

        Yields:
            Where the rows of a block stand among the N rows, and the rows.
        """
        for where, block in self._raw_blocks(size, first):
            yield where, self._scaled(block)

    def _raw_blocks(
        self, size: int | None = None, first: int = 0
    ) -> Iterator[tuple[slice, Float64[np.ndarray, "_ D"]]]:
        size = size or max(1, BLOCK_NUMBERS // self.width)
        for start in range(first, self.n, size):
            where = slice(start, min(start + size, self.n))
            chosen = where if self._contiguous else self._rows[where]
            block = np.asarray(self._features[chosen], np.float64)
            check_finite_rows(block, self._rows[where])
            yield where, block

    def _scaled(self, block: Float64[np.ndarray, "n D"]) -> Float64[np.ndarray, "n D"]:
        return (block - self._scale[0]) * self._scale[1] if self._standardize else block

    @cached_property
    def _scale(self) -> tuple[Float64[np.ndarray, " D"], Float64[np.ndarray, " D"]]:
        """Mean and 1/sd of every column; 0 for a constant one. This takes a pass of its own."""
        pivot = np.asarray(self._features[self._rows[0]], np.float64)
        first, second = np.zeros(self.width), np.zeros(self.width)
        for _, block in self._raw_blocks():
            first += (block - pivot).sum(0)
            second += ((block - pivot) ** 2).sum(0)
        sd = np.sqrt(np.maximum(second / self.n - (first / self.n) ** 2, 0))
        alive = sd > 1e-6 * sd.max()
        return pivot + first / self.n, np.where(alive, 1 / np.where(alive, sd, 1), 0)

    # ---- one pass ------------------------------------------------------------------------------

    @cached_property
    def moments(self) -> Moments:
        """The sums of the one pass over the features: 2 N D min(N, D) operations."""
        return self._tall_moments() if self.tall else self._wide_moments()

    def _tall_moments(self) -> Moments:
        D = self.width
        gram, cross, shift, cubic = (np.zeros(s) for s in ((D, D), (self.classes, D), D, D))
        quartic, columns, pivot = 0.0, np.zeros(self.classes), self.take(np.zeros(1, np.int64))[0]
        for where, block in self.blocks():
            B, Y = block - pivot, self.targets(where)
            lengths = np.einsum("nd,nd->n", B, B)
            gram += B.T @ B
            cross += Y.T @ B
            shift += B.sum(0)
            cubic += lengths @ B
            columns += Y.sum(0)
            quartic += lengths @ lengths
        square, delta = np.trace(gram), shift / self.n
        far = delta @ delta
        # sum |b - delta|^4, expanded; the pivot is one of the rows, so little cancels
        quartic += 4 * delta @ gram @ delta + self.n * far**2 + 2 * far * square
        quartic -= 4 * delta @ cubic + 4 * far * delta @ shift
        gram -= np.outer(self.n * delta, delta)
        cross -= np.outer(columns, delta)
        return Moments(pivot + delta, gram, cross.T, np.zeros(0), float(quartic))

    def _wide_moments(self) -> Moments:
        blocks = [block for _, block in self.blocks()]
        F = blocks[0] if len(blocks) == 1 else np.concatenate(blocks)
        found = _of_rows(F)
        if np.trace(found.gram) < FAR * self.n * (found.mean @ found.mean):
            found = _of_rows(F - F[0], F[0])
        return found

    # ---- what follows from it ------------------------------------------------------------------

    @cached_property
    def centred(self) -> Side:
        """The smaller side of F - mean."""
        gram = self.moments.gram
        if self.tall:
            return Side(gram, self.moments.cross, self.moments.cross)
        return Side(gram, self.targets(), gram @ self.targets())

    @cached_property
    def raw(self) -> Side:
        """The smaller side of F as it is."""
        mean, gram, cross, offset, _ = self.moments
        if self.tall:
            cross = cross + np.outer(mean, self._column_sums)
            moved = np.outer(self.n * mean, mean)
            moved += gram
            return Side(moved, cross, cross)
        shift = offset + mean @ mean / 2
        gram = gram + shift
        gram += shift[:, None]
        return Side(gram, self.targets(), gram @ self.targets())

    @property
    def _column_sums(self) -> Float64[np.ndarray, " C"]:
        return self.total if self.labels.ndim == 1 else self.labels.sum(0)

    @cached_property
    def raw_spectrum(self) -> Spectrum:
        """The spectrum of F as it is."""
        return self._spectrum(self.raw)

    @cached_property
    def centred_spectrum(self) -> Spectrum:
        """The spectrum of F - mean."""
        return self._spectrum(self.centred)

    def _spectrum(self, side: Side) -> Spectrum:
        s, basis = np.linalg.eigh(side.gram)
        alive = s > RANK_TOLERANCE * s[-1]
        x = basis.T @ side.left
        if self.tall:  # V^T F^T Y = sqrt(s) U^T Y
            x = x / np.sqrt(np.where(alive, s, 1))[:, None]
        return Spectrum(np.where(alive, s, 0), np.where(alive[:, None], x, 0), basis)

    def left_vectors(self) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, "N k"]]:
        """s and U of the centred features; all N rows are in memory then. The probes need them."""
        s, _, basis = self.centred_spectrum
        if not self.tall:
            return s, np.where(s > 0, basis, 0)
        inverse = np.where(s > 0, 1 / np.sqrt(np.where(s > 0, s, 1)), 0)
        return s, self._projected(basis * inverse)

    def left_blocks(self) -> Iterator[tuple[slice, Float64[np.ndarray, "_ k"]]]:
        """U of `left_vectors` in blocks of rows: a block is in memory where N > D.

        Yields:
            Where the rows of a block stand among the N rows, and these rows of U.
        """
        s, _, basis = self.centred_spectrum
        inverse = np.where(s > 0, 1 / np.sqrt(np.where(s > 0, s, 1)), 0)
        for where, block in self.blocks():
            yield where, (block - self.moments.mean) @ (basis * inverse)

    def _projected(self, directions: Float64[np.ndarray, "D k"]) -> Float64[np.ndarray, "N k"]:
        """(F - mean) directions."""
        Z = np.empty((self.n, directions.shape[1]))
        for where, block in self.blocks():
            Z[where] = (block - self.moments.mean) @ directions
        return Z

    def variances(self, k: int) -> Float64[np.ndarray, " r"]:
        """The largest eigenvalues of the centred Gram matrix.

        Args:
            k: how many.

        Returns:
            min(k, rank) eigenvalues, the largest first; rounding does not count for the rank.
        """
        return self._leading(k)[0]

    def coordinates(self, k: int) -> Float64[np.ndarray, "N r"]:
        """The leading principal coordinates of the rows.

        Args:
            k: how many.

        Returns:
            min(k, rank) columns, the largest variance first. Signs: the entry of largest size in
            every column is positive.
        """
        return self._coordinates(k) if k > LEADING else self._few_coordinates[:, :k]

    @cached_property
    def _few_coordinates(self) -> Float64[np.ndarray, "N r"]:
        """Several metrics ask for these, so they are projected once."""
        return self._coordinates(LEADING)

    def _coordinates(self, k: int) -> Float64[np.ndarray, "N r"]:
        s, basis = self._leading(k)
        Z = self._projected(basis) if self.tall else basis * np.sqrt(s)
        if Z.size:
            Z *= np.sign(np.take_along_axis(Z, np.abs(Z).argmax(0)[None], axis=0))
        return Z

    def _leading(self, k: int) -> tuple[Float64[np.ndarray, " r"], Float64[np.ndarray, "d r"]]:
        """At most k leading eigenpairs of the centred side, of a full spectrum if there is one."""
        gram = self.centred.gram
        k = min(k, len(gram))
        if "centred_spectrum" in vars(self) or k > len(gram) // 3:
            s, basis = self.centred_spectrum.s[::-1], self.centred_spectrum.basis[:, ::-1]
        else:
            if k > len(self._leading_pairs[0]):
                self._leading_pairs = leading_eigenpairs(gram, min(max(k, LEADING), len(gram)))
            s, basis = self._leading_pairs
        rank = int((s > RANK_TOLERANCE * s[0]).sum()) if s[0] > 0 else 0
        return s[: min(k, rank)], basis[:, : min(k, rank)]


def _of_rows(
    F: Float64[np.ndarray, "N D"], pivot: Float64[np.ndarray, " D"] | None = None
) -> Moments:
    """Moments of F + pivot, wide. The Gram matrix is centred, not the rows: no copy of them."""
    delta, gram = np.ones(len(F)) @ F / len(F), F @ F.T
    along = gram.mean(1)  # F delta
    far = along.mean()
    gram -= along - far / 2
    gram -= along[:, None] - far / 2
    mean, offset = delta, along - far
    if pivot is not None:
        mean, offset = pivot + delta, offset + F @ pivot - delta @ pivot
    quartic = float((np.diagonal(gram) ** 2).sum())
    return Moments(mean, gram, np.zeros((0, 0)), offset, quartic)
