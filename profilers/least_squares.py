"""Least squares without negative coefficients, for columns of very different sizes."""

import numpy as np
from scipy.optimize import nnls

Vector = np.ndarray[tuple[int], np.dtype[np.float64]]
Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]


def non_negative(rows: Matrix, wanted: Vector) -> Vector:
    """Coefficients, none negative, with which the rows come closest to what is wanted.

    Args:
        rows: (n, p); columns are scaled by their largest entry, so that units do not matter.
        wanted: (n,).
    """
    scale = np.maximum(np.abs(rows).max(axis=0), np.finfo(float).tiny)
    found, _ = nnls(rows / scale, wanted)
    return np.asarray(found / scale)
