"""Manifest: the precision that a network was asked for in, beside the one that it runs in."""

from pydantic.dataclasses import dataclass

from compiler.int8_proof import PieceProof


@dataclass(frozen=True, slots=True)
class Precision:
    """What a network with int8 parts is in, and what that costs it.

    Attributes:
        pieces: of all segments, in order.
        cosine: least cosine of its logits to those in float, on the choosing photographs.
        drop: score that int8 costs it there, as a share.
        max_drop: the most that it might cost.
        held_out_drop: what it costs on held-out photographs.
    """

    pieces: tuple[PieceProof, ...]
    cosine: float
    drop: float
    max_drop: float
    held_out_drop: float
