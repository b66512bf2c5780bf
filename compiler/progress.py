"""Progress: how long work tells whoever watches. The command line draws it; tests ignore it."""

from typing import Protocol


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
