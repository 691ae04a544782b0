"""The audit record, as use cases state it; `audit_store` writes it beside the change."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """Say who acted, from where, in which call, by which access decision, and why in the words of who called."""

    actor: str
    source: str = ""
    request_id: str = ""
    decision_id: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """State what was done to what: `action` in the past tense, for example `role_created`; states as plain documents.

    `act` and `at` are for what is written down after the call, by a worker; otherwise it is the running call, now.
    `reason` goes before the one that came with the call.

    INVARIANT: `before` and `after` hold no secret and no token.
    """

    action: str
    target_kind: str
    target: str
    before: Mapping[str, object] | None = None
    after: Mapping[str, object] | None = None
    reason: str = ""
    details: Mapping[str, str] = field(default_factory=dict)
    act: Act | None = None
    at: datetime | None = None
