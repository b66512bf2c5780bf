"""Similarity of two representations of the same samples: CKA and linear regression.

After Kornblith et al. 2019, "Similarity of Neural Network Representations Revisited". `x` and `y`
hold what two networks, or two places of one, make of the same n samples: (n, channels) each.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from compiler.gram import (
    Bandwidth,
    Float,
    GramOf,
    least_samples,
    linear_gram,
    rbf_gram,
)
from compiler.hsic import HsicTable, inner_products, normalized
from targets.errors import UsageError

_NAMES = ("x", "y")
_GRAM_SAMPLES = 4096
"""Up to here Gram matrices are cheap; beyond, the products of channels may be cheaper."""


def linear_cka(x: ArrayLike, y: ArrayLike, unbiased: bool = False) -> float:
    """Centred kernel alignment with the linear kernel.

    CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) with K = X X', L = Y Y'. Biased, this is
    |Yc' Xc|^2 / (|Xc' Xc| |Yc' Yc|) with centred columns and Frobenius norms (Kornblith et al.
    2019, section 3.3). Unbiased, HSIC is HSIC_1 of Song et al. 2012: right on average for few
    samples of many channels, where the biased value is near 1 whatever the two are.

    It does not change when either is rotated, mirrored, shifted, or scaled by one number.

    Args:
        x: (n, channels), at least 2 samples (unbiased: 4).
        y: (n, other channels).
        unbiased: the estimator.

    Returns:
        Biased: 0 to 1. Unbiased: -1 to 1, about 0 for unrelated features.

    Raises:
        UsageError: shapes that do not fit, too few samples, numbers that are not finite, features
            that are the same for all samples (unbiased: for all but one).
    """
    a, b = _pair(x, y, least_samples(unbiased))
    n, p, q = len(a), a.shape[1], b.shape[1]
    if n > _GRAM_SAMPLES and p * p + p * q + q * q < n * (p + q):
        return _cka_of_channels(a - a.mean(0), b - b.mean(0), unbiased)
    return _cka(a, b, linear_gram, unbiased)


def rbf_cka(
    x: ArrayLike,
    y: ArrayLike,
    scale: float = 1.0,
    bandwidth: Bandwidth = "median",
    unbiased: bool = False,
) -> float:
    """Centred kernel alignment with the Gaussian kernel, K_ij = exp(-|x_i - x_j|^2 / 2 sigma^2).

    Kornblith et al. 2019, section 3.3, where sigma is a share (`scale`) of the median distance
    between samples. Memory is a few times 8 n^2 bytes.

    Args:
        x: (n, channels), at least 2 samples (unbiased: 4).
        y: (n, other channels).
        scale: sigma as a multiple of the bandwidth.
        bandwidth: "median": the root of the median of squared distances over the n (n - 1) / 2
            pairs; "dery": as DeRy's code has it, the lower median over all n^2 entries of the
            matrix, zeros of the diagonal included: a little less; a number, of both features.
        unbiased: the estimator, as in `linear_cka`.

    Returns:
        Biased: 0 to 1. Unbiased: -1 to 1.

    Raises:
        UsageError: as `linear_cka`; a bandwidth or scale that is not positive; a median of 0.
    """
    a, b = _pair(x, y, least_samples(unbiased), scaled=isinstance(bandwidth, str))
    return _cka(a, b, rbf_gram_of(bandwidth, scale), unbiased)


def rbf_gram_of(bandwidth: Bandwidth = "median", scale: float = 1.0) -> GramOf:
    """The Gaussian kernel of this bandwidth, for `HsicTable` and `MinibatchCKA`.

    The medians are those of each batch, as in DeRy's code.
    """
    return lambda x, unbiased, name: rbf_gram(x, unbiased, name, bandwidth, scale)


def linear_regression(x: ArrayLike, y: ArrayLike) -> float:
    """Share of the variance of `x` that the best linear map of `y`, with a constant, explains.

    R^2 = |Q' Xc|^2 / |Xc|^2, where the columns of Xc and Yc are centred and Q is an orthonormal
    basis of the columns of Yc (Kornblith et al. 2019, section 3.2, in whose order the arguments
    stand: y explains x). It is not symmetric: `linear_regression(y, x)` asks the other way. It
    does not change under invertible linear maps of y, nor under rotation or scaling of x.

    DeRy's code leaves the centring out, so that a common mean counts as explained, takes Q from a
    plain QR decomposition, which adds arbitrary directions where columns of y depend on each other,
    and then uses the value as if it were symmetric.

    With no more samples than y has independent channels plus one, everything is explained and the
    answer is 1 whatever x is: take many more samples than channels.

    Args:
        x: (n, channels), at least 2 samples: what is explained.
        y: (n, other channels): what explains it.

    Returns:
        0 to 1.

    Raises:
        UsageError: as `linear_cka`.
    """
    explained, by = (part - part.mean(0) for part in _pair(x, y, 2))
    basis, lengths, _ = np.linalg.svd(by, full_matrices=False)
    tolerance = lengths[0] * max(by.shape) * np.finfo(np.float64).eps
    shadow = basis[:, lengths > tolerance].T @ explained
    return float((shadow**2).sum() / (explained**2).sum())


class MinibatchCKA:
    """CKA of two representations, streamed: memory does not grow with the number of samples.

    With the unbiased estimator the value converges to that of all samples at once, whatever the
    batches (Nguyen et al. 2021, "Do Wide and Deep Networks Learn the Same Things?", equation 4).
    """

    def __init__(self, unbiased: bool = True, gram: GramOf = linear_gram) -> None:
        """Begin with no samples; `gram` is the kernel, linear or from `rbf_gram_of`."""
        self._table = HsicTable(_NAMES, unbiased, gram)

    def add(self, x: ArrayLike, y: ArrayLike) -> None:
        """Count in a batch: (n, channels) and (n, other channels), 4 samples at least (biased: 2).

        Raises:
            UsageError: shapes that do not fit, too few samples, numbers that are not finite.
        """
        self._table.add([np.asarray(x, np.float64), np.asarray(y, np.float64)])

    @property
    def value(self) -> float:
        """CKA over the batches so far; raises UsageError where there are none."""
        return float(self._table.cka[0, 1])


def _pair(x: ArrayLike, y: ArrayLike, least: int, scaled: bool = True) -> tuple[Float, Float]:
    """Both checked, float64, about their first sample and, if `scaled`, at most 1 in size."""
    a, b = (_checked(part, name, scaled) for part, name in zip((x, y), _NAMES, strict=True))
    if len(a) != len(b):
        raise UsageError(
            f"x has {len(a)} samples and y has {len(b)}: give both the same samples, in the same "
            "order."
        )
    if len(a) < least:
        raise UsageError(f"{len(a)} samples are too few: this estimate needs at least {least}.")
    return a, b


def _checked(x: ArrayLike, name: str, scaled: bool) -> Float:
    given: NDArray[Any] = np.asarray(x)
    if given.ndim != 2 or not given.size or given.dtype.kind not in "fiu":
        raise UsageError(
            f"{name} has the shape {given.shape} and the type {given.dtype}; it must be a matrix "
            "of real numbers (samples, channels). Pool or flatten the features first."
        )
    features: Float = given.astype(np.float64)
    if not np.isfinite(features).all():
        raise UsageError(
            f"{name} has {int((~np.isfinite(features)).sum())} entries that are not finite. "
            "Leave their samples or channels out."
        )
    apart: Float = features - features[0]
    largest = float(np.abs(apart).max())
    if largest == 0:
        raise UsageError(
            f"All {len(features)} samples of {name} are the same, so nothing is similar to it. "
            "Take samples that differ."
        )
    return apart / largest if scaled else apart


def _cka(x: Float, y: Float, gram: GramOf, unbiased: bool) -> float:
    grams = [gram(part, unbiased, name) for part, name in zip((x, y), _NAMES, strict=True)]
    traces = np.array([matrix.trace for matrix in grams])
    return float(normalized(inner_products(grams), traces, _NAMES)[0, 1])


def _cka_of_channels(x: Float, y: Float, unbiased: bool) -> float:
    """The same from products of centred channels: no matrix of all pairs of samples is needed."""
    parts, table = (x, y), np.empty((2, 2))
    squares = [np.einsum("ij,ij->i", part, part) for part in parts]
    for i, j in ((0, 0), (0, 1), (1, 1)):
        table[i, j] = table[j, i] = _channel_product(parts[i], parts[j])
        if unbiased:
            table[i, j] = table[j, i] = table[i, j] - _diagonal_part(squares[i], squares[j])
    return float(normalized(table, np.array([part.sum() for part in squares]), _NAMES)[0, 1])


def _channel_product(x: Float, y: Float) -> float:
    return float((np.square(x.T @ y)).sum())


def _diagonal_part(p: Float, q: Float) -> float:
    """What the diagonals, of squared lengths p and q, add to <K, L> beyond n (n - 3) HSIC_1.

    The features are centred: rows of K without its diagonal sum to -p.
    """
    n = len(p)
    along = float(p @ q)
    return along * (1 + 2 / (n - 2)) - float(p.sum() * q.sum()) / ((n - 1) * (n - 2))
