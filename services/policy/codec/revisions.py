"""Revisions and what they differ in to the contract, and what is asked about them."""

from epm.policy.v1 import revisions_pb2
from services._chassis.times import time_to_proto
from services.policy.model.difference import FieldChange, FieldChangeKind
from services.policy.model.objects import Action
from services.policy.model.revisions import Revision
from services.policy.usecases.revisions import Difference
from services.policy.usecases.rollback import Rollback

_ACTIONS = {
    Action.CREATED: revisions_pb2.REVISION_ACTION_CREATED,
    Action.UPDATED: revisions_pb2.REVISION_ACTION_UPDATED,
    Action.ASSIGNED: revisions_pb2.REVISION_ACTION_ASSIGNED,
    Action.DELETED: revisions_pb2.REVISION_ACTION_DELETED,
}
_KINDS = {
    FieldChangeKind.ADDED: revisions_pb2.FIELD_CHANGE_KIND_ADDED,
    FieldChangeKind.CHANGED: revisions_pb2.FIELD_CHANGE_KIND_CHANGED,
    FieldChangeKind.REMOVED: revisions_pb2.FIELD_CHANGE_KIND_REMOVED,
}


def rollback_from_proto(request: revisions_pb2.RollBackRequest) -> Rollback:
    """Read which content an object is to get again."""
    return Rollback(
        name=request.object.name,
        change=request.change,
        etag=request.etag,
        with_assignments=request.with_assignments,
    )


def revision_to_proto(revision: Revision) -> revisions_pb2.Revision:
    """Write what a change did."""
    return revisions_pb2.Revision(
        change=revision.change,
        revision=revision.content_revision,
        action=_ACTIONS[revision.action],
        author=revision.author,
        time=time_to_proto(revision.time),
        reason=revision.reason,
        scope_tags=sorted(revision.scope_tags),
        rolled_back_to=revision.rolled_back_to,
        as_code=revision.as_code,
    )


def difference_to_proto(difference: Difference) -> revisions_pb2.DiffRevisionsResponse:
    """Write what two revisions differ in."""
    response = revisions_pb2.DiffRevisionsResponse(
        to=revision_to_proto(difference.later), changes=map(_change, difference.changes)
    )
    if difference.earlier is not None:
        # `from` is a word of the language, so the field has no attribute.
        getattr(response, "from").CopyFrom(revision_to_proto(difference.earlier))
    return response


def _change(change: FieldChange) -> revisions_pb2.FieldChange:
    return revisions_pb2.FieldChange(
        kind=_KINDS[change.kind], rule=change.rule, field=change.field, before=change.before, after=change.after
    )
