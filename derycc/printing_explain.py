"""Printing of explanations: why a build is the network it is."""

from dataclasses import asdict
from typing import Any

from rich.table import Table

from compiler.explanation import QUALITY, Bound, Offer, bound_text
from derycc.console import milliseconds, percent, table
from derycc.explaining import Explained
from derycc.manifest import Tried
from derycc.printing_front import donors_data
from targets.amounts import amount_text, enough_text


def waterfall_table(explained: Explained) -> Table:
    """Latency and quality by segment and stitch, with their sums."""
    rows: list[tuple[str, ...]] = []
    median_us = upper_us = quality = 0.0
    elsewhere_us = dict.fromkeys((target for target, _ in explained.budget.elsewhere), 0.0)
    for piece in explained.explanation.pieces:
        for target, latency in piece.elsewhere:
            elsewhere_us[target] += latency.upper_us
        median_us += piece.latency.median_us
        upper_us += piece.latency.upper_us
        quality += piece.quality
        rows.append(
            (
                piece.kind,
                piece.name,
                milliseconds(piece.latency.median_us),
                milliseconds(upper_us),
                *map(milliseconds, elsewhere_us.values()),
                _points(piece.quality),
                percent(quality),
            )
        )
    sums = tuple(map(milliseconds, (median_us, upper_us, *elsewhere_us.values())))
    rows.append(("", "all", *sums, "", percent(quality)))
    others = (f">upper end so far on {target}" for target in elsewhere_us)
    latencies = (">latency", ">upper end so far", *others)
    columns = ("", "part", *latencies, ">quality", ">quality so far")
    return table("Where latency goes and quality comes from (predicted)", columns, rows)


def bounds_table(explained: Explained) -> Table:
    """Every limit, and what there would be without it."""
    columns = ("limit", ">asked", ">predicted", "binds", "without it")
    rows = [_bound(bound) for bound in explained.explanation.bounds]
    return table("Limits", columns, rows)


def prices_table(explained: Explained) -> Table:
    """What there is for a little less and a little more."""
    found = explained.explanation
    columns = (">asked", ">expected quality", ">upper end", "network")
    rows = [
        (_amount(found.varied, offer.asked), *_offered(offer), _known(offer, explained))
        for offer in found.prices
    ]
    return table(f"The price of {_varied(found.varied)}", columns, rows)


def explain_lines(explained: Explained) -> list[str]:
    """The rest, in sentences."""
    lines = [_price_line(explained), *_choice_lines(explained)]
    if explained.changed:
        lines.append("Costs have been measured anew since it was built; this is by the new ones.")
    lines += [f"Warning: {text}" for text in explained.manifest.warnings]
    return [line for line in lines if line]


def _choice_lines(explained: Explained) -> list[str]:
    """What the answer was chosen before, and what decided."""
    found, choice = explained.explanation, explained.manifest.choice
    score = explained.manifest.dery.score if explained.manifest.dery else None
    score = choice.score if choice else score
    if score not in (None, "quality"):
        return [f"It was chosen by {score}; all of this is about the quality that is expected."]
    own = [one.name for one in found.bounds if one.binds]
    lines = [_runner_up(explained)]
    if own:
        lines.append(f"What decides: {', '.join(map(bound_text, own))}.")
    if found.best.network != explained.manifest.tried[0].network:
        lines.append(
            f"The model's first choice is another network ({_known(found.best, explained)}); the "
            "build decides by measurement."
        )
    elif not own:
        lines.append(
            "No single limit decides: without any one of them the answer would be the same."
        )
    return lines


def _known(offer: Offer, explained: Explained) -> str:
    """A network in words, with what was measured of it, if it was built and does not do."""
    tried = _tried(offer, explained)
    if tried is None or tried.within_budget:
        return offer.network or "none"
    upper = milliseconds(tried.measured_upper_us)
    return f"{offer.network}: it was built, and is not within the limits ({upper} measured)"


def _tried(offer: Offer, explained: Explained) -> Tried | None:
    """What the build measured of a network; None where it did not build it."""
    return {one.network: one for one in explained.manifest.tried}.get(offer.network)


def explain_data(explained: Explained) -> dict[str, Any]:
    """For `--json`."""
    certificate = explained.manifest.certificate
    return {
        "network": [asdict(segment) for segment in explained.manifest.network.segments],
        "budget": asdict(explained.budget),
        **asdict(explained.explanation),
        "donors": donors_data(explained.donors),
        "costs_changed": explained.changed,
        "warnings": list(explained.manifest.warnings),
        "certificate": asdict(certificate) if certificate else None,
    }


def _bound(bound: Bound) -> tuple[str, ...]:
    offer = bound.without
    gain = f"{percent(offer.quality)} at {_upper(offer)}" if offer.found else "none"
    return (
        bound_text(bound.name),
        _amount(bound.name, bound.asked),
        "-" if bound.used is None else enough_text(bound.name, bound.used),
        "yes" if bound.binds else "no",
        gain,
    )


def _price_line(explained: Explained) -> str:
    """Quality for a millisecond, on both sides of the budget."""
    found = explained.explanation
    offers = [offer for offer in found.prices if offer.quality is not None]
    if found.varied != "latency_us" or len(offers) < 2:
        return ""
    first, last = offers[0], offers[-1]
    gain = (last.quality or 0.0) - (first.quality or 0.0)
    span_ms = ((last.asked or 0.0) - (first.asked or 0.0)) / 1000
    return (
        f"A millisecond is worth about {100 * gain / span_ms:.2f} points of quality around this "
        f"budget (from {milliseconds(first.asked)} to {milliseconds(last.asked)})."
    )


def _runner_up(explained: Explained) -> str:
    offer = explained.explanation.runner_up
    if offer.quality is None or offer.latency is None:
        return "There is no runner-up: no other network is within the limits."
    pieces = explained.explanation.pieces
    lost = sum(piece.quality for piece in pieces) - offer.quality
    upper_us = sum(piece.latency.upper_us for piece in pieces)
    slower = offer.latency.upper_us - upper_us
    tried, known = _tried(offer, explained), ""
    if tried is not None:
        kept = "" if tried.within_budget else ", which is not within the limits"
        upper = milliseconds(tried.measured_upper_us)
        known = f" It was built: quality {percent(tried.quality)} and {upper} measured{kept}."
    return (
        f"Runner-up: {offer.network}, {_points(-lost)} of quality and "
        f"{slower / 1000:+.3f} ms beside it.{known}"
    )


def _varied(name: str | None) -> str:
    if name == QUALITY:
        return "quality"
    return "nothing: there is no limit" if name is None else bound_text(name)


def _amount(name: str | None, amount: float | None) -> str:
    if amount is None or name is None:
        return "-"
    return percent(amount) if name == QUALITY else amount_text(name, amount)


def _offered(offer: Offer) -> tuple[str, str]:
    return percent(offer.quality), _upper(offer)


def _upper(offer: Offer) -> str:
    return milliseconds(offer.latency.upper_us if offer.latency else None)


def _points(share: float) -> str:
    return f"{round(100 * share, 1) + 0.0:+.1f} points"
