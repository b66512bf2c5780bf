"""`profile`: measures models on a target, round by round in fresh processes, into a cost store."""

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from uuid import uuid4

import numpy as np

from backends.backend import Array
from backends.model import ExportedModel
from backends.registry import get_backend
from profilers.child import readings
from profilers.cost_table import CostTable
from profilers.environment import Environment
from profilers.jobs import Entry, Job, Reading
from profilers.protocol import Protocol
from profilers.sentinel import SENTINEL, sentinel_model
from profilers.store import CostStore, Round, RoundsDone
from targets.errors import Interrupted, TargetUnavailableError, WorkspaceError
from targets.target import Target

_START_SECONDS = 1.5
_LOAD_SECONDS = 0.05
_SENTINELS = 3
_DEFAULT = Protocol()

Inputs = Callable[[ExportedModel], Mapping[str, Array]]
"""Makes the arrays that a model is measured with."""


@dataclass(frozen=True, slots=True)
class ProfileProgress:
    """How far a profiling run is, in single measurements (one model in one round).

    Attributes:
        done: Measurements that are finished, those that failed included.
        total: Measurements of this run.
        name: The model that was measured last.
        elapsed_s: Seconds since the run began.
        eta_s: Seconds that the rest will take at the present pace.
    """

    done: int
    total: int
    name: str
    elapsed_s: float
    eta_s: float


@dataclass(frozen=True, slots=True)
class ProfilePlan:
    """What a profiling run would do.

    Attributes:
        total: Models that were given.
        distinct: Different structures among them.
        cached: Structures whose rounds are all in the store.
        to_measure: Structures that would be measured, some of them perhaps in fewer rounds.
        estimated_seconds: How long that would take at most, by the protocol's limits.
    """

    total: int
    distinct: int
    cached: int
    to_measure: int
    estimated_seconds: float


def plan(
    models: Sequence[ExportedModel], target: Target, store: CostStore, protocol: Protocol
) -> ProfilePlan:
    """What `profile` would do with these arguments; measures nothing."""
    distinct = _distinct(models)
    environment = _capture(target)
    done = store.rounds_done(environment, protocol, distinct)
    missing = [max(0, protocol.rounds - done.get(key, RoundsDone()).rounds) for key in distinct]
    passes = max(missing, default=0)
    each = _LOAD_SECONDS + protocol.warmup_seconds + protocol.max_seconds
    measurements = sum(missing) + passes * _SENTINELS
    return ProfilePlan(
        total=len(models),
        distinct=len(distinct),
        cached=missing.count(0),
        to_measure=len(missing) - missing.count(0),
        estimated_seconds=passes * _START_SECONDS + measurements * each,
    )


def profile(
    models: Sequence[ExportedModel],
    target: Target,
    *,
    store: CostStore,
    protocol: Protocol = _DEFAULT,
    inputs: Inputs | None = None,
    progress: Callable[[ProfileProgress], None] | None = None,
    fresh: bool = False,
) -> CostTable:
    """Measures what the store does not have yet and returns the cost of every model.

    Models of one structure are measured once. Every round is a fresh process that measures all
    models in a random order, with a sentinel first, in the middle and last. Each measurement is
    in the store before the next one begins, so that a run that is stopped goes on where it was.

    Args:
        models: Models to measure.
        target: The device and its settings.
        store: Where samples are looked up and kept.
        protocol: How to measure.
        inputs: Makes a model's inputs; None: seeded standard normal numbers.
        progress: Is told after each measurement.
        fresh: Measures all rounds anew and uses only these.

    Raises:
        TargetUnavailableError: The runtime is not installed, or no model at all could be measured.
        WorkspaceError: The store cannot be used.
        Interrupted: The user pressed Ctrl-C; the store keeps what was measured.
    """
    run = _Run(_distinct(models), target, store, protocol, inputs, progress)
    try:
        run.measure(fresh)
    except KeyboardInterrupt:
        raise Interrupted(
            f"Profiling was interrupted after {run.done} of {run.total} measurements. They are "
            f"kept: the same command goes on from there."
        ) from None
    return run.table()


class _Run:
    """The state of one call of `profile`."""

    def __init__(
        self,
        models: dict[str, ExportedModel],
        target: Target,
        store: CostStore,
        protocol: Protocol,
        inputs: Inputs | None,
        progress: Callable[[ProfileProgress], None] | None,
    ) -> None:
        self._models = models
        self._target = target
        self._store = store
        self._protocol = protocol
        self._inputs = inputs or _normal(protocol.seed)
        self._progress = progress
        self._environment = _capture(target)
        self._failures: dict[str, str] = {}
        self._have: dict[str, RoundsDone] = {}
        self._start = monotonic()
        self.done = 0
        self.total = 0

    def measure(self, fresh: bool) -> None:
        """Measures pass after pass until every model has its rounds or has failed."""
        found = self._store.rounds_done(self._environment, self._protocol, self._models)
        self._have = {key: found.get(key, RoundsDone()) for key in self._models}
        if fresh:
            self._have = {
                key: RoundsDone(have.generation + 1, 0, have.next_index)
                for key, have in self._have.items()
            }
        missing = [self._missing(key) for key in self._models]
        self.total = sum(missing)
        if not self.total:
            return
        with tempfile.TemporaryDirectory(prefix="derycc-") as folder:
            self._write(Path(folder))
            for turn in range(max(missing)):
                self._round(Path(folder), turn)

    def table(self) -> CostTable:
        """The cost of every model, from the store."""
        costs = self._store.measurements(self._environment, self._models, self._protocol)
        kept = {key: cost for key, cost in costs.items() if key not in self._failures}
        if self._failures and not kept:
            key, why = next(iter(self._failures.items()))
            raise TargetUnavailableError(
                f"None of the {len(self._models)} models could be measured on "
                f"{str(self._target)!r}. The first was {self._models[key].name!r}: {why}"
            )
        return CostTable(self._environment, kept, self._failures)

    def _missing(self, key: str) -> int:
        return max(0, self._protocol.rounds - self._have[key].rounds)

    def _write(self, folder: Path) -> None:
        sentinel = sentinel_model()
        needed = {key: model for key, model in self._models.items() if self._missing(key)}
        for key, model in {SENTINEL: sentinel, **needed}.items():
            made = _normal(0)(model) if key == SENTINEL else self._inputs(model)
            model.save(folder / f"{key}.onnx")
            arrays = [made[spec.name] for spec in model.inputs]
            try:
                np.savez(folder / f"{key}.npz", *arrays)
            except OSError as error:
                raise WorkspaceError(
                    f"Cannot write a model's inputs to the temporary folder {str(folder)!r}: "
                    f"{error.strerror}. Free space there, or set TMPDIR to another folder."
                ) from error

    def _round(self, folder: Path, turn: int) -> None:
        waiting = [key for key in self._models if self._missing(key) and key not in self._failures]
        # Models of which a part is there already join from the first pass on.
        order = np.random.default_rng((self._protocol.seed, turn)).permutation(len(waiting))
        keys = [waiting[index] for index in order]
        if not keys:
            return
        half = len(keys) // 2
        keys = [SENTINEL, *keys[:half], SENTINEL, *keys[half:], SENTINEL]
        entries = tuple(Entry(key, f"{key}.onnx", f"{key}.npz") for key in keys)
        job = Job(str(folder), str(self._target), self._protocol, entries)
        session = uuid4().hex
        with closing(readings(job, self._target.threads)) as stream:
            for reading in stream:
                self._keep(reading, session)

    def _keep(self, reading: Reading, session: str) -> None:
        if reading.key == SENTINEL:
            if reading.error is not None:
                raise TargetUnavailableError(
                    f"The target {str(self._target)!r} cannot run even the sentinel, a network of "
                    f"two convolutions: {reading.error}"
                )
            self._store.add_sentinel(self._environment, self._protocol, session, reading.samples)
            return
        key, have = reading.key, self._have[reading.key]
        if reading.error is not None:
            self._failures[key] = reading.error
            self.total -= self._missing(key) - 1
        else:
            self._store.add_round(
                self._environment, self._protocol, self._as_round(reading, have, session)
            )
            self._have[key] = RoundsDone(have.generation, have.rounds + 1, have.next_index + 1)
        self.done += 1
        self._report(self._models[key].name)

    def _as_round(self, reading: Reading, have: RoundsDone, session: str) -> Round:
        return Round(
            key=reading.key,
            name=self._models[reading.key].name,
            index=have.next_index,
            samples=reading.samples,
            load_seconds=reading.load_seconds,
            capped=reading.capped,
            generation=have.generation,
            session=session,
        )

    def _report(self, name: str) -> None:
        if self._progress is None:
            return
        elapsed = monotonic() - self._start
        eta = elapsed / self.done * (self.total - self.done)
        self._progress(ProfileProgress(self.done, self.total, name, elapsed, eta))


def _distinct(models: Iterable[ExportedModel]) -> dict[str, ExportedModel]:
    distinct: dict[str, ExportedModel] = {}
    for model in models:
        distinct.setdefault(model.structure, model)
    return distinct


def _capture(target: Target) -> Environment:
    backend = get_backend(target.backend)
    reason = backend.unavailable()
    if reason:
        raise TargetUnavailableError(f"The target {str(target)!r} cannot be used here: {reason}")
    return Environment.capture(target, backend)


def _normal(seed: int) -> Inputs:
    """Standard normal numbers for floats, 0 or 1 for whole numbers; the same for the same model."""

    def make(model: ExportedModel) -> dict[str, Array]:
        random = np.random.default_rng((seed, int(model.structure[:16], 16)))
        return {
            spec.name: random.standard_normal(spec.shape).astype(spec.dtype)
            if np.issubdtype(np.dtype(spec.dtype), np.floating)
            else random.integers(0, 2, spec.shape).astype(spec.dtype)
            for spec in model.inputs
        }

    return make
