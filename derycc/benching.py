"""Bench: a build's engine beside another build and other runtimes, all measured in the same run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from onnx import ModelProto

from backends.backend import Array
from backends.model import ExportedModel, TensorSpec
from backends.registry import get_backend
from compiler.cache import digest
from compiler.contestants import (
    PEER_NAMES,
    TORCH,
    WORKER,
    Contestant,
    program_file,
    write_contestant,
)
from compiler.design import DesignedNetwork
from compiler.export import INPUT_NAME, OUTPUT_NAME, export
from compiler.folding import fold
from compiler.precisions import FLOAT, INT8
from compiler.progress import Progress
from compiler.torch_engines import save_program
from compiler.verification import GATES, Gate, gate_on
from derycc.build_model import open_build
from derycc.checking import recorded_network
from derycc.manifest import read_manifest
from derycc.session import Options, make_home
from profilers.contest import Contest, Stage, contest
from profilers.jobs import Entry
from profilers.protocol import Protocol
from profilers.surroundings import capture
from profilers.verdict import LEAST_ROUNDS, Ratio
from targets.errors import UnknownNameError, UsageError
from targets.scratch import scratch_folder
from targets.target import Target, get_target

ROUNDS = 7
BUILD, AGAINST = "build", "against"
_ALL = "all"
_SECONDS_EACH = 3.0  # about what a contestant takes in a round, its process's start included
_MOST_BATCH = 1024


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """What a build is compared with.

    Attributes:
        folder: the build.
        against: another build; None: none.
        peers: names of runtimes.
        batches: images of one inference, each measured by itself.
        rounds: how often every contestant is measured.
    """

    folder: Path
    against: Path | None = None
    peers: tuple[str, ...] = ()
    batches: tuple[int, ...] = (1,)
    rounds: int = ROUNDS

    @property
    def contestants(self) -> tuple[str, ...]:
        """Their names, the build first."""
        return (BUILD, *([AGAINST] if self.against else []), *self.peers)

    @property
    def protocol(self) -> Protocol:
        """How each contestant is measured in a round."""
        return Protocol(rounds=self.rounds, max_rounds=self.rounds, max_seconds=0.3)

    def plan(self) -> list[str]:
        """What would be done, in words."""
        count = len(self.contestants) * len(self.batches)
        return [
            f"Would measure {', '.join(self.contestants)} at batch "
            f"{', '.join(map(str, self.batches))}, in {self.rounds} rounds of {count} fresh "
            f"processes each.",
            f"That takes about {_SECONDS_EACH * count * self.rounds:.0f} s. Nothing was measured "
            f"(--dry-run).",
        ]


@dataclass(frozen=True, slots=True)
class Compared:
    """What came of it.

    Attributes:
        request: what was asked for.
        target: where it was measured.
        contest: what was measured.
        failures: why a contestant is missing, by its name and batch.
    """

    request: BenchRequest
    target: str
    contest: Contest
    failures: dict[str, str] = field(default_factory=dict)

    def pairs(self, batch: int) -> Iterator[tuple[str, str, Ratio]]:
        """Every two contestants that were measured at a batch, in the order of the request."""
        suffix = f"@{batch}"
        found = [n for n in self.request.contestants if n + suffix in self.contest.keys]
        for index, mine in enumerate(found):
            for other in found[index + 1 :]:
                yield mine, other, self.contest.ratio(mine + suffix, other + suffix)


def parse_request(
    folder: Path, against: Path | None, peers: str | None, batches: str, rounds: int
) -> BenchRequest:
    """The request that options describe.

    Raises:
        UnknownNameError: no such peer.
        UsageError: batches are no whole numbers from 1 up, or there are too few rounds.
    """
    names = [name.strip() for name in (peers or "").split(",") if name.strip()]
    chosen = PEER_NAMES if _ALL in names else tuple(dict.fromkeys(names))
    for name in chosen:
        if name not in PEER_NAMES:
            raise UnknownNameError("peer", name, (*PEER_NAMES, _ALL))
    if rounds < LEAST_ROUNDS:
        raise UsageError(
            f"{rounds} rounds tell nothing of how far ratios scatter. Ask for at least "
            f"{LEAST_ROUNDS} with --rounds."
        )
    return BenchRequest(folder, against, chosen, _batches(batches), rounds)


def _batches(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    numbers = [int(part) if part.isascii() and part.isdigit() else 0 for part in parts]
    if not all(1 <= number <= _MOST_BATCH for number in numbers):
        raise UsageError(
            f"Cannot read {text!r} as batches. Use whole numbers from 1 to {_MOST_BATCH}, e.g. "
            f"--batches 1,2,4,8."
        )
    return tuple(dict.fromkeys(numbers))


def compare(
    request: BenchRequest, options: Options, target: str | None, progress: Progress
) -> Compared:
    """Measure the build and what it is compared with, interleaved, each in fresh processes.

    Raises:
        UsageError: a folder is no build or was changed, or a network cannot have another batch.
        TargetUnavailableError, WorkspaceError, Interrupted: as `profilers.contest.contest`.
    """
    device = get_target(target or read_manifest(request.folder).target)
    make_home(options.home)
    with scratch_folder() as folder:
        found = _Contestants(request, options, device, progress, folder)
        entries = found.write()
        record = options.home / "bench" / f"{_key(found.models, device, request)}.jsonl"
        progress.start(f"comparing on {device}", len(entries) * request.rounds)
        stage = Stage(folder, device, request.protocol, record, WORKER)
        held = contest(stage, entries, progress.update)
        progress.finish()
    record.replace(record.with_suffix(".finished.jsonl"))
    return Compared(request, str(device), held, {**found.failures, **held.failures})


def _key(models: Sequence[str], target: Target, request: BenchRequest) -> str:
    """What a contest is recognized by, so that it goes on where it was stopped."""
    names = (request.contestants, request.batches)
    return digest(
        *models, names, str(target), capture(target).fingerprint, request.protocol.digest
    )[:24]


@dataclass(frozen=True, slots=True)
class _Own:
    """A build that is measured.

    Attributes:
        name: `BUILD` or `AGAINST`.
        model: as it was built.
        precision: `INT8` where a part of it is.
    """

    name: str
    model: ExportedModel
    precision: str

    @property
    def batch(self) -> int:
        """That it was built for."""
        return self.model.inputs[0].shape[0]


class _Contestants:
    """Makes the files of all contestants."""

    def __init__(
        self,
        request: BenchRequest,
        options: Options,
        target: Target,
        progress: Progress,
        folder: Path,
    ) -> None:
        self._request = request
        self._options = options
        self._target = target
        self._progress = progress
        self._folder = folder
        self.models: list[str] = []
        self.failures: dict[str, str] = {}

    def write(self) -> list[Entry]:
        """Write them; those that cannot be had are among the failures afterwards."""
        request, found = self._request, list[Entry]()
        found += self._of_build(BUILD, request.folder, request.peers)
        if request.against is not None:
            found += self._of_build(AGAINST, request.against, ())
        return found

    def _of_build(self, name: str, folder: Path, peers: tuple[str, ...]) -> Iterator[Entry]:
        manifest, model = open_build(folder)
        self.models.append(model.key)
        own = _Own(name, model, INT8 if _quantized(model) else FLOAT)
        batches = self._measurable(own)
        network = None
        if peers or set(batches) - {own.batch}:
            _, network = recorded_network(folder, manifest, self._options, self._progress)
        for batch in batches:
            self._progress.start(f"preparing {name} at batch {batch}", None)
            yield from self._at_batch(own, network, peers, batch)
            self._progress.finish()

    def _measurable(self, own: _Own) -> list[int]:
        """The batches that a build can be measured at; others are among the failures."""
        if own.precision == FLOAT:
            return list(self._request.batches)
        self.failures |= {
            f"{own.name}@{batch}": (
                "an int8 network is measured at the batch that it was built for alone."
            )
            for batch in self._request.batches
            if batch != own.batch
        }
        return [batch for batch in self._request.batches if batch == own.batch]

    def _at_batch(
        self, own: _Own, network: DesignedNetwork | None, peers: tuple[str, ...], batch: int
    ) -> Iterator[Entry]:
        shape, model, plain = (batch, *own.model.inputs[0].shape[1:]), own.model, None
        if network is not None and (peers or batch != own.batch):
            plain = plain_export(network, shape)
        if batch != own.batch:
            assert plain is not None, "another batch is exported from the network"
            model = fold(plain).model
        x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        expected, least = self._answers(model, x), self._gate(own.precision).cosine
        one = Contestant(own.name, batch, model, "", expected, least)
        yield write_contestant(one, x, self._folder)
        for peer in peers:
            assert plain is not None and network is not None
            one = Contestant(peer, batch, plain, peer, expected, least)
            entry = write_contestant(one, x, self._folder)
            if peer in TORCH:
                save_program(network, shape, program_file(self._folder, one.key))
            yield entry

    def _gate(self, precision: str) -> Gate:
        """How near answers must be to those of the build's engine."""
        return gate_on(self._target) if precision == FLOAT else GATES[precision]

    def _answers(self, model: ExportedModel, x: Array) -> Array:
        with get_backend(self._target.backend).compile(model, self._target) as engine:
            (answers,) = engine.run({model.inputs[0].name: x}).values()
        return answers


def plain_export(network: DesignedNetwork, shape: tuple[int, ...]) -> ExportedModel:
    """A network as torch exports it, with nothing of ours done to it."""
    return export(network, TensorSpec(INPUT_NAME, shape), "network", OUTPUT_NAME)


def _quantized(model: ExportedModel) -> bool:
    nodes = ModelProto.FromString(model.onnx).graph.node
    return any(node.op_type == "QuantizeLinear" for node in nodes)
