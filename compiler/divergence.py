"""`Divergence`: where an engine begins to differ from its torch network; see `localization`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where an engine first differs from its torch network, on the image where it is worst.

    Attributes:
        part: "segment 2", "stitch 1", "stem" or "head".
        what: the part in words, such as a segment's donor and cuts.
        module: the module inside, in the donor's naming; empty: the part as a whole.
        error: relative error of what comes out there; None: it is no number.
        agrees: the last place before that agrees; empty: none does.
        unseen: parts between the two of which no tensor could be compared: they were folded.
        compared: how many tensors were.
        vanishes: whether the difference is gone where tensors inside are read out: then an
            optimization of the runtime across operators makes it, and no place is named.
    """

    part: str = ""
    what: str = ""
    module: str = ""
    error: float | None = None
    agrees: str = ""
    unseen: tuple[str, ...] = ()
    compared: int = 0
    vanishes: bool = False

    def __str__(self) -> str:
        """In a sentence."""
        if self.vanishes:
            return (
                "The difference vanishes when tensors inside are read out: an optimization of the "
                "runtime makes it, across operators."
            )
        inside = f", at {self.module}" if self.module else ""
        folded = f" (or in {' and '.join(self.unseen)}, folded into it)" if self.unseen else ""
        error = "no number" if self.error is None else f"a relative error of {self.error:.2g}"
        before = f"up to {self.agrees} it agrees" if self.agrees else "nothing before agrees"
        return (
            f"It first differs in {self.part}{folded}: {self.what}{inside}, by {error}; {before} "
            f"({self.compared} tensors inside were compared)."
        )
