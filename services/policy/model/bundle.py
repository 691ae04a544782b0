"""What a document is made of: the policies that apply in it, each at its revision.

Two documents with the same policies have the same bundle, whatever else differs between them. A delivery names bundles by
their digest; what they hold is kept once for all devices.
"""

import enum
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Self


class PolicyKind(enum.Enum):
    """Say which of the two kinds a policy is of."""

    SETTINGS = "settings"
    RULES = "rules"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """Hold the revision of each policy by its name, and for how long the document counts unconfirmed."""

    settings: Mapping[str, int] = field(default_factory=dict)
    """Settings policies that take part in the settings of the device or one of its users."""
    rules: Mapping[str, int] = field(default_factory=dict)
    stale_after: timedelta | None = None
    """The shortest time that holds for anybody. None: the document counts for ever."""

    def revision(self, kind: PolicyKind, name: str) -> int:
        """Return the revision of a policy in the document; 0 if it is not in there."""
        return (self.settings if kind is PolicyKind.SETTINGS else self.rules).get(name, 0)

    def to_text(self) -> str:
        """Spell the contents; the same contents give the same text."""
        seconds = None if self.stale_after is None else self.stale_after.total_seconds()
        spelled = {"rules": dict(self.rules), "settings": dict(self.settings), "staleAfter": seconds}
        return json.dumps(spelled, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read what `to_text` gave."""
        spelled = json.loads(text)
        seconds = spelled["staleAfter"]
        stale_after = None if seconds is None else timedelta(seconds=seconds)
        return cls(settings=spelled["settings"], rules=spelled["rules"], stale_after=stale_after)


@dataclass(frozen=True, slots=True)
class Bundle:
    """Name contents by their digest. Equal digests are equal bundles, whether or not the contents are at hand."""

    digest: bytes = b""
    contents: Contents | None = field(default=None, compare=False, repr=False)
    """None: they are kept elsewhere, under the digest."""

    @classmethod
    def of(cls, contents: Contents) -> Self:
        """Return the bundle of these contents."""
        return cls(hashlib.sha256(contents.to_text().encode()).digest(), contents)


UNKNOWN = Bundle()
"""Of a document that nobody here knows, and of none."""
