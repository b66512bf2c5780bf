"""Alembic's steps from one schema of the cost store to the next; each is frozen once released."""
