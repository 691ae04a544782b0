"""Reusable certificates: decode, call one use case, encode."""

from functools import partial
from typing import TypeVar

from elevation.model import ReusableCertificate
from epm.policy.v1 import policies_pb2
from services.policy.admin_servicer.desk import Context, Desk
from services.policy.codec.authored import certificate_to_proto
from services.policy.codec.drafts import certificate_from_proto, wanted_from_proto
from services.policy.model.edits import Written
from services.policy.usecases import authoring

Answer = TypeVar(
    "Answer",
    policies_pb2.CreateReusableCertificateResponse,
    policies_pb2.UpdateReusableCertificateResponse,
)


class CertificateMethods:
    """Answer the methods of `epm.policy.v1.PolicyService` about reusable certificates."""

    desk: Desk

    async def CreateReusableCertificate(
        self, request: policies_pb2.CreateReusableCertificateRequest, _context: Context
    ) -> policies_pb2.CreateReusableCertificateResponse:
        """Create a reusable certificate."""
        draft, answer = (
            certificate_from_proto(request.reusable_certificate),
            policies_pb2.CreateReusableCertificateResponse,
        )
        return await self.desk.once(
            request,
            lambda work, author: authoring.create_object(work, self.desk.means, draft, author=author),
            answer,
            partial(_say, answer),
        )

    async def GetReusableCertificate(
        self, request: policies_pb2.GetReusableCertificateRequest, _context: Context
    ) -> policies_pb2.GetReusableCertificateResponse:
        """Return a reusable certificate."""
        found = await self.desk.get(ReusableCertificate, request.name)
        return policies_pb2.GetReusableCertificateResponse(
            reusable_certificate=certificate_to_proto(found.content, found.about)
        )

    async def ListReusableCertificates(
        self, request: policies_pb2.ListReusableCertificatesRequest, _context: Context
    ) -> policies_pb2.ListReusableCertificatesResponse:
        """List reusable certificates."""
        page = await self.desk.list(ReusableCertificate, wanted_from_proto(request))
        return policies_pb2.ListReusableCertificatesResponse(
            reusable_certificates=[certificate_to_proto(item.content, item.about) for item in page.items],
            next_page_token=page.next_token,
        )

    async def UpdateReusableCertificate(
        self, request: policies_pb2.UpdateReusableCertificateRequest, _context: Context
    ) -> policies_pb2.UpdateReusableCertificateResponse:
        """Replace a reusable certificate."""
        draft, answer = (
            certificate_from_proto(request.reusable_certificate),
            policies_pb2.UpdateReusableCertificateResponse,
        )
        return await self.desk.once(
            request,
            lambda work, author: authoring.update_object(work, self.desk.means, draft, author=author),
            answer,
            partial(_say, answer),
        )

    async def DeleteReusableCertificate(
        self, request: policies_pb2.DeleteReusableCertificateRequest, _context: Context
    ) -> policies_pb2.DeleteReusableCertificateResponse:
        """Delete a reusable certificate."""
        answer = policies_pb2.DeleteReusableCertificateResponse
        return await self.desk.once(
            request,
            lambda work, author: authoring.delete_object(
                work, ReusableCertificate, request.name, etag=request.etag, author=author
            ),
            answer,
            lambda _done: answer(),
        )


def _say(answer: type[Answer], written: Written[ReusableCertificate]) -> Answer:
    return answer(
        reusable_certificate=certificate_to_proto(written.stored.content, written.stored.about),
    )
