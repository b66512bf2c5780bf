"""Schema 2: rounds have room for memory, energy and contention; fingerprints know no target name.

Until then the target's name and precisions were part of a fingerprint. Now environments that differ
in these alone are one: their rounds and sentinels are put together under the new fingerprint.
"""

import hashlib
import json
from collections import defaultdict
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "schema_2"
down_revision = "schema_1"

_INFORMATIVE = frozenset({"kernel", "precisions", "python", "target", "temperature_c"})
_LEFT_OUT_IF_UNKNOWN = frozenset({"power_mode"})

_environments = sa.table(
    "environments",
    sa.column("fingerprint", sa.String),
    sa.column("content", sa.JSON),
    sa.column("first_seen", sa.DateTime(timezone=True)),
)
_rounds = sa.table(
    "rounds",
    sa.column("id", sa.Integer),
    sa.column("key", sa.String),
    sa.column("environment", sa.String),
    sa.column("protocol", sa.String),
    sa.column("index", sa.Integer),
)
_sentinels = sa.table("sentinels", sa.column("environment", sa.String))
_schema_version = sa.table("schema_version", sa.column("version", sa.Integer))


def upgrade() -> None:
    """Adds the columns and rewrites the fingerprints."""
    op.add_column("rounds", sa.Column("peak_bytes", sa.BigInteger))
    op.add_column("rounds", sa.Column("joules", sa.Float))
    op.add_column("rounds", sa.Column("contention", sa.Float))
    connection = op.get_bind()
    for fingerprint, old in _by_new_fingerprint(connection).items():
        _unite(connection, fingerprint, old)
    connection.execute(sa.update(_schema_version).values(version=2))


def _fingerprint(content: dict[str, Any]) -> str:
    """The rule of schema 2, as it was then."""
    binding = {
        name: value
        for name, value in content.items()
        if name not in _INFORMATIVE and (name not in _LEFT_OUT_IF_UNKNOWN or value is not None)
    }
    return hashlib.sha256(json.dumps(binding, sort_keys=True).encode()).hexdigest()[:16]


def _by_new_fingerprint(connection: sa.Connection) -> dict[str, list[Any]]:
    """The environments that have each fingerprint from now on, oldest first."""
    found = defaultdict(list)
    query = sa.select(_environments).order_by(
        _environments.c.first_seen, _environments.c.fingerprint
    )
    for row in connection.execute(query):
        found[_fingerprint(row.content)].append(row)
    return found


def _unite(connection: sa.Connection, fingerprint: str, old: list[Any]) -> None:
    """Puts all that was measured in these environments under one, described as the oldest was."""
    # What already has the new fingerprint keeps its indices, so it comes first.
    olds = sorted((row.fingerprint for row in old), key=lambda name: name != fingerprint)
    if olds == [fingerprint]:
        return
    if fingerprint not in olds:
        first = {"content": old[0].content, "first_seen": old[0].first_seen}
        connection.execute(sa.insert(_environments).values(fingerprint=fingerprint, **first))
    taken: dict[tuple[str, str], int] = defaultdict(int)
    for environment in olds:
        _move(connection, environment, fingerprint, taken)
        connection.execute(
            sa.update(_sentinels)
            .where(_sentinels.c.environment == environment)
            .values(environment=fingerprint)
        )
    gone = [name for name in olds if name != fingerprint]
    connection.execute(sa.delete(_environments).where(_environments.c.fingerprint.in_(gone)))


def _move(
    connection: sa.Connection, environment: str, fingerprint: str, taken: dict[tuple[str, str], int]
) -> None:
    """Moves rounds behind those that are there; `taken` counts indices by model and protocol."""
    query = sa.select(_rounds).where(_rounds.c.environment == environment).order_by(_rounds.c.id)
    before = dict(taken)
    for row in connection.execute(query).all():
        series = (row.key, row.protocol)
        index = before.get(series, 0) + row._mapping["index"]  # a tuple has an `index` of its own
        taken[series] = max(taken[series], index + 1)
        connection.execute(
            sa.update(_rounds)
            .where(_rounds.c.id == row.id)
            .values({"environment": fingerprint, "index": index})
        )
