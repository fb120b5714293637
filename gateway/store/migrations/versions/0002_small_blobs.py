"""Small blobs in the database, refusals counted, visits that end."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
WHO_AND_WHY = "protocol, peer, address, reason"


def upgrade() -> None:
    op.create_table(
        "blobs",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    ended: sa.Column[bool] = sa.Column(
        "ended", sa.Boolean(), nullable=False, server_default=sa.false()
    )
    op.add_column("encounters", ended)
    count_refusals()


def count_refusals() -> None:
    """Make one row of the refusals that say the same."""
    op.rename_table("refusals", "each_refusal")
    op.create_table(
        "refusals",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("first_at", MOMENT, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("protocol", sa.Text(), nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="refusals_counted_pkey"),
        sa.UniqueConstraint("protocol", "peer", "address", "reason", name="refusals_who_why"),
    )
    op.create_index("refusals_at", "refusals", ["at"], unique=False)
    op.execute(
        f"INSERT INTO refusals (first_at, at, times, {WHO_AND_WHY}) "  # noqa: S608 - constants
        f"SELECT min(at), max(at), count(*), {WHO_AND_WHY} FROM each_refusal "
        f"GROUP BY {WHO_AND_WHY} ORDER BY max(id)"
    )
    op.drop_table("each_refusal")
