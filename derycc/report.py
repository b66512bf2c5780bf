"""The report: one HTML page that says of a build what was promised and what was measured."""

from collections.abc import Sequence
from html import escape

from derycc.console import milliseconds, percent
from derycc.loop_words import ROUND_COLUMNS, certificate_lines, round_rows
from derycc.manifest import Latency, Manifest
from derycc.manifest_targets import OnTarget
from derycc.printing import precision_lines, promised_rows
from derycc.printing_choice import choice_lines
from targets.amounts import amount_text

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #1c2430; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .3rem .8rem;
  border-bottom: 1px solid #d8dee6; vertical-align: top } th { font-weight: 600 }
.good { color: #0a7a3c } .bad { color: #b3261e } .note { background: #fff6e0; padding: .6rem 1rem }
"""

_AT_MOST = {
    "params": "{} parameters",
    "macs": "{} MACs",
    "weight_bytes": "{} of weights",
    "memory_bytes": "{} of peak memory",
    "energy_j": "{} an inference",
    "stitches": "{} stitches",
    "donors": "{} donors",
}
"""How a title tells of limits but those on latency."""


def report_html(build: Manifest) -> str:
    """The page, self-contained."""
    title = _title(build)
    also = "".join(f", {one.budget} on {one.target}" for one in build.targets[1:])
    parts = [f"<h1>{escape(f'{title} on {build.target}{also}')}</h1>", _verdict(build.latency)]
    parts += map(_verdict_there, build.targets[1:])
    parts += [f'<p class="note">Warning: {escape(text)}</p>' for text in build.warnings]
    if build.data.caution:
        parts.append(f'<p class="note">{escape(build.data.caution)}</p>')
    if build.network.untrained:
        untrained = ", ".join(build.network.untrained)
        parts.append(f'<p class="note">Untrained (random weights): {escape(untrained)}.</p>')
    parts += [
        _promised(build),
        _network(build),
        _precision(build),
        _sets(build),
        _certificate(build),
    ]
    parts += [_tried(build), _rounds(build), _checked(build)]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>derycc: {escape(title)}</title><style>{_STYLE}</style></head>\n"
        f"<body>\n{body}\n</body></html>\n"
    )


def _title(build: Manifest) -> str:
    """What was asked for: a latency, or what else bounded the search."""
    if build.solver is None:
        return f"A network of a recipe{f' for {build.budget}' if build.budget else ''}"
    least = build.demands.min_quality if build.demands else None
    head = "A network"
    if least is not None:
        head = f"The fastest network of at least {percent(least)} quality"
    if build.budget:
        return f"{head} for {build.budget}"
    bounds = [
        _bound(_AT_MOST[c.resource].format(amount_text(c.resource, c.asked)))
        for c in build.constraints
        if c.asked is not None and c.resource in _AT_MOST
    ]
    joined = " of at most " if least is None else ", at most "
    return f"{head}{joined if bounds else ''}{', '.join(bounds)}"


def _bound(text: str) -> str:
    return {"1 stitches": "1 stitch", "1 donors": "1 donor"}.get(text, text)


def _verdict(latency: Latency) -> str:
    measured = (
        f"{milliseconds(latency.measured_us)} measured, "
        f"{milliseconds(latency.measured_interval_us[1])} at the upper end"
    )
    if latency.budget_us is None:
        return f"<p>It has no budget: {measured}.</p>"
    kept = latency.within_budget
    return (
        f'<p class="{"good" if kept else "bad"}">It {"keeps" if kept else "misses"} its budget: '
        f"{measured}, {milliseconds(latency.budget_us)} allowed.</p>"
    )


def _verdict_there(one: OnTarget) -> str:
    """The same on another target."""
    kept = "keeps" if one.within else "misses"
    return (
        f'<p class="{"good" if one.within else "bad"}">On {escape(one.target)} it {kept} its '
        f"budget: {milliseconds(one.measured_us)} measured, "
        f"{milliseconds(one.measured_interval_us[1])} at the upper end, "
        f"{milliseconds(one.budget_us)} allowed.</p>"
    )


def _table(heading: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<h2>{escape(heading)}</h2>\n<table><tr>{head}</tr>\n{body}</table>"


def _promised(build: Manifest) -> str:
    latency = build.latency
    tail = f"{milliseconds(latency.p90_us)}, {milliseconds(latency.p99_us)}"
    first, *rest = promised_rows(build)
    rows = [first, ("its 90th and 99th percentile", "", "", tail), *rest]
    return _table("Promised and measured", ("", "asked", "predicted", "measured"), rows)


def _network(build: Manifest) -> str:
    licences = {donor.name: donor.licence for donor in build.donors}
    rows = [(s.model, s.start, s.end, licences[s.model]) for s in build.network.segments]
    return _table(
        f"The network: {build.network.input_size} px, {build.network.params:,} parameters, "
        f"{len(build.network.stitches)} stitches",
        ("donor", "from", "to", "licence of the weights"),
        rows,
    )


def _precision(build: Manifest) -> str:
    """Every piece of one precision, with what the engine's kernels say of it."""
    precision, said = build.precision, "\n".join(map(_paragraph, precision_lines(build)))
    if precision is None:
        return said
    rows = [
        (
            piece.model,
            piece.start,
            piece.end,
            piece.asked,
            percent(piece.integer) + ("" if piece.kept else " MISSED"),
        )
        for piece in precision.pieces
    ]
    columns = ("donor", "from", "to", "asked for in", "done by integer kernels")
    return f"{_table('Precision', columns, rows)}\n{said}"


def _paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def _sets(build: Manifest) -> str:
    """Which block of every equivalence set the network has."""
    if build.dery is None:
        return ""
    rows = [
        (str(s.stage), f"{s.model}, {s.first} to {s.last}", str(s.members), s.anchor)
        for s in build.dery.sets
    ]
    return _table(
        f"Equivalence sets, chosen from by {build.dery.score}",
        ("stage", "chosen block", "blocks of the set", "anchor"),
        rows,
    )


def _tried(build: Manifest) -> str:
    if not build.tried:
        return ""
    rows = [
        (
            t.network,
            milliseconds(t.predicted_us),
            f"{milliseconds(t.measured_us)} (to {milliseconds(t.measured_upper_us)})",
            percent(t.expected),
            percent(t.quality),
            "yes" if t.within_budget else "no",
        )
        for t in build.tried
    ]
    columns = ("network", "predicted", "measured", "expected", "quality", "within budget")
    return _table("Candidates that were built and measured", columns, rows)


def _certificate(build: Manifest) -> str:
    """What was proven of networks that were not built."""
    if build.certificate is None:
        return ""
    lines = "\n".join(f"<p>{escape(x)}</p>" for x in certificate_lines(build.certificate))
    return f"<h2>What was proven</h2>\n{lines}"


def _rounds(build: Manifest) -> str:
    if not build.rounds:
        return ""
    return _table("How the search went", ROUND_COLUMNS, round_rows(build.rounds))


def _checked(build: Manifest) -> str:
    v, s = build.verified, build.solver
    rows = [
        (
            "engine against torch",
            f"{v.images} photographs, least cosine {v.cosine:.7f} "
            f"(gate {v.gate}), top-1 agreement {percent(v.top1_agreement)}",
        ),
        (
            "solver",
            f"{s.name}: {s.status}, objective {s.objective:.6f}, bound {s.bound}"
            if s
            else "none: the network was written down by hand",
        ),
        *((("chosen by", " ".join(choice_lines(build.choice, s))),) if build.choice and s else ()),
        *((("the lock", build.replayed.verdict),) if build.replayed else ()),
        ("environment", build.environment),
        *(
            (f"on {one.target}", f"environment {one.environment}, least cosine {one.cosine:.7f}")
            for one in build.targets[1:]
        ),
        (
            "photographs",
            f"{build.data.calibration} to calibrate, {build.data.held_out} held out: "
            f"{build.data.source}",
        ),
    ]
    return _table("Checked", ("what", "result"), rows)
