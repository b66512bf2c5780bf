"""Int8 gate: what an engine with int8 parts must keep, on photographs that took no part."""

from dataclasses import replace

from compiler.judged import INT8_COSINE_GATE, Int8Judged
from compiler.network import Blueprint
from compiler.precisions import FLOAT, INT8
from compiler.verification import Verification
from compiler.workbench import Workbench
from targets.errors import VerificationError


def verified_int8(
    verification: Verification, blueprint: Blueprint, bench: Workbench
) -> Verification:
    """The verification by the gates of int8: a cosine, and the score lost on held-out photographs.

    Raises:
        VerificationError: the engine does not pass them.
    """
    mixed, in_float = (
        bench.candidates.quality(design).held_out for design in (blueprint, blueprint.in_float)
    )
    drop = in_float.score - mixed.score
    most = bench.settings.max_drop
    found = replace(verification, gate=INT8_COSINE_GATE, precision=INT8, drop=drop, max_drop=most)
    faults = Int8Judged(found.cosine, drop, most).faults
    if faults or not found.passed:
        said = "; ".join(faults) or "a second run gave another answer"
        raise VerificationError(
            f"The network does not keep what int8 may cost it on {bench.target}: on "
            f"{found.images} photographs that took no part in any choice, {said}. Allow more by "
            "--max-drop, use --precision fp32, or give more photographs (--data)."
        )
    return found


def int8_plan(bench: Workbench) -> list[str]:
    """What would be judged in int8, in words; measures nothing."""
    asked = bench.settings.precision
    if asked == FLOAT:
        return []
    if bench.has_photographs and not bench.profile.plan(bench.wanted).to_measure:
        count = len(bench.int8.missing(asked == INT8))
        return [f"Would judge {count} blocks in int8 on photographs; others are known."]
    faster = "" if asked == INT8 else " that are faster there"
    return [f"Would judge all blocks{faster} in int8 on photographs."]
