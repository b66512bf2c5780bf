"""HSIC of all pairs of many features at once, streamed over batches of samples, and their CKA.

Every batch's centred Gram matrices are laid flat, one row for each, and the product of that matrix
with its own transpose holds the HSIC of every pair. The matrices are symmetric: what lies right of
the diagonal is counted once, times sqrt(2). They are made and multiplied a few rows at a time, so
that memory depends neither on the number of samples nor on the size of a batch squared.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from compiler.gram import CentredGram, Float, GramOf, Rows, divisor, linear_gram
from targets.errors import UsageError

MEMORY = 512 * 2**20
"""Bytes of Gram rows that are held at once."""
_NOTHING = 1e-13

Average = Literal["hsic", "cka"]


def inner_products(
    grams: Sequence[CentredGram],
    memory: int = MEMORY,
    progress: Callable[[int], None] | None = None,
) -> Float:
    """Inner products of all pairs of centred Gram matrices of the same n samples.

    Args:
        grams: T of them.
        memory: bytes of their rows that are held at once.
        progress: called with the number of rows of the matrices that are done.

    Returns:
        (T, T), symmetric.
    """
    count, samples = len(grams), grams[0].size
    total = np.zeros((count, count))
    buffer = np.empty(count * samples * int(np.clip(memory // (8 * count * samples), 1, samples)))
    first = 0
    while first < samples:
        rest = samples - first
        rows = min(buffer.size // (count * rest), rest)
        panel = buffer[: count * rows * rest].reshape(count, rows, rest)
        for out, gram in zip(panel, grams, strict=True):
            gram.fill(out, first)
        panel[:, :, rows:] *= np.sqrt(2.0)
        flat = panel.reshape(count, -1)
        total += flat @ flat.T
        first += rows
        if progress is not None:
            progress(first)
    return total


def normalized(hsic: Float, traces: Float, names: Sequence[str]) -> Float:
    """CKA from the HSIC of all pairs: HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)).

    Args:
        hsic: (T, T).
        traces: (T,) HSIC(K, K) is nothing beside the square of this: how much the features vary.
        names: what errors call the features.

    Returns:
        (T, T), symmetric, the diagonal exactly 1; nothing is clamped.

    Raises:
        UsageError: features that do not vary, or too little for the unbiased estimate.
    """
    own = hsic.diagonal()
    still = np.flatnonzero(~(own > _NOTHING * traces**2))
    if len(still):
        more = f", and {len(still) - 1} others like it" if len(still) > 1 else ""
        raise UsageError(
            f"The features of {names[still[0]]} are the same for all samples, or for all but one, "
            f"so nothing is similar to them{more}. Leave them out, or take images that differ more."
        )
    found: Float = hsic / np.sqrt(np.outer(own, own))
    np.fill_diagonal(found, 1.0)
    return found


class HsicTable:
    """HSIC of all pairs of T features, averaged over batches; memory does not grow with them.

    The unbiased estimate of a batch is right on average however small the batch is, so that the
    average over batches converges to the value of all samples (minibatch CKA, Nguyen et al. 2021,
    equation 4). The biased one depends on the size of the batches. Batches count by their samples:
    with equal batches this is the plain mean of the paper.
    """

    def __init__(
        self,
        names: Sequence[str],
        unbiased: bool = True,
        gram: GramOf = linear_gram,
        average: Average = "hsic",
        memory: int = MEMORY,
    ) -> None:
        """Begin with no samples.

        Args:
            names: what errors call the features.
            unbiased: HSIC_1 of Song et al. 2012, or the biased estimate.
            gram: the kernel.
            average: "hsic": CKA of averaged HSIC; "cka": the average of the batches' CKA, as
                DeRy's code does it, which is not unbiased.
            memory: bytes of Gram rows that are held at once.
        """
        self._names = tuple(names)
        self._unbiased = unbiased
        self._gram = gram
        self._average = average
        self._memory = memory
        self._hsic = np.zeros((len(names), len(names)))
        self._traces = np.zeros(len(names))
        self.samples = 0

    def add(self, batch: Sequence[Rows], progress: Callable[[int], None] | None = None) -> None:
        """Count one batch in.

        Args:
            batch: the T features (n, channels) of the same n samples.
            progress: called with the number of samples done, of this batch.

        Raises:
            UsageError: another number of features or of samples, or fewer samples than the
                estimate needs (unbiased: 4, biased: 2).
        """
        self._check(batch)
        named = zip(batch, self._names, strict=True)
        grams = [self._gram(x, self._unbiased, name) for x, name in named]
        samples = grams[0].size
        scale = divisor(samples, self._unbiased)
        hsic = inner_products(grams, self._memory, progress) / scale
        traces = np.array([gram.trace for gram in grams]) / np.sqrt(scale)
        if self._average == "cka":
            hsic, traces = normalized(hsic, traces, self._names), np.ones_like(traces)
        self._hsic += samples * hsic
        self._traces += samples * traces
        self.samples += samples

    @property
    def hsic(self) -> Float:
        """(T, T): HSIC of all pairs, averaged over the batches so far."""
        if not self.samples:
            raise UsageError("There is no similarity without samples. Add a batch first.")
        return self._hsic / self.samples

    @property
    def cka(self) -> Float:
        """(T, T): CKA of all pairs over the batches so far, symmetric, 1 on the diagonal.

        Between 0 and 1 if biased, between -1 and 1 if unbiased; nothing is clamped.

        Raises:
            UsageError: no batch yet, or features that do not vary.
        """
        hsic = self.hsic
        return normalized(hsic, self._traces / self.samples, self._names)

    def _check(self, batch: Sequence[Rows]) -> None:
        if len(batch) != len(self._names):
            raise UsageError(
                f"{len(batch)} features for a table of {len(self._names)}: give one for each."
            )
        counts = {x.shape[0] for x in batch}
        if len(counts) > 1:
            raise UsageError(
                f"Features of different numbers of samples ({min(counts)} and {max(counts)}) "
                "cannot be compared: give all of them the same images, in the same order."
            )
