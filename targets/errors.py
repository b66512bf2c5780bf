"""The errors of derycc: one tree, each class with the exit code of the command line.

    DeryccError                     never raised itself
    ├── UsageError              2   bad text, unknown names, files of the user that cannot be used
    │   ├── UnknownNameError        a name that is in no table, with the nearest names
    │   ├── UndecidedError          the solver's time was up: nothing found, nothing excluded
    │   └── WorkspaceError          a workspace folder or cost store that cannot be used
    ├── InfeasibleError         3   no network fits the budget
    ├── BudgetMissedError       4   the measured engine is slower than the budget
    ├── StaleCostsError         4   what the cost store says is not what is measured now
    ├── VerificationError       5   the engine does not compute what the network computes
    ├── TargetUnavailableError  6   the device or its runtime is absent, unreachable or busy
    ├── ZooError                7   weights or models cannot be used
    ├── DataError               7   images or labels cannot be used
    └── Interrupted           130   stopped by the user; what was measured is kept

A message says what was asked, what there is, and what to do next, in one paragraph.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar


class DeryccError(Exception):
    """Base of every error that derycc raises on purpose; anything else is a bug."""

    exit_code: ClassVar[int] = 1


class UsageError(DeryccError):
    """What was asked for cannot be read, or names something that cannot be used."""

    exit_code: ClassVar[int] = 2


class UnknownNameError(UsageError):
    """A name that is in no table; the message suggests the nearest names."""

    def __init__(self, what: str, asked: str, known: Iterable[str]) -> None:
        """Builds the message.

        Args:
            what: The kind of thing that was asked for, such as `target`.
            asked: The name as it was given.
            known: Every name that would have been accepted.
        """
        self.what = what
        self.asked = asked
        self.known = tuple(sorted(known))
        super().__init__(self._message())

    def __reduce__(self) -> tuple[type["UnknownNameError"], tuple[str, str, tuple[str, ...]]]:
        """Pickles by the three arguments, so that the error survives a process boundary."""
        return type(self), (self.what, self.asked, self.known)

    def _message(self) -> str:
        near = get_close_matches(self.asked, self.known, n=3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
        known = ", ".join(self.known) if self.known else "none"
        return f"Unknown {self.what} {self.asked!r}.{hint} Known: {known}."


class UndecidedError(UsageError):
    """The solver had too little time: it found no network, and no proof that there is none."""


class WorkspaceError(UsageError):
    """A workspace folder or cost store is read-only, damaged or of a newer version."""


class InfeasibleError(DeryccError):
    """No network fits the budget; the message says what the fastest one costs."""

    exit_code: ClassVar[int] = 3


class BudgetMissedError(DeryccError):
    """The measured engine does not meet the budget."""

    exit_code: ClassVar[int] = 4


class StaleCostsError(DeryccError):
    """Models of the cost store take another time now than it says, or that cannot be told."""

    exit_code: ClassVar[int] = 4


class VerificationError(DeryccError):
    """The engine does not compute what the network computes."""

    exit_code: ClassVar[int] = 5


class TargetUnavailableError(DeryccError):
    """The device, or the runtime that drives it, is absent, unreachable or busy."""

    exit_code: ClassVar[int] = 6


class ZooError(DeryccError):
    """Weights or models of the zoo cannot be used."""

    exit_code: ClassVar[int] = 7


class DataError(DeryccError):
    """Images or labels cannot be used."""

    exit_code: ClassVar[int] = 7


class Interrupted(DeryccError):
    """The user stopped the command; everything that was measured is kept."""

    exit_code: ClassVar[int] = 130


REFUSALS = (InfeasibleError, UndecidedError, BudgetMissedError, VerificationError)
"""What a build ends with where one limit has no answer; those of other limits may have one."""
