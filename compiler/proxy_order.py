"""Proxy order: assemblies within the budgets, built, and ranked by a zero-cost proxy."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum
from time import monotonic

import torch
from torch import Tensor

from compiler.assembly import Assembly, assemble, k_best
from compiler.belief import Belief
from compiler.believed import Believed
from compiler.candidates import Candidates
from compiler.elsewhere import NO_RESIDUAL
from compiler.images import ImageSet
from compiler.preprocessing import Preprocessing
from compiler.problem import Problem
from compiler.progress import Progress
from compiler.proxies import Proxy
from compiler.scored_search import Order, Promise, Scored
from compiler.search_space import Space
from compiler.trial import Trial
from compiler.tries import LEAST_SOLVE_S, TIME_LIMIT_S
from compiler.views import BATCH, Views
from targets.budget import Budget
from targets.errors import DataError

MOST_SCORED = 64
"""Where more assemblies than this are within the budgets, those of highest expected quality are
scored, and no others."""

BATCHES = 5
"""Batches of 32 images that a network is scored on, as in DeRy."""


@dataclass(frozen=True, slots=True)
class Enumeration:
    """The assemblies within the limits, by expected quality.

    Attributes:
        assemblies: the best first.
        complete: proven that there are no others.
    """

    assemblies: tuple[Assembly, ...]
    complete: bool


def check_labels(proxy: Proxy, images: ImageSet) -> None:
    """Refuse a proxy that needs labels where there are none.

    Raises:
        DataError: says which need none.
    """
    if proxy.needs_labels and images.labels is None:
        raise DataError(
            f"The score '{proxy.name}' needs labels, and the photographs have none. Give labelled "
            "ones with --data, or take --score naswot, jacov or synflow."
        )


def enumerate_assemblies(
    space: Space,
    limits: Budget,
    belief: Belief,
    most: int = MOST_SCORED,
    seed: int = 0,
    seconds: float = TIME_LIMIT_S,
) -> Enumeration:
    """All assemblies within the limits, or the `most` of highest expected quality."""
    problem = space.problem(limits, belief.now)
    start = monotonic()
    found = k_best(problem, most, time_limit_s=seconds, seed=seed)
    known = [frozenset(answer.arcs) for answer in found]
    left = max(LEAST_SOLVE_S, start + seconds - monotonic())
    beyond = assemble(problem, time_limit_s=left, seed=seed, forbid=known)
    return Enumeration(found, beyond.status == "infeasible")


class ProxyOrder(Order):
    """By a zero-cost proxy, which knows the network as a whole and adds along no path.

    A score that is not finite (of images that no activation tells apart, or of sums beyond all
    numbers) says nothing for a network: it counts as minus infinity, and comes last.

    What is enumerated and scored is so under the first limits asked for; what is learned of
    latency by then leaves out candidates later, and brings none in.
    """

    def __init__(
        self,
        space: Space,
        proxy: Proxy,
        candidates: Candidates,
        progress: Progress,
        seed: int = 0,
        most: int = MOST_SCORED,
    ) -> None:
        """Take the parts.

        Args:
            space: the networks.
            proxy: what they are scored by.
            candidates: builds them; the calibration photographs of these are shown to the proxy.
            progress: told of every network that is scored.
            seed: of the choice of photographs, and of the solver.
            most: networks to score.
        """
        self.enumerated = Enumeration((), False)
        self._space = space
        self._proxy = proxy
        self._candidates = candidates
        self._progress = progress
        self._seed = seed
        self._most = most
        self._ranking: tuple[Scored, ...] | None = None
        self._first: Believed | None = None

    def best(
        self, limits: Budget, belief: Belief, tried: Sequence[Trial], seconds: float = TIME_LIMIT_S
    ) -> Scored | None:
        """The best-scored of those not tried that are still predicted to be within the limits."""
        if self._ranking is None:
            self._first = belief.now
            self._ranking = self._ranked(limits, belief, seconds)
        done = {trial.assembly.arcs for trial in tried}
        left = [scored for scored in self._ranking if scored.assembly.arcs not in done]
        problem = self._space.problem(limits, belief.now) if left else None
        return next((one for one in left if problem and self._fits(one.assembly, problem)), None)

    def promise(
        self, limits: Budget, belief: Belief, tried: Sequence[Trial], seconds: float = TIME_LIMIT_S
    ) -> Promise:
        """Proven where all networks were scored, and stitches are nowhere thought faster since."""
        found = self.best(limits, belief, tried, seconds)
        assert self._first is not None, "the ranking notes what was believed"
        if not self.enumerated.complete or _is_faster(belief.now, self._first):
            return Promise(None, "unknown")
        return Promise(None, "infeasible") if found is None else Promise(found.score, "optimal")

    def _fits(self, assembly: Assembly, problem: Problem) -> bool:
        """Whether a network keeps all limits, by what is believed now.

        A block that the problem has no more needs more memory by itself than there is. A gate that
        it has no more was only of use to such blocks.
        """
        known = {arc.id: arc for arc in problem.arcs}
        if not all(name in known for name, _ in self._space.steps(assembly.arcs)):
            return False
        path = [known[arc] for arc in assembly.arcs if arc in known]
        return all(fsum(arc.cost(name) for arc in path) <= limit for name, limit in problem.limits)

    def _ranked(self, limits: Budget, belief: Belief, seconds: float) -> tuple[Scored, ...]:
        """Equal scores stay in the order of expected quality."""
        self.enumerated = enumerate_assemblies(
            self._space, limits, belief, self._most, self._seed, seconds
        )
        found = self.enumerated.assemblies
        self._progress.start(
            f"building networks and scoring them by {self._proxy.name}", len(found)
        )
        scored = []
        for done, assembly in enumerate(found):
            self._progress.update(done, str(self._space.blueprint(assembly.arcs)))
            scored.append(Scored(assembly, self._score(assembly)))
        self._progress.finish()
        return tuple(sorted(scored, key=lambda one: -one.score))

    def _score(self, assembly: Assembly) -> float:
        network = self._candidates.network(self._space.blueprint(assembly.arcs))
        images = self._candidates.photographs.calibration
        shown = proxy_batches(images, network.preprocessing, self._seed)
        score = self._proxy.value(network, *shown)
        return score if math.isfinite(score) else -math.inf


def _is_faster(now: Believed, before: Believed) -> bool:
    """Whether stitches are thought to cost less on any target than they were."""
    was = dict(before.elsewhere)
    return now.residual.upper_us < before.residual.upper_us or any(
        residual.upper_us < was.get(target, NO_RESIDUAL).upper_us
        for target, residual in now.elsewhere
    )


def proxy_batches(
    images: ImageSet, preprocessing: Preprocessing, seed: int
) -> tuple[list[Tensor], list[Tensor] | None]:
    """Normalized batches (32, 3, S, S) of images drawn without replacement, and their labels.

    Up to five batches; one smaller batch where there are fewer than 32 images.
    """
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))
    count = min(BATCHES * BATCH, len(images) // BATCH * BATCH) or len(images)
    drawn = images.subset(order[:count].tolist())
    batches = [preprocessing.normalize(pixels) for pixels in Views(drawn, preprocessing)]
    if drawn.labels is None:
        return batches, None
    return batches, list(torch.split(torch.tensor(drawn.labels), BATCH))
