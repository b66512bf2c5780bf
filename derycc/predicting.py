"""Predicting: what a network will take, told from the profile of its donors, and why.

What the profile lacks is measured first, and so are the parts of the network that no profile has:
they come into the same store under the same protocol. The network itself is not measured unless
that is asked for.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from backends.model import ExportedModel
from compiler.candidates import export_network
from compiler.design import build_design
from compiler.donors import Donors
from compiler.network import Blueprint
from compiler.progress import Progress
from compiler.recipe_parts import Link, RecipeParts, Stretch, chain_of
from compiler.workbench import Workbench
from compiler.zoo import Zoo
from derycc.build_model import load_model
from derycc.manifest import check_files
from derycc.session import Options, make_home, open_workbench
from derycc.subjects import Subject
from derycc.waterfall import Step, waterfall
from profilers.measurement import Measurement
from profilers.parts import Cost
from profilers.prediction import LatencyPredictor, Prediction
from profilers.profile import ProfileProgress, profile
from profilers.selection import Pace
from targets.errors import ZooError


@dataclass(frozen=True, slots=True)
class Pending:
    """What has to be measured before a prediction.

    Attributes:
        network: what is predicted.
        target: where.
        zoo: models of the zoo's profile.
        parts: the network's own parts, by name.
        whole: whether the network is measured, too.
        seconds: how long it takes at most, by the protocol's limits.
    """

    network: str
    target: str
    zoo: int
    parts: tuple[str, ...]
    whole: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Compared:
    """A measurement of the whole network beside its prediction.

    Attributes:
        median_us: what was measured, in microseconds.
        interval_us: its 95 percent interval.
        noisy: whether the measurement says of itself that it should not be trusted.
        error: by how much the prediction exceeds it, as a share of it.
        inside: whether it lies in the predicted interval.
    """

    median_us: float
    interval_us: tuple[float, float]
    noisy: bool
    error: float
    inside: bool

    @staticmethod
    def of(
        prediction: Prediction, median_us: float, interval_us: tuple[float, float], noisy: bool
    ) -> "Compared":
        """A prediction beside what was measured."""
        low, high = prediction.interval_us
        error = prediction.median_us / median_us - 1.0
        return Compared(median_us, interval_us, noisy, error, low <= median_us <= high)


@dataclass(frozen=True, slots=True)
class Foretold:
    """A network's predicted latency with all that it is made of.

    Attributes:
        network: what was predicted.
        input_size: pixels a side.
        target: where.
        stretches: the network's parts.
        prediction: their latencies, and the interval.
        predictor: what made it.
        pending: what was measured for it.
        noisy: parts whose measurement says of itself that it should not be trusted.
        recorded: what the build was measured to take; None: no build, or measured elsewhere.
        elsewhere: the target that a build was measured on in another environment; None: in this.
        measured: what the network takes now; None: that was not asked for.
    """

    network: str
    input_size: int
    target: str
    stretches: tuple[Stretch, ...]
    prediction: Prediction
    predictor: LatencyPredictor
    pending: Pending
    noisy: int
    recorded: Compared | None
    elsewhere: str | None
    measured: Compared | None

    @property
    def held(self) -> int:
        """Parts whose terms would leave less than the share of their latency alone that counts."""
        return sum(term.held for term in self.prediction.terms)

    def steps(self, blocks: bool = False) -> tuple[Step, ...]:
        """The waterfall, with a step for every stretch, or for every part."""
        known = self.predictor.alone.measured
        return waterfall(self.stretches, self.prediction, known, blocks)


class Foretelling:
    """One network on one workbench, whose zoo lends its parts or at least tells of the target."""

    def __init__(self, subject: Subject, donors: Donors, bench: Workbench) -> None:
        self._subject = subject
        self._donors = donors
        self._bench = bench
        known = tuple(bench.wanted.donors)
        parts = RecipeParts(donors, bench.profile.parts, known, bench.cache)
        self._stretches = parts.stretches(subject.design)

    def pending(self, whole: bool) -> Pending:
        """What has to be measured; measures nothing."""
        bench, protocol = self._bench, self._bench.settings.protocol
        zoo = bench.profile.unmeasured(bench.wanted.keys)
        own = {link.structure: link for link in self._measured_alone()}
        own = {key: link for key, link in own.items() if key not in zoo}
        lacking = bench.profile.unmeasured(own)
        missing = [link.name for key, link in own.items() if key in lacking]
        count = (len(zoo) + len(missing)) * protocol.rounds
        seconds = Pace.slowest(protocol).seconds(protocol.rounds, count) if count else 0.0
        if whole:
            rounds = bench.settings.whole_protocol.rounds
            seconds += Pace.slowest(bench.settings.whole_protocol).seconds(rounds, rounds)
        target, network = str(bench.target), str(self._subject.design)
        return Pending(network, target, len(zoo), tuple(missing), whole, seconds)

    def foretell(self, whole: bool) -> Foretold:
        """Predict; what is missing is measured, and the whole network if that is asked for.

        Raises:
            UsageError: a part could not be measured, and there is nothing to estimate it from.
            TargetUnavailableError: the target cannot be used, or runs none of the parts.
        """
        pending = self.pending(whole)
        costs = self._costs()
        alone = {
            link.part.key: Cost.of(costs[link.structure])
            for link in self._measured_alone()
            if link.structure in costs
        }
        predictor = self._bench.latency_model.predictor.knowing(alone)
        prediction = predictor.predict(chain_of(self._stretches))
        return Foretold(
            pending.network,
            self._subject.design.input_size,
            pending.target,
            self._stretches,
            prediction,
            predictor,
            pending,
            sum(cost.noisy for cost in costs.values()),
            self._recorded(prediction),
            self._elsewhere(),
            self._measured(prediction) if whole else None,
        )

    def _measured_alone(self) -> Iterator[Link]:
        """All parts but stitches that are multiplied into a neighbour."""
        for stretch in self._stretches:
            yield from (link for link in stretch.links if not link.part.joined)

    def _costs(self) -> Mapping[str, Measurement]:
        """What is known of the network's parts, by structure, after measuring what is not."""
        bench, table = self._bench, self._bench.table
        own = {link.structure: link for link in self._measured_alone()}
        lacking = bench.profile.unmeasured(own)
        models = [link.make() for key, link in own.items() if key in lacking - set(table.failures)]
        failed = set(table.failures)
        if models:
            what = f"measuring {len(models)} parts of the network on {bench.target}"
            bench.progress.start(what, len(models) * bench.settings.protocol.rounds)
            made = profile(
                models,
                bench.target,
                store=bench.store,
                protocol=bench.settings.protocol,
                progress=self._tell,
            )
            bench.progress.finish()
            failed |= set(made.failures)
        found = bench.store.measurements(table.environment, own, bench.settings.protocol)
        return {key: cost for key, cost in found.items() if key not in failed}

    def _recorded(self, prediction: Prediction) -> Compared | None:
        said = self._subject.manifest
        if said is None or self._elsewhere() is not None:
            return None
        latency = said.latency
        return Compared.of(
            prediction, latency.measured_us, latency.measured_interval_us, latency.noisy
        )

    def _elsewhere(self) -> str | None:
        said = self._subject.manifest
        if said is None or said.environment == self._bench.table.environment.fingerprint:
            return None
        return said.target

    def _measured(self, prediction: Prediction) -> Compared:
        bench, model = self._bench, self._whole()
        protocol = bench.settings.whole_protocol
        bench.progress.start(f"measuring the whole network on {bench.target}", protocol.rounds)
        table = profile(
            [model],
            bench.target,
            store=bench.store,
            protocol=protocol,
            progress=self._tell,
            fresh=True,
        )
        bench.progress.finish()
        found = table.cost(model).raw
        return Compared.of(prediction, found.median_us, found.interval_us, found.noisy)

    def _whole(self) -> ExportedModel:
        """The network as it is deployed: a build's own, else exported now."""
        subject = self._subject
        if subject.folder is not None and subject.manifest is not None:
            check_files(subject.folder, subject.manifest)
            return load_model(subject.folder, subject.manifest)
        design = subject.design
        return export_network(build_design(design, self._donors), design, str(design))

    def _tell(self, progress: ProfileProgress) -> None:
        self._bench.progress.update(progress.done, progress.name, progress.total)


@contextmanager
def open_foretelling(
    subject: Subject, options: Options, progress: Progress, dry: bool = False
) -> Iterator[Foretelling]:
    """Everything that predicting a network needs; closes the cost store afterwards.

    Args:
        subject: what is predicted.
        options: of the command.
        progress: told about everything that takes time.
        dry: leave the home folder as it is.

    Raises:
        UsageError, ZooError, DataError, WorkspaceError: as `open_workbench`.
    """
    if not dry:
        make_home(options.home)
    donors = Donors(subject.zoo)
    zoo, sizes = _ground(subject, donors, progress)
    with open_workbench(replace(options, sizes=sizes), progress, dry, zoo) as bench:
        if zoo == subject.zoo:
            bench.donors = donors  # dissected already
        yield Foretelling(subject, donors, bench)


def _ground(subject: Subject, donors: Donors, progress: Progress) -> tuple[Zoo, tuple[int, ...]]:
    """Which donors are profiled, and at which input sizes: what prediction rests on.

    A donor of a recipe need not take the recipe's input: its segments are fed by others. Those that
    do not are left out, and where no donor does, the first one's own size is taken.

    Raises:
        ZooError: no donor can be cut at any of these sizes.
    """
    if isinstance(subject.design, Blueprint):
        return subject.zoo, subject.sizes
    progress.start("looking for donors that take the input", None)
    first = donors.model(subject.design.donors[0]).preprocessing.input_size
    zoo, sizes = _able(donors, subject.sizes), subject.sizes
    if not zoo.models:
        zoo, sizes = _able(donors, (first,)), (first,)
    progress.finish()
    if not zoo.models:
        raise ZooError(
            f"No donor of {subject.what} can be cut at {first} px, so nothing can be profiled that "
            "a prediction could rest on. Name other donors with --zoo."
        )
    return zoo, sizes


def _able(donors: Donors, sizes: Sequence[int]) -> Zoo:
    """The donors that can be cut at all of these sizes."""
    return Zoo(tuple(model for model in donors.zoo if _takes(donors, model.name, sizes)))


def _takes(donors: Donors, name: str, sizes: Sequence[int]) -> bool:
    try:
        for size in sizes:
            donors.dissection(name, size)
    except ZooError:
        return False
    return True
