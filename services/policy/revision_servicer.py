"""Revisions for administrators: decode, call one use case, encode."""

from collections.abc import Callable
from datetime import datetime

from epm.policy.v1 import revisions_pb2, revisions_pb2_grpc
from services._chassis.access import AccessControl
from services._chassis.caller import current_permit
from services.policy.admin_servicer.desk import Context, Desk
from services.policy.codec import revisions as codec
from services.policy.codec.authored import object_to_proto
from services.policy.codec.drafts import kind_from_proto
from services.policy.model.edits import Written
from services.policy.model.objects import AnyContent
from services.policy.ports import Store
from services.policy.usecases import revisions
from services.policy.usecases.means import Means
from services.policy.usecases.rollback import roll_back


class RevisionServicer(revisions_pb2_grpc.RevisionServiceServicer):
    """Answer `epm.policy.v1.RevisionService`."""

    def __init__(self, store: Store, means: Means, access: AccessControl, *, now: Callable[[], datetime]) -> None:
        self._desk = Desk(store, means, access, now=now)

    async def ListRevisions(
        self, request: revisions_pb2.ListRevisionsRequest, _context: Context
    ) -> revisions_pb2.ListRevisionsResponse:
        """List the revisions of an object, newest first."""
        page = await revisions.list_revisions(
            self._desk.store,
            kind_from_proto(request.object, "object"),
            request.object.name,
            permit=current_permit(),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return revisions_pb2.ListRevisionsResponse(
            revisions=map(codec.revision_to_proto, page.items), next_page_token=page.next_token
        )

    async def GetRevision(
        self, request: revisions_pb2.GetRevisionRequest, _context: Context
    ) -> revisions_pb2.GetRevisionResponse:
        """Return the object as one change left it."""
        past = await revisions.get_revision(
            self._desk.store,
            kind_from_proto(request.object, "object"),
            request.object.name,
            change=request.change,
            permit=current_permit(),
        )
        return revisions_pb2.GetRevisionResponse(
            revision=codec.revision_to_proto(past.revision),
            object=object_to_proto(past.stored.content, past.stored.about),
        )

    async def DiffRevisions(
        self, request: revisions_pb2.DiffRevisionsRequest, _context: Context
    ) -> revisions_pb2.DiffRevisionsResponse:
        """Tell what two revisions differ in."""
        difference = await revisions.diff_revisions(
            self._desk.store,
            kind_from_proto(request.object, "object"),
            request.object.name,
            earlier=getattr(request, "from"),
            later=request.to,
            permit=current_permit(),
        )
        return codec.difference_to_proto(difference)

    async def RollBack(
        self, request: revisions_pb2.RollBackRequest, _context: Context
    ) -> revisions_pb2.RollBackResponse:
        """Give an object the content of an old revision again."""
        kind, asked = kind_from_proto(request.object, "object"), codec.rollback_from_proto(request)
        return await self._desk.once(
            request,
            lambda work, author: roll_back(work, self._desk.means, kind, asked, author=author),
            revisions_pb2.RollBackResponse,
            _say_rollback,
        )


def _say_rollback(written: Written[AnyContent]) -> revisions_pb2.RollBackResponse:
    return revisions_pb2.RollBackResponse(
        object=object_to_proto(written.stored.content, written.stored.about),
    )
