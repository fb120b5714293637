"""Alembic runs this inside the transaction that `gateway.store.migrate` opened."""

from alembic import context

from gateway.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
