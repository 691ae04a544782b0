"""Find requests by who asks, where, and for which file: for the limits of devices and for lists. Reversible."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_REQUEST = "policy_elevation_request"
_INDEXES = {
    "recent": ["device_id", "submitted"],
    "device": ["device_id", "request_id"],
    "name": ["device_name", "request_id"],
    "requester": ["requester", "request_id"],
    "file": ["sha256", "request_id"],
}


def upgrade() -> None:
    """Add them."""
    for name, columns in _INDEXES.items():
        op.create_index(f"{_REQUEST}_{name}", _REQUEST, columns)


def downgrade() -> None:
    """Undo it."""
    for name in _INDEXES:
        op.drop_index(f"{_REQUEST}_{name}", _REQUEST)
