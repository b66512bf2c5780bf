"""Progress: how long work tells whoever watches. The command line draws it; tests ignore it."""

from collections.abc import Callable
from itertools import count
from typing import Protocol, TypeVar

Thing = TypeVar("Thing")


class Progress(Protocol):
    """Receives the state of one phase of work at a time."""

    def start(self, phase: str, total: int | None) -> None:
        """A phase begins; `total` steps, or None where that is not known."""

    def update(self, done: int, note: str = "", total: int | None = None) -> None:
        """`done` steps are finished; `note` says what is in hand, `total` how many there are."""

    def finish(self, summary: str = "") -> None:
        """The phase is over; `summary` is worth keeping on the screen."""


class Silent:
    """Says nothing."""

    def start(self, phase: str, total: int | None) -> None:
        """Ignore."""

    def update(self, done: int, note: str = "", total: int | None = None) -> None:
        """Ignore."""

    def finish(self, summary: str = "") -> None:
        """Ignore."""


def counter(progress: Progress, done: int, more: int) -> Callable[[Thing], Thing]:
    """Says of each thing that passes that it is in hand, and hands it on.

    Args:
        progress: in a phase.
        done: steps of the phase that are finished already.
        more: steps that come; each thing is one.
    """
    steps = count(done)

    def pass_on(thing: Thing) -> Thing:
        progress.update(next(steps), str(thing), done + more)
        return thing

    return pass_on
