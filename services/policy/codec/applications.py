"""What is applied in one call from the contract, and what became of it to the contract."""

from epm.policy.v1 import policies_pb2
from services._chassis.expected import Expected
from services.policy.codec.drafts import GROUP_TYPES, drafts_from_proto
from services.policy.model.application import (
    Application,
    Applied,
    AppliedObject,
    Deletion,
    OwnerLabel,
    PendingGroup,
)
from services.policy.model.objects import Action, kind_of

_ACTIONS = {
    Action.CREATED: policies_pb2.APPLY_ACTION_CREATED,
    Action.UPDATED: policies_pb2.APPLY_ACTION_UPDATED,
    Action.UNCHANGED: policies_pb2.APPLY_ACTION_UNCHANGED,
    Action.DELETED: policies_pb2.APPLY_ACTION_DELETED,
}


def application_from_proto(request: policies_pb2.ApplyPoliciesRequest) -> Application:
    """Read the objects of a request, in its order."""
    return Application(
        drafts=list(drafts_from_proto(request)),
        pending_groups=[
            PendingGroup(group.name, GROUP_TYPES.get(group.type), group.filter, tuple(group.groups))
            for group in request.pending_groups
        ],
        pending_scope_tags=list(request.pending_scope_tags),
        directory_revision=request.directory_revision,
        expected=[Expected(entry.kind, entry.name, entry.etag) for entry in request.expected],
        deletions=[Deletion(entry.kind, entry.name) for entry in request.deletions],
        owner=OwnerLabel(request.owner.key, request.owner.value) if request.HasField("owner") else None,
        as_code=request.as_code,
    )


def applied_to_proto(applied: Applied) -> policies_pb2.ApplyPoliciesResponse:
    """Write what became of applied objects."""
    return policies_pb2.ApplyPoliciesResponse(
        objects=map(_object, applied.objects),
        revision=applied.revision,
    )


def _object(applied: AppliedObject) -> policies_pb2.AppliedObject:
    return policies_pb2.AppliedObject(
        kind=kind_of(applied.kind).document,
        name=applied.name,
        action=_ACTIONS[applied.action],
        etag_before=applied.etag_before,
        etag=applied.etag,
    )
