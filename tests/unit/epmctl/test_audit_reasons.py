"""A list of audit records says why something was done, or why it was refused and how often."""

from collections.abc import Mapping

import pytest

from auditchain.record import AuditRecord
from epmctl.commands.audit import _row


@pytest.mark.parametrize(
    ("reason", "details", "shown"),
    [
        ("", {}, ""),
        ("a colleague left", {}, "a colleague left"),
        ("", {"count": "1", "reason": "RIGHT_MISSING", "message": "no"}, "RIGHT_MISSING"),
        ("", {"count": "37", "reason": "TOKEN_UNKNOWN"}, "TOKEN_UNKNOWN (37 times)"),
    ],
)
def test_the_last_column_says_why(reason: str, details: Mapping[str, str], shown: str) -> None:
    record = AuditRecord(
        sequence=1,
        recorded=0,
        actor="user:alice",
        source="",
        action="call_denied",
        target_kind="Method",
        target="/a/B",
        before="",
        after="",
        reason=reason,
        request_id="",
        decision_id="",
        details=details,
        revision=0,
    )
    assert _row("rbac", record)[-1] == shown
