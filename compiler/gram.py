"""Gram: centred Gram matrices of features, made a few rows at a time.

HSIC, and with it CKA, is the inner product of two centred Gram matrices. Both centrings add a
number to every row and to every column, so a matrix is never needed whole:

- biased: K' = H K H with H = I - 11'/n; HSIC = <K', L'> / (n - 1)^2 (Gretton et al. 2005).
- unbiased: with the diagonal of K set to zero, off the diagonal
  K'_ij = K_ij - r_i / (n - 2) - r_j / (n - 2) + s / ((n - 1)(n - 2)), where r are the sums of rows
  and s is the sum of all, and on it 0; HSIC = <K', L'> / (n (n - 3)). This is HSIC_1 of Song et
  al. 2012, equation 4, written as an inner product (U-centring, Szekely and Rizzo 2014).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from targets.errors import UsageError

Float = NDArray[np.float64]
Bandwidth = float | Literal["median", "dery"]


class Rows(Protocol):
    """Features (n, channels): an array, or something on disk that reads rows when sliced."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Samples and channels."""
        ...

    def __getitem__(self, rows: slice, /) -> Any:
        """These rows as an array."""
        ...


@dataclass(frozen=True, slots=True)
class CentredGram:
    """The centred Gram matrix of n samples, symmetric, made on demand.

    Attributes:
        size: n.
        unbiased: which centring.
        trace: of H K H: how much the features vary.
        shift: (n,) what is added to row i and to column i; None where nothing is.
        kernel: called with `out` (rows, n - first) and `first`, writes that part of K into `out`.
    """

    size: int
    unbiased: bool
    trace: float
    shift: Float | None
    kernel: Callable[[Float, int], None]

    def fill(self, out: Float, first: int) -> None:
        """Write rows from `first` on, columns from `first` on, into `out` (rows, n - first)."""
        self.kernel(out, first)
        rows = len(out)
        if self.shift is not None:
            out += self.shift[first : first + rows, None]
            out += self.shift[first:]
        if self.unbiased:
            out[np.arange(rows), np.arange(rows)] = 0.0


GramOf = Callable[[Rows, bool, str], CentredGram]
"""Makes a Gram matrix of features, unbiased or not; the text names the features in errors."""


def least_samples(unbiased: bool) -> int:
    """How many samples an estimate needs."""
    return 4 if unbiased else 2


def divisor(samples: int, unbiased: bool) -> int:
    """What an inner product of centred Gram matrices is divided by to be an HSIC."""
    return samples * (samples - 3) if unbiased else (samples - 1) ** 2


def linear_gram(x: Rows, unbiased: bool = False, name: str = "x") -> CentredGram:
    """The Gram matrix of the linear kernel, K_ij = x_i . x_j.

    The features are centred first. No centring of the matrix is left to do then, but for the
    diagonal of the unbiased one: its rows sum to -K_ii.

    Args:
        x: (n, channels); read again for every few rows, so that it may lie on disk.
        unbiased: which centring.
        name: what errors call the features.

    Raises:
        UsageError: fewer than 2 samples (unbiased: 4), or numbers that are not finite.
    """
    centre, squares = _centre(x, unbiased, name)
    samples, total = len(squares), float(squares.sum())

    def kernel(out: Float, first: int) -> None:
        rows = centre.rows(first)
        np.matmul(rows[: len(out)], rows.T, out=out)

    shift = _u_shift(-squares) if unbiased else None
    return CentredGram(samples, unbiased, total, shift, kernel)


def rbf_gram(
    x: Rows,
    unbiased: bool = False,
    name: str = "x",
    bandwidth: Bandwidth = "median",
    scale: float = 1.0,
) -> CentredGram:
    """The Gram matrix of the Gaussian kernel, K_ij = exp(-|x_i - x_j|^2 / (2 sigma^2)).

    Args:
        x: (n, channels).
        unbiased: which centring.
        name: what errors call the features.
        bandwidth: "median": sigma^2 = scale^2 times the median of |x_i - x_j|^2 over all pairs of
            different samples; "dery": over all n^2 entries, the n zeros of the diagonal among
            them, and the lower of the two in the middle, as DeRy's code does; a number: sigma is
            `scale` times it.
        scale: factor of the bandwidth.

    Raises:
        UsageError: fewer than 2 samples (unbiased: 4), numbers that are not finite, a bandwidth
            or scale that is not positive, or samples so alike that their median distance is 0.
    """
    centre, squares = _centre(x, unbiased, name)
    distances = np.empty((len(squares), len(squares)))
    _distances(distances, centre.rows(0), squares)
    sigma2 = _sigma2(distances, bandwidth, scale, name)
    whole = np.exp(distances / (-2 * sigma2))
    del distances

    def kernel(out: Float, first: int) -> None:
        _distances(out, centre.rows(first), squares[first:])
        out /= -2 * sigma2
        np.exp(out, out=out)

    samples, mean = len(whole), float(whole.mean())
    means = whole.mean(1)
    shift = _u_shift(means * samples - 1) if unbiased else mean / 2 - means
    return CentredGram(samples, unbiased, samples * (1 - mean), shift, kernel)


@dataclass(frozen=True, slots=True)
class _Centre:
    """Features about their mean, in two steps: what never varies becomes exactly zero."""

    x: Rows
    origin: Float
    mean: Float

    def rows(self, first: int) -> Float:
        """Centred rows from `first` on, float64."""
        rows = self.x[first : self.x.shape[0]]
        found: Float = np.subtract(rows, self.origin, dtype=np.float64)
        found -= self.mean
        return found


def _centre(x: Rows, unbiased: bool, name: str) -> tuple[_Centre, Float]:
    """How to centre features, and the squared length of every centred row."""
    least, kind = least_samples(unbiased), "unbiased" if unbiased else "biased"
    if len(x.shape) != 2 or x.shape[0] < least or x.shape[1] < 1:
        raise UsageError(
            f"The features of {name} have the shape {tuple(x.shape)}. The {kind} estimate needs "
            f"(samples, channels) with at least {least} samples: give it more images."
        )
    origin = np.asarray(x[0:1], dtype=np.float64)[0]
    centre = _Centre(x, origin, np.zeros_like(origin))
    with np.errstate(invalid="ignore", over="ignore"):
        centre = _Centre(x, origin, centre.rows(0).mean(0))
        rows = centre.rows(0)
        squares: Float = np.einsum("ij,ij->i", rows, rows)
    if not np.isfinite(squares).all():
        raise UsageError(
            f"The features of {name} hold numbers that are not finite, or too large to square. "
            "Leave them out, or scale them down."
        )
    return centre, squares


def _u_shift(sums: Float) -> Float:
    """What U-centring adds to row and column i, from the sums of rows without the diagonal."""
    samples = len(sums)
    shift: Float = sums.sum() / (2 * (samples - 1) * (samples - 2)) - sums / (samples - 2)
    return shift


def _distances(out: Float, rows: Float, squares: Float) -> None:
    """Squared distances of the first rows of `rows` to all of them."""
    count = len(out)
    np.matmul(rows[:count], rows.T, out=out)
    out *= -2
    out += squares[:count, None]
    out += squares
    np.maximum(out, 0, out=out)  # rounding alone makes them negative
    out[np.arange(count), np.arange(count)] = 0.0


def _sigma2(distances: Float, bandwidth: Bandwidth, scale: float, name: str) -> float:
    width = bandwidth if not isinstance(bandwidth, str) else 1.0
    if not (0 < width < np.inf and 0 < scale < np.inf):
        raise UsageError(
            f"A bandwidth of {bandwidth} at scale {scale}: use 'median', 'dery' or a positive "
            "number, and a positive scale."
        )
    if not isinstance(bandwidth, str):
        return float(scale * width) ** 2
    found = scale**2 * _median(distances, bandwidth)
    if not found > 0:
        raise UsageError(
            f"So many samples of {name} are alike that their median distance is 0. Take images "
            "that differ, or give the bandwidth as a number."
        )
    return found


def _median(distances: Float, which: str) -> float:
    """The median of squared distances (n, n): of pairs i < j, or of all entries as DeRy does."""
    if which == "dery":
        middle = (distances.size - 1) // 2
        return float(np.partition(distances, middle, axis=None)[middle])
    if which != "median":
        raise UsageError(f"Bandwidth {which!r} is not known. Use 'median', 'dery' or a number.")
    samples = len(distances)
    pairs = samples * (samples - 1) // 2
    # Sorted, the diagonal's zeros come first, then every pair twice.
    low, high = (samples + 2 * (k // 2) for k in (pairs - 1, pairs))
    found = np.partition(distances, (low, high), axis=None)
    return float(found[low] + found[high]) / 2
