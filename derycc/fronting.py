"""The front: the best network that the zoo's model knows for every latency of a range."""

from dataclasses import dataclass, replace
from functools import partial

from compiler.belief import predicted_on
from compiler.believed import Believed
from compiler.front import FrontPoint, front
from compiler.latency_model import Interval
from compiler.network import Blueprint
from compiler.refusal import Question, refusal
from compiler.tries import TIME_LIMIT_S
from compiler.workbench import Workbench
from derycc.alone import DonorAlone, donors_alone
from derycc.building import Request, limits
from derycc.session import labelled
from targets.budget import LATENCY, Latency
from targets.errors import InfeasibleError, UndecidedError, UsageError

NO_LEAST = (
    "--min-quality has no front: the front tells the best quality at every latency. Leave it out, "
    "and read the latency that your quality needs from the table."
)


@dataclass(frozen=True, slots=True)
class FrontRow:
    """One network of the front; all of it is predicted.

    Attributes:
        limit_us: the least budget at which it is the best; with `points`, the budget.
        latency: its prediction.
        quality: what is expected of it on the calibration photographs.
        network: what it is made of.
        proven: whether no network within the budget is expected to be better.
        elsewhere: the prediction on other targets, by target.
    """

    limit_us: float
    latency: Interval
    quality: float
    network: Blueprint
    proven: bool
    elsewhere: tuple[tuple[str, Interval], ...] = ()


@dataclass(frozen=True, slots=True)
class Front:
    """The answers to a row of budgets, and the donors beside them.

    Attributes:
        low_us: the least budget asked for.
        high_us: the largest.
        points: budgets between them; None: every budget at which the answer changes.
        rows: by rising budget; budgets that nothing is within have none.
        donors: measured, fastest first.
        score: what quality is: "top-1", or "agreement" where there are no labels.
        below_us: solving ran out of time: no budget up to this one was decided; None: all were.
    """

    low_us: float
    high_us: float
    points: int | None
    rows: tuple[FrontRow, ...]
    donors: tuple[DonorAlone, ...]
    score: str
    below_us: float | None = None

    @property
    def proven(self) -> bool:
        """Whether every point is, and no other was left out."""
        return self.below_us is None and all(row.proven for row in self.rows)


def draw_front(
    bench: Workbench,
    request: Request,
    span: tuple[Latency, Latency],
    points: int | None,
    seconds: float = TIME_LIMIT_S,
) -> Front:
    """Solve for every budget of a range; builds and measures no network.

    Args:
        bench: the zoo on its target; what is not measured of its blocks is measured now.
        request: all limits but the one on latency; those on the latency elsewhere hold.
        span: the least and the largest latency.
        points: so many budgets; None: all at which the answer changes.
        seconds: for solving.

    Raises:
        UsageError: a least quality is asked for.
        UndecidedError: time ran out before anything was found.
        InfeasibleError: nothing is within the largest latency; says the fastest possible.
    """
    if request.budget.min_quality is not None:
        raise UsageError(NO_LEAST)
    low, high = span
    asked = replace(limits(request, bench), latency_us=high.us)
    belief = bench.belief()
    loop = bench.loop(belief)
    bench.progress.start("solving for the front", None)
    problem = loop.problem(asked)
    found = front(problem, LATENCY, low.us, high.us, points=points, time_limit_s=seconds)
    bench.progress.finish()
    if not found.points and found.below is not None:
        raise UndecidedError(_no_time(high, seconds))
    if not found.points:
        question = Question(loop.problem, bench.space.blueprint, here=loop.here)
        raise InfeasibleError(refusal(question, asked))
    rows = tuple(map(partial(_row, bench=bench, believed=belief.now), found.points))
    donors = donors_alone(bench, asked)
    score = "top-1" if labelled(bench.photographs.calibration) else "agreement"
    return Front(low.us, high.us, points, rows, donors, score, found.below)


def _no_time(high: Latency, seconds: float) -> str:
    return (
        f"The solver found no network within {high} in {seconds:.4g} s, and no proof that there is "
        "none. Allow more --time-limit, or use fewer donors or input sizes."
    )


def _row(point: FrontPoint, bench: Workbench, believed: Believed) -> FrontRow:
    arcs, space = point.assembly.arcs, bench.space
    return FrontRow(
        limit_us=point.limit,
        latency=space.latency(arcs, believed.here),
        quality=space.expected(arcs, believed.drops),
        network=space.blueprint(arcs),
        proven=point.assembly.status == "optimal",
        elsewhere=predicted_on([str(b.target) for b in bench.elsewhere], arcs, space, believed),
    )
