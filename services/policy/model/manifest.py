"""What the signature of a document says: for whom it is, which revision, and until when it confirms."""

from dataclasses import dataclass
from datetime import datetime, timedelta

LIFETIME = timedelta(days=7)
"""How long one manifest confirms a document. A connected device gets a new one at every heartbeat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Hold what is signed."""

    device_id: str
    revision: int
    sha256: bytes
    issued: datetime

    @property
    def expires(self) -> datetime:
        """Return the time from which on the manifest confirms nothing."""
        return self.issued + LIFETIME
