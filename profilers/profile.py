"""`profile`: measures models on a target, round by round in fresh processes, into a cost store.

Models of one structure are measured once. Every round is a fresh process that measures all models
in a random order, with a sentinel first, in the middle and last. Each measurement is in the store
before the next one begins, so that a run that is stopped goes on where it was. A model whose
interval is still too wide after the protocol's rounds gets more, up to the protocol's `max_rounds`;
a model that the store had already does not.

With a time limit, as many models of highest priority are measured together as fit where all run to
the protocol's limits, then the next as many, at the pace that was seen. Once the limit has passed,
the measurement that is running is the last. Models without all their rounds are then named in the
table's `unmeasured`; what was measured of them is in the store for the next run.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from math import inf
from pathlib import Path
from time import monotonic
from uuid import uuid4

import numpy as np

from backends.model import ExportedModel
from profilers.child import PATIENCE_SECONDS, readings
from profilers.cost_table import CostTable
from profilers.fresh import fresh_start
from profilers.inputs import Inputs, normal_inputs, write_inputs
from profilers.jobs import Entry, Job, Reading
from profilers.protocol import Protocol
from profilers.selection import SENTINELS, Limit, Pace, choose
from profilers.sentinel import SENTINEL, sentinel_model
from profilers.store import CostStore, Round, RoundsDone
from profilers.surroundings import capture, check_unchanged
from targets.errors import Interrupted, TargetUnavailableError
from targets.scratch import scratch_folder
from targets.target import Target

_DEFAULT = Protocol()
_LEAST_PATIENCE = 30.0
"""Seconds that a model may take before it is taken for hung, however little time is left."""


@dataclass(frozen=True, slots=True)
class ProfileProgress:
    """How far a profiling run is, in single measurements (one model in one round).

    Attributes:
        done: Measurements that are finished, those that failed included.
        total: Measurements of this run.
        name: The model that was measured last.
        elapsed_s: Seconds since the run began.
        eta_s: Seconds that the rest will take at the present pace, or that the limit leaves.
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
        estimated_seconds: About how long that would take if all ran to the protocol's limits,
            without the further rounds of what turns out vague; usually less.
        fits: About how many of the structures to measure fit into the time limit in that case,
            those of highest priority; None without a limit.
    """

    total: int
    distinct: int
    cached: int
    to_measure: int
    estimated_seconds: float
    fits: int | None = None


def plan(
    models: Sequence[ExportedModel | str],
    target: Target,
    store: CostStore,
    protocol: Protocol,
    budget_seconds: float | None = None,
) -> ProfilePlan:
    """What `profile` would do with these models, or their structures; measures nothing."""
    limit = Limit(budget_seconds)
    named = (model if isinstance(model, str) else model.structure for model in models)
    distinct = dict.fromkeys(named)
    environment = capture(target)
    done = store.rounds_done(environment, protocol, distinct)
    missing = {
        key: lacking
        for key in distinct
        if (lacking := protocol.rounds - done.get(key, RoundsDone()).rounds) > 0
    }
    pace = Pace.slowest(protocol)
    return ProfilePlan(
        total=len(models),
        distinct=len(distinct),
        cached=len(distinct) - len(missing),
        to_measure=len(missing),
        estimated_seconds=pace.seconds(max(missing.values(), default=0), sum(missing.values())),
        fits=None if limit.seconds is None else len(choose(missing, limit, pace, limit.seconds)),
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
    priority: Mapping[str, float] | None = None,
    budget_seconds: float | None = None,
) -> CostTable:
    """Measures what the store does not have yet and returns the cost of every model.

    Args:
        models: Models to measure.
        target: The device and its settings.
        store: Where samples are looked up and kept.
        protocol: How to measure.
        inputs: Makes a model's inputs; None: seeded standard normal numbers.
        progress: Is told after each measurement.
        fresh: Measures all rounds anew and uses only these; goes on where a fresh run of the last
            day was cut short.
        priority: What is measured first where time is limited: a number by structure, else 0.
        budget_seconds: The time limit; None: everything is measured.

    Raises:
        UsageError: The time limit is no time.
        TargetUnavailableError: The runtime is not installed, the machine is in another power mode
            than the target asks for or has changed while it was measured, or no model at all could
            be measured.
        WorkspaceError: The store cannot be used.
        Interrupted: The user pressed Ctrl-C; the store keeps what was measured.
    """
    limit = Limit(budget_seconds, priority or {})
    run = _Run(_distinct(models), target, store, protocol, inputs, progress, limit)
    run.measure(fresh)
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
        limit: Limit,
    ) -> None:
        self._models = models
        self._target = target
        self._store = store
        self._protocol = protocol
        self._inputs = inputs or normal_inputs(protocol.seed)
        self._progress = progress
        self._environment = capture(target)
        self._failures: dict[str, str] = {}
        self._have: dict[str, RoundsDone] = {}
        self._start = monotonic()
        self._limit = limit
        self._wanted = protocol.rounds
        self._turn = 0
        self._in_rounds = 0.0
        self._in_models = 0.0
        self._slowest = Pace.slowest(protocol).model_seconds
        self.done = 0
        self.total = 0

    def measure(self, fresh: bool) -> None:
        """Measures whatever has not all its rounds, or all models anew."""
        found = self._store.rounds_done(self._environment, self._protocol, self._models)
        self._have = {key: found.get(key, RoundsDone()) for key in self._models}
        if fresh:
            self._have = fresh_start(self._store, self._environment, self._protocol, self._have)
        try:
            self._measure_all()
        except KeyboardInterrupt:
            raise Interrupted(
                f"Measuring was interrupted after {self.done} of {self.total} measurements. They "
                f"are kept: the same command goes on from there."
            ) from None

    def table(self) -> CostTable:
        """The cost of every model, from the store."""
        costs = self._store.measurements(self._environment, self._models, self._protocol)
        kept = {key: cost for key, cost in costs.items() if not self._missing(key)}
        if self._failures and len(self._failures) == len(self._models):
            key, why = next(iter(self._failures.items()))
            raise TargetUnavailableError(
                f"None of the {len(self._models)} models could be measured on "
                f"{str(self._target)!r}. The first was {self._models[key].name!r}: {why}"
            )
        left = sorted(set(self._models) - set(kept) - set(self._failures))
        return CostTable(self._environment, kept, self._failures, tuple(left))

    def _missing(self, key: str) -> int:
        return max(0, self._protocol.rounds - self._have[key].rounds)

    def _left(self) -> float:
        """Seconds until the limit."""
        seconds = self._limit.seconds
        return inf if seconds is None else self._start + seconds - monotonic()

    def _patience(self) -> float:
        """Seconds that the next model may take, a time limit and the slowest so far considered."""
        return min(PATIENCE_SECONDS, max(_LEAST_PATIENCE, self._left() + self._slowest))

    def _measure_all(self) -> None:
        """Set after set of models until all have their rounds, or the time is over."""
        new = [key for key in self._models if self._missing(key)]
        self.total = sum(self._missing(key) for key in new)
        while keys := self._next_set():
            self._measure(keys, self._protocol.rounds)
        if self._left() > 0:
            self._measure(self._wide(new), self._protocol.max_rounds)

    def _next_set(self) -> tuple[str, ...]:
        """The models that are measured together next; none when all are, or the time is over."""
        left = self._left()
        missing = {
            key: lacking
            for key in self._models
            if key not in self._failures and (lacking := self._missing(key))
        }
        chosen = choose(missing, self._limit, self._pace(), left)
        # Nothing may fit at that pace at first, but limits are rarely reached: one model is tried.
        return chosen if chosen or self.done or left <= 0 else self._limit.order(missing)[:1]

    def _pace(self) -> Pace:
        if not self.done:
            return Pace.slowest(self._protocol)
        beside = (self._in_rounds - self._in_models) / self._turn
        return Pace(beside, self._in_models / self.done)

    def _wide(self, keys: Sequence[str]) -> tuple[str, ...]:
        """Those of some models whose rounds are all there and still do not agree well enough."""
        complete = [key for key in keys if key not in self._failures and not self._missing(key)]
        costs = self._store.measurements(self._environment, complete, self._protocol)
        return tuple(
            key
            for key, cost in costs.items()
            if cost.relative_half_width > self._protocol.further_half_width
        )

    def _measure(self, keys: Sequence[str], rounds: int) -> None:
        """Measures models together, round by round, until each has so many rounds."""
        self._wanted = rounds
        lacking = {key: rounds - self._have[key].rounds for key in keys}
        needed = {key: self._models[key] for key, count in lacking.items() if count > 0}
        if not needed:
            return
        self.total += sum(lacking[key] - self._missing(key) for key in needed)
        with scratch_folder() as folder:
            write_inputs({SENTINEL: sentinel_model()}, normal_inputs(0), folder)
            write_inputs(needed, self._inputs, folder)
            for _ in range(max(lacking.values())):
                # Models of which a part is there already join from the first pass on.
                left = [key for key in needed if self._have[key].rounds < rounds]
                left = [key for key in left if key not in self._failures]
                if left and self._left() > 0:
                    self._round(folder, left)

    def _round(self, folder: Path, waiting: Sequence[str]) -> None:
        check_unchanged(self._target, self._environment)
        order = np.random.default_rng((self._protocol.seed, self._turn)).permutation(len(waiting))
        keys = [waiting[index] for index in order]
        half = len(keys) // 2
        keys = [SENTINEL, *keys[:half], SENTINEL, *keys[half:], SENTINEL]
        assert keys.count(SENTINEL) == SENTINELS
        entries = tuple(Entry(key, f"{key}.onnx", f"{key}.npz") for key in keys)
        job = Job(str(folder), self._target, self._protocol, entries)
        session = uuid4().hex
        start = last = monotonic()
        with closing(readings(job, self._target.threads, self._patience)) as stream:
            for reading in stream:
                self._keep(reading, session)
                now = monotonic()
                self._in_models += 0.0 if reading.key == SENTINEL else now - last
                self._slowest = max(self._slowest, now - last)
                last = now
                if self._left() <= 0:
                    break
        self._turn += 1
        self._in_rounds += monotonic() - start

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
            self.total -= self._wanted - have.rounds - 1
            if self._missing(key):
                self._failures[key] = reading.error
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
            peak_bytes=reading.peak_bytes,
            joules=reading.joules,
            contention=reading.contention,
        )

    def _report(self, name: str) -> None:
        if self._progress is None:
            return
        elapsed = monotonic() - self._start
        eta = elapsed / self.done * (self.total - self.done)
        eta = max(0.0, min(eta, self._left()))
        self._progress(ProfileProgress(self.done, self.total, name, elapsed, eta))


def _distinct(models: Iterable[ExportedModel]) -> dict[str, ExportedModel]:
    distinct: dict[str, ExportedModel] = {}
    for model in models:
        distinct.setdefault(model.structure, model)
    return distinct
