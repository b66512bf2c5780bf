"""Versions of TensorRT that compute wrong answers or do not work: refused, with the reason."""

import os
from dataclasses import dataclass

ANYWAY = "DERYCC_TRT_ANYWAY"
"""Set to 1, versions that are refused are used."""


@dataclass(frozen=True, slots=True)
class _Fault:
    """A range of versions that must not be used: from `first` to below `fixed`."""

    first: tuple[int, ...]
    fixed: tuple[int, ...]
    reason: str


_FAULTS = (
    _Fault((10, 2, 0), (10, 3, 0), "engines of convolutional detectors answer wrongly"),
    _Fault((11, 1, 0), (11, 2, 0), "GridSample in fp32 answers wrongly (TensorRT issue 4813)"),
    _Fault((11, 2, 0), (11, 3, 0), "its compiler was reported to miscompile fused operators"),
)


def known_fault(version: str) -> str:
    """Why a version is not used, and how to use it all the same; empty where nothing is known.

    TensorRT-RTX, which counts anew from 1, is none of these.
    """
    numbers = tuple(int(part) for part in version.split(".") if part.isdigit())
    if os.environ.get(ANYWAY) == "1":
        return ""
    for fault in _FAULTS:
        if fault.first <= numbers < fault.fixed:
            fixed = ".".join(map(str, fault.fixed))
            return f"{fault.reason}. Use {fixed} or newer, or set {ANYWAY}=1 and verify"
    return ""
