"""The tables. A change here needs a migration; a test holds the two together."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

OPEN: tuple[sa.ColumnElement[str], ...] = (
    sa.literal_column("'pending'"),
    sa.literal_column("'sent'"),
)
"""States of a delivery that still has to reach its destination.

They are written into the statement, because a partial index is not used with bound values.
"""


class Utc(TypeDecorator[datetime]):
    """A moment: aware in Python, UTC in the database (SQLite keeps no zone)."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn an aware time into UTC; a naive one is a mistake of the caller."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored as a moment")
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(
        self,
        value: datetime | None,
        dialect: Dialect,  # noqa: ARG002 - SQLAlchemy's signature
    ) -> datetime | None:
        """Give the time back as aware UTC."""
        if value is None:
            return None
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)


metadata = sa.MetaData()

blobs = sa.Table(
    "blobs",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
)

ecgs = sa.Table(
    "ecgs",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("identity", sa.Text, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("media_type", sa.Text, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("received_at", Utc, nullable=False),
    sa.Column("state_at", Utc, nullable=False),
    sa.Column("source", sa.JSON, nullable=False),
    sa.Column("patient", sa.JSON, nullable=False),
    sa.Column("order", sa.JSON, nullable=False),
    sa.Column("encounter", sa.JSON(none_as_null=True)),
    sa.Column("acquired_at", sa.Text),
    sa.Column("study_uid", sa.Text, nullable=False),
    sa.Column("sop_uid", sa.Text, nullable=False),
    sa.Column("sop_class", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("lease_owner", sa.Text, nullable=False),
    sa.Column("lease_until", Utc),
    sa.Column("score", sa.JSON(none_as_null=True)),
    sa.Column("images", sa.JSON, nullable=False),
    sa.Column("guard", sa.JSON, nullable=False),
    sa.UniqueConstraint("identity", "digest", name="ecgs_identity_digest"),
    sa.Index("ecgs_state", "state", "state_at"),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("ecg_id", sa.String(32), sa.ForeignKey("ecgs.id"), nullable=False),
    sa.Column("at", Utc, nullable=False),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
    sa.Index("events_ecg", "ecg_id", "id"),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("ecg_id", sa.String(32), sa.ForeignKey("ecgs.id"), nullable=False),
    sa.Column("destination", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("control_id", sa.Text, nullable=False),
    sa.Column("filler", sa.Text, nullable=False),
    sa.Column("payload", sa.String(64), nullable=False),
    sa.Column("alert", sa.Boolean, nullable=False),
    sa.Column("patient_key", sa.Text, nullable=False),
    sa.Column("expires_at", Utc),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("next_attempt_at", Utc, nullable=False),
    sa.Column("last_error", sa.Text, nullable=False),
    sa.Column("ack_digest", sa.Text, nullable=False),
    sa.Column("created_at", Utc, nullable=False),
    sa.Column("sent_at", Utc),
    sa.Column("acknowledged_at", Utc),
    sa.Column("lease_owner", sa.Text, nullable=False),
    sa.Column("lease_until", Utc),
    sa.UniqueConstraint("destination", "control_id", name="deliveries_control"),
    sa.Index("deliveries_ecg", "ecg_id"),
    sa.Index("deliveries_state", "state", "destination"),
)

sa.Index(
    "deliveries_open",
    deliveries.c.destination,
    deliveries.c.patient_key,
    deliveries.c.id,
    sqlite_where=sa.text("state IN ('pending', 'sent')"),
    postgresql_where=sa.text("state IN ('pending', 'sent')"),
)

encounters = sa.Table(
    "encounters",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("patient_id", sa.Text, nullable=False),
    sa.Column("authority", sa.Text, nullable=False),
    sa.Column("at", Utc, nullable=False),
    sa.Column("encounter", sa.JSON, nullable=False),
    sa.Column("patient", sa.JSON, nullable=False),
    sa.Column("ended", sa.Boolean, nullable=False),
    sa.Index("encounters_patient", "patient_id", "at"),
)

messages = sa.Table(
    "messages",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at", Utc, nullable=False),
    sa.Column("direction", sa.String(3), nullable=False),
    sa.Column("peer", sa.Text, nullable=False),
    sa.Column("control_id", sa.Text, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("ecg_id", sa.String(32), sa.ForeignKey("ecgs.id")),
    sa.Column("answer_digest", sa.String(64)),
    sa.Index("messages_control", "direction", "peer", "control_id"),
    sa.Index("messages_ecg", "ecg_id"),
)

refusals = sa.Table(
    "refusals",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("first_at", Utc, nullable=False),
    sa.Column("at", Utc, nullable=False),
    sa.Column("times", sa.Integer, nullable=False),
    sa.Column("protocol", sa.Text, nullable=False),
    sa.Column("peer", sa.Text, nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.UniqueConstraint("protocol", "peer", "address", "reason", name="refusals_who_why"),
    sa.Index("refusals_at", "at"),
)

site = sa.Table(
    "site",
    metadata,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("document", sa.JSON, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("at", Utc, nullable=False),
)
