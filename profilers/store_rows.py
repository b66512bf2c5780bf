"""From a store's rows to a measurement: which rounds count, and how drift is corrected."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, and_, func, select

from profilers.environment import Environment
from profilers.measurement import Measurement
from profilers.selection import SENTINELS
from profilers.tables import rounds, sentinels

DRIFT = 0.02
"""A session whose sentinel differs by more than this share from the usual one is rescaled."""
MAX_DRIFT = 0.2
"""Beyond this share a session is left as it is, and what was measured in it is labelled noisy."""

_Number = TypeVar("_Number", int, float)


def scales(connection: Connection, environment: Environment) -> dict[str, float]:
    """For each session whose sentinel drifted, the factor that would take its samples back.

    Usual is the median session among those whose rounds are used: rounds of older generations tell
    of a machine that was given up. Drift shows at the round's beginning, middle and end alike. A
    sentinel that is now slower, now faster than usual is noise, to which a correction would only
    add; one that was read less often, because its round was cut short, tells nothing of drift.
    """
    factors = {}
    for sessions in _sentinels(connection, environment).values():
        usual = median(median(seconds) for seconds in sessions.values())
        for session, seconds in sessions.items():
            if min(seconds) > usual * (1 + DRIFT) or max(seconds) < usual * (1 - DRIFT):
                factors[session] = usual / median(seconds)
    return factors


def _sentinels(
    connection: Connection, environment: Environment
) -> dict[str, dict[str, list[float]]]:
    """Seconds of the sentinel by protocol and session, of whole rounds that are used."""
    here = rounds.c.environment == environment.fingerprint
    newest = (
        select(rounds.c.key, rounds.c.protocol, func.max(rounds.c.generation).label("generation"))
        .where(here)
        .group_by(rounds.c.key, rounds.c.protocol)
        .subquery()
    )
    same = (rounds.c[name] == newest.c[name] for name in ("key", "protocol", "generation"))
    used = select(rounds.c.protocol, rounds.c.session).join(newest, and_(*same)).where(here)
    sessions = {tuple(row) for row in connection.execute(used.distinct())}
    query = select(sentinels.c.protocol, sentinels.c.session, sentinels.c.seconds).where(
        sentinels.c.environment == environment.fingerprint
    )
    read: dict[tuple[str, str], list[float]] = defaultdict(list)
    for protocol, session, seconds in connection.execute(query):
        if (protocol, session) in sessions:
            read[protocol, session].append(seconds)
    found: dict[str, dict[str, list[float]]] = defaultdict(dict)
    for (protocol, session), times in read.items():
        if len(times) >= SENTINELS:
            found[protocol][session] = times
    return found


def measurement(rows: Sequence[Row[Any]], scales: dict[str, float]) -> Measurement:
    """The newest generation of one model's rounds under the protocol of the last of them.

    A session that drifted by more than `MAX_DRIFT` tells of another state of the machine, which no
    factor describes: its rounds stay as they are, and the measurement says so.

    Args:
        rows: Rounds of one model and environment with the model's name, in the order of time.
        scales: From `scales`.
    """
    last = rows[-1]
    newest = max(row.generation for row in rows if row.protocol == last.protocol)
    used = [row for row in rows if (row.protocol, row.generation) == (last.protocol, newest)]
    drifts = [scales.get(row.session, 1.0) for row in used]
    factors = tuple(1.0 if _far(drift) else drift for drift in drifts)
    joules = _known(row.joules for row in used)
    return Measurement(
        key=last.key,
        name=last.name,
        rounds=tuple(tuple(row.samples) for row in used),
        load_seconds=tuple(row.load_seconds for row in used),
        capped=any(row.capped for row in used),
        scales=factors if any(factor != 1.0 for factor in factors) else (),
        peak_bytes=max(_known(row.peak_bytes for row in used), default=None),
        joules=median(joules) if joules else None,
        contention=max(_known(row.contention for row in used), default=None),
        drift=max((abs(1 / drift - 1) for drift in drifts if _far(drift)), default=None),
    )


def _far(factor: float) -> bool:
    return not 1 / (1 + MAX_DRIFT) <= factor <= 1 + MAX_DRIFT


def _known(values: Iterable[_Number | None]) -> list[_Number]:
    return [value for value in values if value is not None]
