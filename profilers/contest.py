"""`contest`: several engines measured in the same rounds, in a random order.

Each is measured in a fresh process of its own: runtimes change what a process does for all others
in it (whether subnormal numbers are flushed, how many threads wait, how memory is handed out).
Every round that is finished is a line of a file: a contest that is stopped goes on with the next
round. A round that was cut short is measured again, since only what was measured within
seconds of each other is comparable.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np
from pydantic import TypeAdapter, ValidationError

from profilers.child import readings
from profilers.jobs import Entry, Job, Reading
from profilers.measurement import Measurement
from profilers.protocol import Protocol
from profilers.surroundings import capture, check_unchanged
from profilers.verdict import Ratio, ratio
from targets.errors import Interrupted, WorkspaceError
from targets.target import Target


@dataclass(frozen=True, slots=True)
class Contest:
    """What came of a contest.

    Attributes:
        rounds: the readings of every round, by contestant.
    """

    rounds: tuple[Mapping[str, Reading], ...]

    @property
    def failures(self) -> Mapping[str, str]:
        """Why a contestant was not measured, by its key: what was said of it first."""
        found: dict[str, str] = {}
        for each in self.rounds:
            for key, reading in each.items():
                if reading.error is not None:
                    found.setdefault(key, reading.error)
        return found

    @property
    def keys(self) -> tuple[str, ...]:
        """Who was measured in every round, in order of their names."""
        found = (key for key in self.rounds[0] if all(_told(r.get(key)) for r in self.rounds))
        return tuple(sorted(found))

    def seconds(self, key: str) -> tuple[float, ...]:
        """Median seconds of one inference in each round."""
        return tuple(median(each[key].samples) for each in self.rounds)

    def ratio(self, mine: str, other: str) -> Ratio:
        """The other's time over mine; see `profilers.verdict`."""
        return ratio(self.seconds(mine), self.seconds(other))

    def measurement(self, key: str) -> Measurement:
        """Everything that was measured of a contestant."""
        told = [each[key] for each in self.rounds]
        known = [r.contention for r in told if r.contention is not None]
        return Measurement(
            key,
            key,
            tuple(r.samples for r in told),
            tuple(r.load_seconds for r in told),
            any(r.capped for r in told),
            contention=max(known, default=None),
        )


_ROUND = TypeAdapter(dict[str, Reading])


@dataclass(frozen=True, slots=True)
class Stage:
    """Where and how a contest is held.

    Attributes:
        folder: with the files of the entries.
        target: the device and its settings.
        protocol: how each is measured; its `rounds` are how many there are.
        record: the file of this contest alone that finished rounds are kept in.
        worker: the module that is run as the child.
    """

    folder: Path
    target: Target
    protocol: Protocol
    record: Path
    worker: str


def contest(
    stage: Stage,
    entries: Sequence[Entry],
    progress: Callable[[int, str], None] | None = None,
) -> Contest:
    """Measures contestants round by round, and goes on where the same contest was stopped.

    Args:
        stage: where and how.
        entries: who is measured.
        progress: told how many measurements are finished, with those of the rounds that were kept,
            and whose the last one was.

    Raises:
        TargetUnavailableError: the machine has changed since it began.
        WorkspaceError: the record cannot be written.
        Interrupted: the user pressed Ctrl-C; finished rounds are kept.
    """
    protocol = stage.protocol
    done = read_record(stage.record)[: protocol.rounds]
    _keep(stage.record, done, "w")
    environment = capture(stage.target)
    tell = progress or (lambda finished, name: None)
    try:
        if finished := len(done) * len(entries):
            tell(finished, "")
        for index in range(len(done), protocol.rounds):
            check_unchanged(stage.target, environment)
            found: dict[str, Reading] = {}
            for entry in _shuffled(entries, (protocol.seed, index)):
                found[entry.key] = _measured(entry, stage)
                tell(finished := finished + 1, entry.key)
            done.append(found)
            _keep(stage.record, [found])
    except KeyboardInterrupt:
        raise Interrupted(
            f"The comparison was interrupted after {len(done)} of {protocol.rounds} rounds. They "
            f"are kept: the same command goes on with the next."
        ) from None
    return Contest(tuple(done))


def _shuffled(entries: Sequence[Entry], seed: tuple[int, int]) -> list[Entry]:
    return [entries[place] for place in np.random.default_rng(seed).permutation(len(entries))]


def _measured(entry: Entry, stage: Stage) -> Reading:
    """One contestant in a process of its own."""
    job = Job(str(stage.folder), stage.target, stage.protocol, (entry,))
    with closing(readings(job, stage.target.threads, worker=stage.worker)) as stream:
        (reading,) = stream
    return reading


def read_record(record: Path) -> list[dict[str, Reading]]:
    """The finished rounds of a contest; a line that was cut off, and what follows it, are none."""
    found: list[dict[str, Reading]] = []
    try:
        lines = record.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return found
    for line in lines:
        try:
            found.append(_ROUND.validate_json(line))
        except ValidationError:
            break
    return found


def _keep(record: Path, rounds: Sequence[Mapping[str, Reading]], mode: str = "a") -> None:
    lines = [json.dumps({key: asdict(one) for key, one in each.items()}) for each in rounds]
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        with record.open(mode, encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
    except OSError as error:
        raise WorkspaceError(
            f"Cannot keep what was measured in {str(record)!r}: {error.strerror}. Free space, or "
            f"name another folder with --home."
        ) from error


def _told(reading: Reading | None) -> bool:
    return reading is not None and reading.error is None
