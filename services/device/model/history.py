"""What became of a device, entry by entry; the audit record stands beside it and knows more of who did it.

States are words, the ones of the contracts: `ACTIVE`, `ENROLLED`; of a certificate its serial number.
"""

import enum
from dataclasses import dataclass
from datetime import datetime


class HistoryKind(enum.Enum):
    """Say what kind of thing became of a device."""

    ENROLMENT = "ENROLMENT"
    EPM_STATE = "EPM_STATE"
    CERTIFICATE = "CERTIFICATE"
    SUSPECTED_CLONE = "SUSPECTED_CLONE"


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """Hold one thing that became of a device: what was before (empty: nothing), what is from then on, and why.

    `actor` is named as audit records name callers, and empty for the service itself. INVARIANT: no secret is in it.
    """

    device_id: str
    kind: HistoryKind
    before: str
    after: str
    reason: str
    at: datetime
    actor: str = ""
