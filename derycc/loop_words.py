"""How a search went, in words: its certificate, and a line for every candidate."""

from collections.abc import Sequence
from dataclasses import fields
from itertools import pairwise

from compiler.certificate import Certificate, Met, Standing
from derycc.console import milliseconds, percent
from derycc.manifest_asked import Beliefs
from derycc.manifest_loop import Again, Round

ROUND_COLUMNS = (
    "solve",
    "network",
    "solver",
    "predicted (upper end)",
    "measured (upper end)",
    "expected",
    "quality",
    "within limits",
    "learned",
    "seconds",
)

_STOPPED = {
    "settled": "nothing better was promised any more",
    "no gain": "several candidates in a row were no better",
    "nothing left": "no other network is predicted to be within the limits",
    "candidates": "as many candidates were built as were asked for (--candidates)",
    "time": "no other candidate was expected to be finished in time (--build-seconds)",
    "solver": "the solver found no other network in its time, and no proof that there is none",
}

_LEARNED = {"drop_slope": "drop slope", "stitch_us": "stitch us", "stitch_upper_us": "to us"}
"""What numbers of a belief are called; the others have their own names."""


def certificate_lines(certificate: Certificate) -> list[str]:
    """What was proven, by which measurement the budget is met, and why the search stopped."""
    withdrawn = (
        f" {certificate.withdrawn} of them kept the limits at first and not when measured anew."
        if certificate.withdrawn
        else ""
    )
    networks = "network" if certificate.measured == 1 else "networks"
    changed = certificate.stopped == "settled" and certificate.holds != "strict"
    then = ", until this one was measured anew" if changed else ""
    return [
        f"Certificate: {certificate.holds}. {_promise(certificate)}",
        _met(certificate.met),
        *(f"On {target}: {_met(met)}" for target, met in certificate.elsewhere),
        f"The search ended after {certificate.measured} measured {networks}: "
        f"{_STOPPED[certificate.stopped]}{then}.{withdrawn}",
    ]


def certificate_cell(certificate: Certificate) -> str:
    """The same in a cell: `strict`, or what else is promised."""
    stands = certificate.standing
    if certificate.holds == "strict" or stands.gain is None:
        return certificate.holds
    return f"{certificate.holds} (+{_amount(stands, stands.gain)})"


def round_rows(rounds: Sequence[Round]) -> list[tuple[str, ...]]:
    """A row for every candidate, in the order of `ROUND_COLUMNS`."""
    return [
        (
            str(one.number) if one.number else "whole donor",
            one.network,
            f"{one.answer.status}, {one.answer.seconds:.2f} s",
            f"{milliseconds(one.predicted_us)} ({milliseconds(one.predicted_upper_us)})",
            _measured(one.measured_us, one.measured_interval_us, one.noisy),
            percent(one.expected),
            percent(one.quality),
            _within(one.within_limits, one.again),
            learned(before, one.learned),
            f"{one.seconds:.1f}",
        )
        for one, before in zip(rounds, _known(rounds), strict=True)
    ]


def _known(rounds: Sequence[Round]) -> list[Beliefs | None]:
    """What was believed just before each candidate; of several a round, not what chose it."""
    first = [one.before for one in rounds[:1]]
    pairs = pairwise(rounds)
    return [*first, *(last.learned or one.before for last, one in pairs)]


def learned(before: Beliefs | None, after: Beliefs | None) -> str:
    """The numbers of a belief that have changed."""
    if before is None or after is None:
        return ""
    old, new = _numbers(before), _numbers(after)
    found = [
        f"{_LEARNED.get(name, name)} {old.get(name, 0.0):.3g} to {amount:.3g}"
        for name, amount in new.items()
        if amount != old.get(name, 0.0)
    ]
    return ", ".join(found) or "nothing new"


def _numbers(belief: Beliefs) -> dict[str, float]:
    """The numbers of a belief by name, those of its tables among them."""
    found: dict[str, float] = {}
    for field in fields(belief):
        value = getattr(belief, field.name)
        items = value.items() if isinstance(value, dict) else ((field.name, value),)
        found |= {name: amount for name, amount in items if isinstance(amount, float)}
    return found


def _promise(certificate: Certificate) -> str:
    stands = certificate.standing
    if stands.promised is None or stands.reached is None or stands.gain is None:
        return _promised_nothing(certificate)
    reached, promised = _amount(stands, stands.reached), _amount(stands, stands.promised)
    bound = {"optimal": "proven"}.get(stands.proof, "a bound, which no network need reach")
    if certificate.holds == "strict":
        return (
            f"No network that was not measured is promised to be better than this one's {reached} "
            f"{_kind(stands)}: the best promise is {promised} ({bound})."
        )
    beyond = "no more than" if certificate.holds == "within interval" else "more than"
    side = "down to" if stands.goal == "latency_us" else "up to"
    measured = "" if stands.goal == "score" else "measured "
    return (
        f"Networks that were not measured are promised {side} {promised} ({bound}); this one's "
        f"{measured}{_kind(stands)} is {reached}. The difference of {_amount(stands, stands.gain)} "
        f"is {beyond} the interval of such a promise, {_amount(stands, certificate.interval)}."
    )


def _promised_nothing(certificate: Certificate) -> str:
    stands = certificate.standing
    if certificate.holds == "strict":
        score = " and to have a finite score" if stands.goal == "score" else ""
        return f"No other network is predicted to be within the limits{score}."
    if stands.promised is not None:
        return (
            f"Networks that were not measured are promised up to {_amount(stands, stands.promised)}"
            "; this one's score is not finite, which is worse than any other."
        )
    return "Nothing is proven of the networks that were not measured."


def _met(met: Met) -> str:
    measured = (
        f"{milliseconds(met.upper_us)} at the upper end (median {milliseconds(met.median_us)}, "
        f"{met.samples} samples, taken anew after the choice)"
    )
    noise = "" if met.noise is None else f" That measurement is noisy: {met.noise}."
    if met.budget_us is None:
        return f"Measured latency: {measured}; there is no budget for it.{noise}"
    return f"The budget of {milliseconds(met.budget_us)} is met by measurement: {measured}.{noise}"


def _kind(stands: Standing) -> str:
    return {"latency_us": "latency (upper end)"}.get(stands.goal, stands.goal)


def _amount(stands: Standing, amount: float) -> str:
    if stands.goal == "quality":
        return percent(amount)
    return milliseconds(amount) if stands.goal == "latency_us" else f"{amount:.6g}"


def _measured(median_us: float, interval_us: tuple[float, float], noisy: bool) -> str:
    noise = ", noisy" if noisy else ""
    return f"{milliseconds(median_us)} ({milliseconds(interval_us[1])}{noise})"


def _within(first: bool, again: Again | None) -> str:
    word = "yes" if first else "no"
    if again is None:
        return word
    latency = _measured(again.measured_us, again.measured_interval_us, again.noisy)
    return f"{word}; anew {latency}: {'yes' if again.kept else 'no'}"
