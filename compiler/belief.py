"""Belief: what measured networks have taught of those that are still only predicted."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from compiler.believed import Believed
from compiler.drop_model import DropModel, DropObservation
from compiler.elsewhere import NO_RESIDUAL
from compiler.int8_offers import Int8Seen, believed_of
from compiler.kept import ENERGY, MEMORY, SCARCE, measured
from compiler.latency_model import Interval, Residual
from compiler.network import Blueprint
from compiler.search_space import Space
from compiler.trial import Trial
from profilers.measurement import Measurement
from targets.budget import Budget


@dataclass(slots=True)
class Belief:
    """What the loop has learned; shared by the builds of a sweep.

    Attributes:
        drops: expected drop of a stitch.
        residuals: measured minus predicted latency, per stitch, of every stitched network so far.
        observations: what the drop model is fitted to, by network.
        excess: how many times its prediction a network took of a resource at the most, where that
            was more than predicted: of peak memory and energy.
        residuals_on: as `residuals`, on other targets, by target.
        int8: how networks with int8 blocks were predicted and measured.
        barred: whether no block may be in int8 any more.
    """

    drops: DropModel = field(default_factory=DropModel)
    residuals: dict[Blueprint, Interval] = field(default_factory=dict)
    observations: dict[Blueprint, DropObservation] = field(default_factory=dict)
    excess: dict[str, float] = field(default_factory=dict)
    residuals_on: dict[str, dict[Blueprint, Interval]] = field(default_factory=dict)
    int8: dict[Blueprint, Int8Seen] = field(default_factory=dict)
    barred: bool = False

    @staticmethod
    def seeded(observations: Mapping[Blueprint, DropObservation]) -> "Belief":
        """The belief of someone who has seen these networks judged, and none of them measured."""
        drops = DropModel.fit(tuple(observations.values()))
        return Belief(drops, observations=dict(observations))

    @property
    def residual(self) -> Interval:
        """What a stitch costs beyond its own layer, in microseconds; may be negative.

        The median of what was seen, and for the upper end its third quartile.
        """
        return _typical(self.residuals.values())

    @property
    def elsewhere(self) -> dict[str, Interval]:
        """The same on other targets, by target."""
        return {target: _typical(seen.values()) for target, seen in self.residuals_on.items()}

    @property
    def now(self) -> Believed:
        """What is believed at this moment."""
        excess, elsewhere = sorted(self.excess.items()), sorted(self.elsewhere.items())
        int8 = believed_of(tuple(self.int8.values()), self.barred)
        return Believed(self.drops, self.residual, tuple(excess), tuple(elsewhere), int8)

    @property
    def here(self) -> Residual:
        """All that corrects latencies on the target that is searched for."""
        return self.now.here

    def tightened(self, limits: Budget) -> Budget:
        """The limits with which predictions keep what measurements are to keep."""
        memory, energy = limits.memory_bytes, limits.energy_j
        factor = self.excess.get
        return replace(
            limits,
            memory_bytes=None if memory is None else max(1, int(memory / factor(MEMORY, 1.0))),
            energy_j=None if energy is None else energy / factor(ENERGY, 1.0),
        )

    def learn(self, trial: Trial, space: Space) -> None:
        """Take in what a network really cost: its stitches, its memory and its energy."""
        for name, amount in measured(trial.candidate, SCARCE):
            predicted = trial.assembly.cost(name)
            if predicted and amount > predicted * self.excess.get(name, 1.0):
                self.excess[name] = amount / predicted
        if trial.candidate.blueprint.quantized:
            self._learn_int8(trial, space)
        else:
            self._learn_stitches(trial, space)

    def _learn_stitches(self, trial: Trial, space: Space) -> None:
        """One without any teaches nothing."""
        arcs, candidate = trial.assembly.arcs, trial.candidate
        blueprint = candidate.blueprint
        stitches = blueprint.stitches
        if not stitches:
            return
        raw = space.latency(arcs, NO_RESIDUAL)
        self.residuals[blueprint] = _beyond(raw, candidate.latency, stitches)
        for target, latency in candidate.elsewhere:
            raw = space.latency_on(target, arcs, NO_RESIDUAL)
            seen = self.residuals_on.setdefault(target, {})
            seen[blueprint] = _beyond(raw, latency, stitches)
        self._learn_drops(blueprint, space, arcs, trial.quality)

    def _learn_drops(
        self, blueprint: Blueprint, space: Space, arcs: Sequence[str], quality: float
    ) -> None:
        drops = DropObservation(space.stitches(arcs), space.promised(arcs), quality)
        self.observations[blueprint] = drops
        self.drops = DropModel.fit(tuple(self.observations.values()))

    def _learn_int8(self, trial: Trial, space: Space) -> None:
        """Latency beyond all that is float goes to its int8 blocks; quality in float is known."""
        arcs, candidate = trial.assembly.arcs, trial.candidate
        judged = candidate.judged.int8
        assert judged is not None, "a network with int8 blocks is judged beside its float form"
        predicted = space.int8_latency(arcs).upper_us
        others = space.latency(arcs, self.residual).upper_us - predicted
        blueprint = candidate.blueprint
        self.int8[blueprint] = Int8Seen(
            donors=tuple(dict.fromkeys(s.model for s in blueprint.segments if s.int8)),
            predicted_us=predicted,
            measured_us=candidate.latency.upper_us - others,
            predicted_error=space.int8_error(arcs),
            measured_error=1.0 - judged.cosine,
            passed=not judged.faults,
        )
        if blueprint.stitches:
            in_float = blueprint.in_float
            quality = min(1.0, trial.quality + judged.drop)
            self._learn_drops(in_float, space, space.in_float(arcs), quality)

    def failed(self, trial: Trial) -> None:
        """A network with int8 blocks that did not pass its verification."""
        blueprint = trial.candidate.blueprint
        self.int8[blueprint] = replace(self.int8[blueprint], passed=False)


def predicted_on(
    targets: Sequence[str], arcs: Sequence[str], space: Space, believed: Believed
) -> tuple[tuple[str, Interval], ...]:
    """The latency of a path on other targets, by target."""
    known = dict(believed.elsewhere)
    return tuple(
        (target, space.latency_on(target, arcs, known.get(target, NO_RESIDUAL)))
        for target in targets
    )


def _beyond(predicted: Interval, measured: Measurement, stitches: int) -> Interval:
    """What each of the stitches cost beyond prediction."""
    return Interval(
        (measured.median_us - predicted.median_us) / stitches,
        (measured.upper_us - predicted.upper_us) / stitches,
    )


def _typical(seen: Collection[Interval]) -> Interval:
    """The median of what was seen, and for the upper end its third quartile."""
    if not seen:
        return NO_RESIDUAL
    middle = float(np.median([residual.median_us for residual in seen]))
    upper = float(np.quantile([residual.upper_us for residual in seen], 0.75))
    return Interval(middle, max(middle, upper))
