"""Schema 1: environments, models, rounds and sentinels."""

import sqlalchemy as sa
from alembic import op

revision = "schema_1"
down_revision = None


def upgrade() -> None:
    """Makes the tables as the first stores have them."""
    op.create_table("schema_version", sa.Column("version", sa.Integer, primary_key=True))
    op.create_table(
        "environments",
        sa.Column("fingerprint", sa.String(64), primary_key=True),
        sa.Column("content", sa.JSON, nullable=False),
        sa.Column("first_seen", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "models",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("name", sa.String, nullable=False),
    )
    op.create_table(
        "rounds",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("key", sa.String(64), sa.ForeignKey("models.key"), nullable=False),
        _environment(),
        sa.Column("protocol", sa.String(64), nullable=False),
        sa.Column("index", sa.Integer, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("session", sa.String(64), nullable=False),
        sa.Column("samples", sa.JSON, nullable=False),
        sa.Column("load_seconds", sa.Float, nullable=False),
        sa.Column("capped", sa.Boolean, nullable=False),
        sa.Column("measured", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("key", "environment", "protocol", "index"),
    )
    op.create_table(
        "sentinels",
        sa.Column("id", sa.Integer, primary_key=True),
        _environment(),
        sa.Column("protocol", sa.String(64), nullable=False),
        sa.Column("session", sa.String(64), nullable=False, index=True),
        sa.Column("seconds", sa.Float, nullable=False),
    )
    op.bulk_insert(sa.table("schema_version", sa.column("version", sa.Integer)), [{"version": 1}])


def _environment() -> sa.Column[str]:
    refers = sa.ForeignKey("environments.fingerprint")
    return sa.Column("environment", sa.String(64), refers, nullable=False)
