"""Linear regression between all pairs of many features, streamed over batches of samples.

The value of a pair is that of `compiler.similarity.linear_regression`. A thin QR decomposition of
the explaining features is updated batch by batch, which keeps the full precision that products of
channels would lose; memory does not grow with the number of samples.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy.linalg import qr

from compiler.gram import Float, Rows
from targets.errors import UsageError

BATCH = 2048
TOLERANCE = 1e-5
"""Directions shorter than this share of the longest are taken for rounding of float32 features."""
_MEMORY = 256 * 2**20


def regression_table(
    features: Sequence[Rows],
    names: Sequence[str],
    tolerance: float = TOLERANCE,
    batch: int = BATCH,
    progress: Callable[[int], None] | None = None,
) -> Float:
    """Share of the variance of features i that the best linear map of features j explains.

    Args:
        features: T of (n, channels), n more than the most channels and one.
        names: what errors call them.
        tolerance: directions of features j that are shorter than this share of the longest one
            explain nothing.
        batch: samples that are read at once.
        progress: called with the number of explaining features that are done.

    Returns:
        (T, T), 0 to 1, row i and column j; not symmetric, the diagonal exactly 1.

    Raises:
        UsageError: features that do not vary, or too few samples: see `check_samples`.
    """
    check_samples(features[0].shape[0], [x.shape[1] for x in features], names)
    parts = [_Centred(x, batch) for x in features]
    for part, name in zip(parts, names, strict=True):
        if not 0 < part.variance < np.inf:
            raise UsageError(
                f"The features of {name} are the same for all samples, or not finite, so nothing "
                "explains them. Leave them out, or take images that differ."
            )
    table = np.empty((len(parts), len(parts)))
    for j, by in enumerate(parts):
        table[:, j] = _explained(parts, by, _whitening(by, tolerance))
        if progress is not None:
            progress(j + 1)
    np.fill_diagonal(table, 1.0)
    return table


def check_samples(samples: int, channels: Sequence[int], names: Sequence[str]) -> None:
    """Refuse too few samples: with as many channels as samples, everything explains everything.

    Raises:
        UsageError: `samples` is not more than the most channels and one.
    """
    widest = int(np.argmax(channels))
    if samples <= channels[widest] + 1:
        raise UsageError(
            f"Linear regression on {samples} images explains everything by the {channels[widest]} "
            f"channels of {names[widest]}. Give more than {channels[widest] + 1} images, better "
            "several times as many, or use linear_cka, which is unbiased for few images."
        )


class _Centred:
    """Features about their mean, read batch by batch; one that never varies is exactly zero."""

    def __init__(self, x: Rows, batch: int) -> None:
        self.samples, self.channels = x.shape
        self._x = x
        self._batch = batch
        self._origin = np.asarray(x[0:1], dtype=np.float64)[0]
        self._mean = np.zeros(self.channels)
        self._mean = sum(rows.sum(0) for rows in self) / self.samples
        self.variance = float(sum((rows**2).sum() for rows in self))

    def __iter__(self) -> Iterator[Float]:
        for start in range(0, self.samples, self._batch):
            rows = np.asarray(self._x[start : start + self._batch], dtype=np.float64)
            yield rows - self._origin - self._mean


def _whitening(y: _Centred, tolerance: float) -> Float:
    """(channels, rank) W so that Y W is an orthonormal basis of the columns of Y."""
    triangle: Float = np.empty((0, y.channels))
    for rows in y:
        (upper,) = qr(np.vstack([triangle, rows]), mode="r")
        triangle = upper[: y.channels]
    _, lengths, directions = np.linalg.svd(triangle, full_matrices=False)
    kept = lengths > tolerance * lengths[0]
    whitening: Float = directions[kept].T / lengths[kept]
    return whitening


def _explained(parts: Sequence[_Centred], by: _Centred, whitening: Float) -> list[float]:
    """Share of every part's variance that the basis `by` W explains."""
    found: list[float] = []
    for group in _groups(parts, whitening.shape[1]):
        shadows = [np.zeros((whitening.shape[1], part.channels)) for part in group]
        for rows, *others in zip(by, *group, strict=True):
            basis = rows @ whitening
            for shadow, other in zip(shadows, others, strict=True):
                shadow += basis.T @ other
        found += [
            float((shadow**2).sum() / part.variance)
            for shadow, part in zip(shadows, group, strict=True)
        ]
    return found


def _groups(parts: Sequence[_Centred], rank: int) -> Iterator[list[_Centred]]:
    """Neighbouring parts whose products with a basis of this rank fit into memory together."""
    group: list[_Centred] = []
    size = 0
    for part in parts:
        if group and size + 8 * rank * part.channels > _MEMORY:
            yield group
            group, size = [], 0
        group.append(part)
        size += 8 * rank * part.channels
    yield group
