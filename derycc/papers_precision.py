"""Papers: what a manifest says of the precision that a network runs in."""

from compiler.candidates import Candidate
from compiler.design import has_int8
from compiler.int8_offers import Int8Offers
from compiler.int8_proof import prove
from compiler.verification import Verification
from compiler.workbench import Workbench
from derycc.manifest_precision import Precision


def precision_of(
    candidate: Candidate, verification: Verification, bench: Workbench
) -> Precision | None:
    """Asked and proven, piece by piece; None of a network all of which is in fp32."""
    design, judged = candidate.design, candidate.judged
    if not has_int8(design) or judged.int8 is None:
        return None
    assert verification.drop is not None, "an int8 engine's drop is verified"
    return Precision(
        pieces=prove(candidate.model, design, bench.target),
        cosine=judged.int8.cosine,
        drop=judged.int8.drop,
        max_drop=judged.int8.max_drop,
        held_out_drop=verification.drop,
    )


def offers_line(offers: Int8Offers | None) -> str | None:
    """What could be put in int8, and what was measured to be slower there; None: nothing was."""
    if offers is None:
        return None
    found = f"{len(offers.blocks)} of {offers.considered} blocks were offered in int8"
    if not offers.slower:
        return f"{found}."
    return f"{found}; int8 was measured slower for {offers.slower} of them, which stay in fp32."
