"""Fixtures of the tests that need a database or a broker."""

from __future__ import annotations

from support.servers import postgres_server, redis_server
from support.stores import clock, database_url, store

__all__ = ["clock", "database_url", "postgres_server", "redis_server", "store"]
