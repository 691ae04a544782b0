"""Changes as the audit record states them."""

from collections.abc import Iterator

from services._chassis.audit import AuditEntry
from services.policy.model.documents import document_of
from services.policy.model.objects import Change, Content, kind_of


def entry_of(change: Change[Content]) -> AuditEntry:
    """State what was done to which object, with its document before and after."""
    kind = kind_of(type(change.subject.content))
    return AuditEntry(
        action=f"{kind.one}_{change.action.value}",
        target_kind=kind.document,
        target=change.subject.name,
        before=document_of(change.before) if change.before else None,
        after=document_of(change.after) if change.after else None,
        details=dict(_details(change)),
    )


def _details(change: Change[Content]) -> Iterator[tuple[str, str]]:
    if change.rolled_back_to:
        yield "rolled_back_to", str(change.rolled_back_to)
    if change.as_code:
        yield "as_code", "true"
    if change.duplicate_of:
        yield "duplicate_of", change.duplicate_of
