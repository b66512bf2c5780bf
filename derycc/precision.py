"""Precision: what a user may ask networks to be in, and the target that can run it."""

from collections.abc import Sequence
from dataclasses import replace

from compiler.precisions import FLOAT, INT8
from targets.errors import UnknownNameError, UsageError
from targets.target import Target

AUTO = "auto"
ASKED = (AUTO, FLOAT, INT8)
"""What `--precision` takes; others that targets know are refused by what they lack."""

_HALF = ("fp16", "bf16")
_RUNS_INT8 = "ort"


def check_precision(asked: str) -> None:
    """Refuse what no target here runs.

    Raises:
        UsageError: it is a 16-bit precision.
        UnknownNameError: it is none.
    """
    if asked in _HALF:
        raise UsageError(
            f"--precision {asked} needs a target that runs {asked}, and ONNX Runtime on a "
            f"processor computes it in fp32. Choose {', '.join(ASKED)}; a CUDA target says it "
            "itself: --target cuda:precisions=fp16."
        )
    if asked not in ASKED:
        raise UnknownNameError("precision", asked, ASKED)


def check_mode(mode: str, score: str | None, given: Sequence[str]) -> None:
    """Refuse what chooses the precision of single blocks where networks are chosen otherwise.

    Args:
        mode: of the build.
        score: that networks are chosen by; None: expected quality.
        given: the options on precision that were given.

    Raises:
        UsageError: there are any, in DeRy mode or with another score.
    """
    if score not in (None, "quality") and given:
        raise UsageError(
            f"{' and '.join(given)} weighs what int8 costs in quality, and --score {score} chooses "
            "by something else. Leave one of the two out."
        )
    if mode == "dery" and given:
        raise UsageError(
            f"{' and '.join(given)} chooses the precision of single blocks, and --mode dery takes "
            "whole stages, in fp32. Leave one of the two out."
        )


def with_precision(target: Target, asked: str, also: Sequence[str] = ()) -> Target:
    """The target with what a precision needs: its int8 blocks are measured, too.

    Raises:
        UsageError, UnknownNameError: the target does not run it, or networks are to be in int8 on
            several targets.
    """
    check_precision(asked)
    if asked == FLOAT:
        return target
    if target.backend != _RUNS_INT8:
        raise UsageError(
            f"--precision {asked} needs a target that runs int8; {target} runs its networks by "
            f"'{target.backend}'. Use --precision fp32, or a target of ONNX Runtime."
        )
    if also:
        raise UsageError(
            f"--precision {asked} is chosen by what blocks take on one target, and --also names "
            "others. Leave one of the two out."
        )
    if INT8 in target.precisions:
        return target
    return replace(target, precisions=(*target.precisions, INT8))
