"""Runs, the latest result of each check, and what was pushed last."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(36), primary_key=True),
        sa.Column("started", sa.String(25), nullable=False),
        sa.Column("finished", sa.String(25), nullable=False),
        sa.Column("trigger", sa.String(16), nullable=False),
        sa.Column("selection", sa.Text, nullable=False),
        sa.Column("hosts", sa.Integer, nullable=False),
        sa.Column("exit_code", sa.Integer, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
    )
    op.create_index("runs_started", "runs", ["started"])
    op.create_table(
        "latest",
        sa.Column("host", sa.String(255), primary_key=True),
        sa.Column("run_id", sa.String(36), nullable=False),
        sa.Column("at", sa.String(25), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("policy", sa.String(64), nullable=False),
        sa.Column("statuses", sa.Text, nullable=False),
        sa.Column("record", sa.Text, nullable=False),
    )
    op.create_table(
        "pushes",
        sa.Column("host", sa.String(255), primary_key=True),
        sa.Column("at", sa.String(25), nullable=False),
        sa.Column("host_id", sa.String(64), nullable=False),
        sa.Column("policy", sa.String(64), nullable=False),
        sa.Column("policy_digest", sa.String(71), nullable=False),
        sa.Column("bundle", sa.String(71), nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("checks", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    for table in ("pushes", "latest", "runs"):
        op.drop_table(table)
