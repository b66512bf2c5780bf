"""Runs steps on the connection that `migration.upgrade` hands over, inside its transaction.

Alembic executes this file under the name `env_py`; a mere import does nothing.
"""

from alembic import context


def run() -> None:
    """Runs the steps that Alembic was asked for."""
    context.configure(connection=context.config.attributes["connection"])
    context.run_migrations()


if __name__ == "env_py":
    run()
