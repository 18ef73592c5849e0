"""Several FAISS files of a kind may be in force at once. No table changes: what is new is how they are read.

A version that knows of one only would search the last and leave out the others, so that it must not open the catalog.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing to do: a single file is one of several."""


def downgrade() -> None:
    """Let the older version make files of all vectors."""
    op.execute("DELETE FROM generation_folder")
    op.execute("DELETE FROM generation")
