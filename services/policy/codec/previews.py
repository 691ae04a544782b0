"""Who would gain and lose what, to the contract."""

import hashlib

from epm.policy.v1 import analysis_pb2, policies_pb2
from services.policy.codec.overlays import flaws_beside_draft, overlay_from_proto
from services.policy.model.preview import ReachChange
from services.policy.usecases.analysis.preview import Affected, Count, Preview, PreviewWanted

_CHANGES = {
    ReachChange.GAINED: analysis_pb2.REACH_CHANGE_GAINED,
    ReachChange.LOST: analysis_pb2.REACH_CHANGE_LOST,
    ReachChange.CHANGED: analysis_pb2.REACH_CHANGE_CHANGED,
}


def preview_wanted_from_proto(request: analysis_pb2.PreviewAssignmentsRequest) -> PreviewWanted:
    """Read what would be, and which page is asked for."""
    drafted = request.draft.SerializeToString(deterministic=True)
    return PreviewWanted(
        overlay=overlay_from_proto(request.draft),
        page_size=request.page_size,
        page_token=request.page_token,
        question=hashlib.sha256(drafted).hexdigest(),
        flaws=tuple(flaws_beside_draft(request)),
    )


def preview_to_proto(found: Preview) -> analysis_pb2.PreviewAssignmentsResponse:
    """Write who would gain and lose what."""
    return analysis_pb2.PreviewAssignmentsResponse(
        counts=map(_count, found.counts),
        devices_affected=found.devices,
        users_affected=found.users,
        affected=map(_affected, found.affected.items),
        next_page_token=found.affected.next_token,
    )


def _count(count: Count) -> analysis_pb2.ReachCount:
    return analysis_pb2.ReachCount(
        policy=policies_pb2.ObjectRef(kind=count.kind, name=count.policy),
        devices_gained=count.devices[ReachChange.GAINED],
        devices_lost=count.devices[ReachChange.LOST],
        devices_changed=count.devices[ReachChange.CHANGED],
        users_gained=len(count.users[ReachChange.GAINED]),
        users_lost=len(count.users[ReachChange.LOST]),
    )


def _affected(entry: Affected) -> analysis_pb2.AffectedTarget:
    place = entry.place
    return analysis_pb2.AffectedTarget(
        change=_CHANGES[entry.change],
        policy=policies_pb2.ObjectRef(kind=place.kind, name=place.policy),
        device=place.device,
        user=place.user,
    )
