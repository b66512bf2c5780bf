"""What a profiling run and its child process say to each other: a job in, readings out."""

from dataclasses import dataclass

from pydantic import TypeAdapter

from profilers.protocol import Protocol

READY = "ready"
"""The first line of a child that has started and understood its job."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One model to measure: its key and its two files in the job's folder."""

    key: str
    model: str
    inputs: str


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that a child measures in one round, in this order."""

    folder: str
    target: str
    protocol: Protocol
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of one entry: samples in seconds per inference, or an error."""

    key: str
    samples: tuple[float, ...] = ()
    load_seconds: float = 0.0
    capped: bool = False
    error: str | None = None


JOB = TypeAdapter(Job)
READING = TypeAdapter(Reading)
