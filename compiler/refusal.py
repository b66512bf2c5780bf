"""Refusals: why no network is within a budget, and which limit would have to give way by how much.

Every limit is lifted by itself, all others kept: where that is enough, the least that would do is
said, rounded up so that asking for exactly that works.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from compiler.assembly import Assembly, assemble, cheapest
from compiler.network import Blueprint
from compiler.problem import Problem
from targets.amounts import WORDS, amount_text, enough_text, least_text, words
from targets.budget import LATENCY, Budget, target_of

FREE = 10**15
"""Bytes that are no limit, where one is needed for the resource to be counted."""

_MEMORY = "memory_bytes"


@dataclass(frozen=True, slots=True)
class Least:
    """The least of a resource that is known to be enough.

    Attributes:
        amount: of the resource.
        network: what costs so much.
        is_proven: whether none costs less; else there was no time to exclude it.
    """

    amount: float
    network: Blueprint
    is_proven: bool

    def text(self, resource: str) -> str:
        """The amount, rounded up; a limit on the least where it is not proven."""
        return least_text(resource, self.amount, self.is_proven)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the solver.

    Attributes:
        problem: the assembly program under a budget.
        blueprint: the network that a path describes.
        excess: factors by which resources are taken to exceed what the problem says.
        here: the target that is searched for; latency is said to be on it where there are others.
    """

    problem: Callable[[Budget], Problem]
    blueprint: Callable[[Sequence[str]], Blueprint]
    excess: Mapping[str, float] = field(default_factory=dict)
    here: str = ""

    def least(self, limits: Budget, resource: str) -> Least | None:
        """The least that a network within all other limits costs of a resource.

        None: there is none, it was not found in time, or nothing costs any of the resource.
        """
        found = self.cheapest(limits, resource)
        if found is None or not found.found:
            return None
        amount = found.cost(resource) * self.excess.get(resource, 1.0)
        return Least(amount, self.blueprint(found.arcs), found.status == "optimal")

    def cheapest(self, limits: Budget, resource: str) -> Assembly | None:
        """The solver's answer to that; None where nothing costs any of the resource."""
        problem = self.problem(lifted(limits, resource))
        return cheapest(problem, resource) if resource in problem.resources else None

    def any(self, limits: Budget) -> Assembly:
        """The best network within limits."""
        return assemble(self.problem(limits))


def lifted(limits: Budget, resource: str) -> Budget:
    """The limits without the one on a resource, which is still counted."""
    return limits.limited(_MEMORY, FREE) if resource == _MEMORY else limits.without(resource)


def without_demands(limits: Budget) -> list[tuple[str, Budget]]:
    """Donors that must, or must not, be there, each in words and with the limits without it."""
    found = []
    for name in limits.required:
        left = tuple(other for other in limits.required if other != name)
        found.append((f"with {name}", replace(limits, required=left)))
    for name in limits.excluded:
        left = tuple(other for other in limits.excluded if other != name)
        found.append((f"without {name}", replace(limits, excluded=left)))
    return found


def refusal(question: Question, limits: Budget) -> str:
    """What to tell a user whose budget no network is within."""
    here = question.here if limits.elsewhere else ""
    others = _single(question, limits)
    latencies = [(name, asked) for name, asked in limits.amounts() if _is_latency(name)]
    ways = [(*one, least) for one in latencies if (least := question.least(limits, one[0]))]
    if ways:
        (name, asked_us, fastest), *rest = ways
        more = [f"{words(one, here)} {least.text(one)}" for one, _, least in rest]
        where = f" on {target_of(name) or here}" if limits.elsewhere else ""
        return _too_fast(limits, asked_us, fastest, [*more, *others], where)
    asked = "; ".join(asked_for(limits, here))
    head = f"No network of this zoo is within the limits asked for ({asked})."
    if others:
        return f"{head} It is enough to change one of them: {'; '.join(others)}."
    alone, is_decided = _alone(question, limits, here)
    if alone:
        return f"{head} Of all networks {'; '.join(alone)}. Ask for that much, or use other donors."
    if not is_decided:
        return f"{head} Time ran out before it was known whether each can be kept. Relax several."
    return f"{head} Each limit can be kept, but no one of them is the reason. Relax several."


def _is_latency(resource: str) -> bool:
    return resource == LATENCY or target_of(resource) is not None


def _too_fast(
    limits: Budget,
    asked_us: float,
    fastest: Least,
    others: list[str],
    where: str,
) -> str:
    within = " within the other limits" if len(asked_for(limits)) > 2 or others else ""
    ways = f", or change one of these: {'; '.join(others)}" if others else ""
    return (
        f"No network of this zoo is predicted to run within {amount_text(LATENCY, asked_us)}"
        f"{where}{within and ' and keep the other limits' if where else ''}. "
        f"The fastest possible{where}{within} takes {fastest.text(LATENCY)} (upper end): "
        f"{fastest.network}. Ask for that much, allow more stitches, or add faster donors{ways}."
    )


def asked_for(limits: Budget, here: str = "") -> list[str]:
    """The limits in words; `here` is the target searched for, where there are others."""
    found = [f"{words(name, here)} {amount_text(name, limit)}" for name, limit in limits.amounts()]
    if limits.donors is not None:
        found.append(f"{WORDS['donors']} {limits.donors}")
    if limits.min_quality is not None:
        found.append(f"quality of at least {100 * limits.min_quality:.4g} %")
    found += [f"with {name}" for name in limits.required]
    return [*found, *(f"without {name}" for name in limits.excluded)]


def _single(question: Question, limits: Budget) -> list[str]:
    """Limits but those on latency that are enough to change by themselves, and to what."""
    found = []
    for name, _ in limits.amounts():
        least = None if _is_latency(name) else question.least(limits, name)
        if least is not None:
            found.append(f"{WORDS[name]} {enough_text(name, least.amount)}")
    return found + _other_single(question, limits)


def _other_single(question: Question, limits: Budget) -> list[str]:
    """The same of what is no resource."""
    found = []
    if limits.donors is not None:
        answer = question.any(replace(limits, donors=None))
        if answer.found:
            count = len(question.blueprint(answer.arcs).donors)
            found.append(f"{WORDS['donors']} {count}")
    if limits.min_quality is not None:
        answer = question.any(replace(limits, min_quality=None))
        if answer.objective is not None:
            found.append(f"quality of at least {_down(answer.objective)} %")
    return found + _donors_single(question, limits)


def _donors_single(question: Question, limits: Budget) -> list[str]:
    """The same of donors that must, or must not, be there."""
    return [
        f"not {demand}"
        for demand, relaxed in without_demands(limits)
        if question.any(relaxed).found
    ]


def _alone(question: Question, limits: Budget, here: str) -> tuple[list[str], bool]:
    """Limits that no network keeps, whatever else it costs; whether it is known of each limit."""
    found, is_decided = [], True
    for name, limit in limits.amounts():
        answer = question.cheapest(Budget(), name)
        if answer is None:
            continue
        amount = answer.cost(name) * question.excess.get(name, 1.0)
        if answer.status == "optimal" and amount > limit:
            found.append(f"the least {words(name, here)} is {enough_text(name, amount)}")
        is_decided &= answer.status in ("optimal", "infeasible") or (
            answer.found and amount <= limit
        )
    return found, is_decided


def _down(share: float) -> str:
    """A percentage to two places, rounded down."""
    return f"{int(share * 10_000) / 100:.2f}".rstrip("0").rstrip(".")
