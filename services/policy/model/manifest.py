"""What the signature of a document says: for whom it is, which revision, until when it confirms, and who signs."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

LIFETIME = timedelta(days=7)
"""How long one manifest confirms a document: longer than any heartbeat, and than a device's clock is likely to be ahead.

A device that is away for longer keeps its policy: the end of a manifest takes nothing away, `staleAfter` does.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Hold what is signed."""

    device_id: str
    revision: int
    sha256: bytes
    issued: datetime
    key_id: str
    """The key that signs."""

    @property
    def expires(self) -> datetime:
        """Return the time from which on the manifest confirms nothing."""
        return self.issued + LIFETIME


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """Name the keys that sign policy, the newest one first."""

    ids: tuple[str, ...]

    def common(self, known: Collection[str]) -> str | None:
        """Return the newest key that a device knows, and the oldest one for a device that does not tell.

        None: it knows none of them, and nothing that is signed here means anything to it.
        """
        if not known:
            return self.ids[-1]
        return next((key_id for key_id in self.ids if key_id in known), None)
