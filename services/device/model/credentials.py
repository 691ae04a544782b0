"""The certificates of a device: the one in use, one that was not used yet, and those that were replaced.

- A renewal adds a certificate beside the one in use. Its first use, in a call to any service, makes it the one in use; from then
  on the old one is refused. Another renewal before that replaces the one that was not used.
- An enrolment anew, and a leave, end all certificates. Who shows one of those holds what the device was before: a machine that
  was given up or stolen, which is no copy of the device as it is.
- Devices of an older release have no certificate here: any of theirs counts until the first renewal, which learns it.

INVARIANT: at most two certificates count, and none that was replaced.
"""

import enum
from dataclasses import dataclass, replace
from datetime import datetime

MOST_REPLACED = 50
"""Replaced and ended certificates that are remembered, the newest of each; an older one is refused all the same, as one that nobody knows."""


class Use(enum.Enum):
    """Say what the use of a certificate is."""

    ORDINARY = "ORDINARY"
    FIRST = "FIRST"
    """Of one that was not used before."""
    REPLACED = "REPLACED"
    """Of one that does not count any more: somebody lives on with what the device gave up."""
    ENDED = "ENDED"
    """Of one that ended with a life of the device before this one."""
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Certificate:
    """Know one certificate: its serial number in lower-case hex without leading zeros, its end, the digest of its key."""

    serial: str
    expires: datetime
    key_digest: str

    def shown(self) -> dict[str, str]:
        """Return the certificate as an audit record keeps it."""
        return {"serial": self.serial, "expires": self.expires.isoformat()}


@dataclass(frozen=True, slots=True)
class Credentials:
    """Hold a device's certificates; without a `current` one any that is neither replaced nor ended counts."""

    current: Certificate | None = None
    unused: Certificate | None = None
    replaced: tuple[str, ...] = ()
    """Serial numbers of those that renewals replaced since the device enrolled last, oldest first."""
    ended: tuple[str, ...] = ()
    """Serial numbers of those of before, oldest first."""

    @property
    def serials(self) -> tuple[str, ...]:
        """Return the serial numbers that count; none means that any certificate counts."""
        if self.current is None:
            return ()
        return (self.current.serial, self.unused.serial) if self.unused else (self.current.serial,)

    @property
    def unused_serial(self) -> str:
        """Return the serial number of the certificate that was not used yet, or nothing."""
        return self.unused.serial if self.unused else ""

    def use_of(self, serial: str) -> Use:
        """Say what a use of the certificate with this serial number is."""
        if self.unused is not None and serial == self.unused.serial:
            return Use.FIRST
        if serial in self.replaced:
            return Use.REPLACED
        if serial in self.ended:
            return Use.ENDED
        return Use.ORDINARY if self.current is None or serial == self.current.serial else Use.UNKNOWN

    def may_repeat(self, key_digest: str) -> bool:
        """Tell whether an enrolment with this key may be repeated: not once the device has moved on to another key."""
        return self.current is None or self.current.key_digest == key_digest

    def learnt(self, shown: Certificate) -> "Credentials":
        """Return them with the certificate that the device shows, where none was known."""
        return self if self.current is not None else replace(self, current=shown)

    def renewed(self, issued: Certificate) -> "Credentials":
        """Return them with a new certificate that waits for its first use, in place of one that waited."""
        return replace(self, unused=issued, replaced=self._without(self.unused))

    def promoted(self) -> "Credentials":
        """Return them after the first use of the new certificate: the old one counts no more."""
        if self.unused is None:
            return self
        return replace(self, current=self.unused, unused=None, replaced=self._without(self.current))

    def begun_anew(self, issued: Certificate) -> "Credentials":
        """Return them with this one certificate alone."""
        return replace(self.ended_all(), current=issued)

    def ended_all(self) -> "Credentials":
        """Return them with all certificates ended; without another one to be asked only of a device that is not enrolled any more."""
        gone = self._without(self.current, self.unused)
        return Credentials(ended=(*self.ended, *gone)[-MOST_REPLACED:])

    def _without(self, *gone: Certificate | None) -> tuple[str, ...]:
        return (*self.replaced, *(held.serial for held in gone if held is not None))[-MOST_REPLACED:]
