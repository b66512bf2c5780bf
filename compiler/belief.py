"""Belief: what measured networks have taught of those that are still only predicted."""

from dataclasses import dataclass, field, replace

import numpy as np

from compiler.drop_model import DropModel, DropObservation
from compiler.kept import ENERGY, MEMORY, SCARCE, measured
from compiler.latency_model import Interval
from compiler.network import Blueprint
from compiler.search_space import Space
from compiler.trial import Believed, Trial
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
    """

    drops: DropModel = field(default_factory=DropModel)
    residuals: dict[Blueprint, Interval] = field(default_factory=dict)
    observations: dict[Blueprint, DropObservation] = field(default_factory=dict)
    excess: dict[str, float] = field(default_factory=dict)

    @property
    def residual(self) -> Interval:
        """What a stitch costs beyond its own layer, in microseconds; may be negative.

        The median of what was seen, and for the upper end its third quartile.
        """
        if not self.residuals:
            return Interval(0.0, 0.0)
        seen = self.residuals.values()
        middle = float(np.median([residual.median_us for residual in seen]))
        upper = float(np.quantile([residual.upper_us for residual in seen], 0.75))
        return Interval(middle, max(middle, upper))

    @property
    def now(self) -> Believed:
        """What is believed at this moment."""
        return Believed(self.drops, self.residual, tuple(sorted(self.excess.items())))

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
        self._learn_stitches(trial, space)

    def _learn_stitches(self, trial: Trial, space: Space) -> None:
        """One without any teaches nothing."""
        arcs, latency = trial.assembly.arcs, trial.candidate.latency
        blueprint = trial.candidate.blueprint
        stitches = blueprint.stitches
        if not stitches:
            return
        raw = space.latency(arcs, Interval(0.0, 0.0))
        self.residuals[blueprint] = Interval(
            (latency.median_us - raw.median_us) / stitches,
            (latency.upper_us - raw.upper_us) / stitches,
        )
        drop = space.promised(arcs) - trial.quality
        self.observations[blueprint] = DropObservation(space.unexplained(arcs), drop)
        self.drops = DropModel.fit(tuple(self.observations.values()))
