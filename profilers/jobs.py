"""What a profiling run and its child process say to each other: a job in, readings out."""

from dataclasses import dataclass

from pydantic import TypeAdapter

from profilers.protocol import Protocol
from targets.target import Target

READY = "ready"
"""The first line of a child that has started and understood its job."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One model to measure: its key and its two files in the job's folder.

    Attributes:
        key: What the reading is told by.
        model: The file of the model.
        inputs: The file of its inputs.
        runtime: What runs it in a contest of runtimes; empty: the target's backend.
    """

    key: str
    model: str
    inputs: str
    runtime: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that a child measures in one round, in this order.

    The target is here with all its settings: what its name means may change meanwhile.
    """

    folder: str
    target: Target
    protocol: Protocol
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of one entry in one round, or an error.

    Attributes:
        key: The entry's.
        samples: Seconds per inference of each timed unit.
        load_seconds: Seconds that loading took.
        capped: Whether the time ran out before the interval was narrow enough.
        error: Why there are no samples.
        peak_bytes: Memory that loading and running took; None where the system does not tell.
        joules: Energy of one inference; None where the machine has no meter.
        contention: As `profilers.contention.Load.contention`; None where it is not known.
    """

    key: str
    samples: tuple[float, ...] = ()
    load_seconds: float = 0.0
    capped: bool = False
    error: str | None = None
    peak_bytes: int | None = None
    joules: float | None = None
    contention: float | None = None


JOB = TypeAdapter(Job)
READING = TypeAdapter(Reading)
