"""Also: budgets on other targets than the one that is built for, as the user wrote them."""

from collections.abc import Sequence
from dataclasses import dataclass

from targets.budget import parse_latency_on


@dataclass(frozen=True, slots=True)
class Also:
    """A latency that the network is to keep on another target, too.

    Attributes:
        latency: as `--latency` takes it; a share counts from the donor on that target.
        target: as `--target` takes it.
    """

    latency: str
    target: str

    def __str__(self) -> str:
        """As `--also` takes it."""
        return f"{self.latency} on {self.target}"


def parse_also(texts: Sequence[str] | None) -> tuple[Also, ...]:
    """What `--also` says, each time it is given.

    Raises:
        UsageError: a text is no latency on a target.
    """
    return tuple(Also(*parse_latency_on(text)) for text in texts or ())
