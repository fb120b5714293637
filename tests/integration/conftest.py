"""Fixtures of the tests that need a database or a broker."""

from __future__ import annotations

from support.servers import postgres_server, redis_server

__all__ = ["postgres_server", "redis_server"]
