"""Settings policies: decode, call one use case, encode."""

from functools import partial
from typing import TypeVar

from elevation.model import SettingsPolicy
from epm.policy.v1 import policies_pb2
from services.policy.admin_servicer.desk import Context, Desk
from services.policy.codec.authored import settings_policy_to_proto
from services.policy.codec.drafts import assignments_from_proto, settings_policy_from_proto, wanted_from_proto
from services.policy.model.edits import Written
from services.policy.usecases import authoring

Answer = TypeVar(
    "Answer",
    policies_pb2.CreateSettingsPolicyResponse,
    policies_pb2.UpdateSettingsPolicyResponse,
    policies_pb2.AssignSettingsPolicyResponse,
)


class SettingsPolicyMethods:
    """Answer the methods of `epm.policy.v1.PolicyService` about settings policies."""

    desk: Desk

    async def CreateSettingsPolicy(
        self, request: policies_pb2.CreateSettingsPolicyRequest, _context: Context
    ) -> policies_pb2.CreateSettingsPolicyResponse:
        """Create a settings policy."""
        draft, answer = settings_policy_from_proto(request.settings_policy), policies_pb2.CreateSettingsPolicyResponse
        return await self.desk.once(
            request,
            lambda work, author: authoring.create_object(work, self.desk.means, draft, author=author),
            answer,
            partial(_say, answer),
        )

    async def GetSettingsPolicy(
        self, request: policies_pb2.GetSettingsPolicyRequest, _context: Context
    ) -> policies_pb2.GetSettingsPolicyResponse:
        """Return a settings policy."""
        found = await self.desk.get(SettingsPolicy, request.name)
        return policies_pb2.GetSettingsPolicyResponse(
            settings_policy=settings_policy_to_proto(found.content, found.about)
        )

    async def ListSettingsPolicies(
        self, request: policies_pb2.ListSettingsPoliciesRequest, _context: Context
    ) -> policies_pb2.ListSettingsPoliciesResponse:
        """List settings policies."""
        page = await self.desk.list(SettingsPolicy, wanted_from_proto(request))
        return policies_pb2.ListSettingsPoliciesResponse(
            settings_policies=[settings_policy_to_proto(item.content, item.about) for item in page.items],
            next_page_token=page.next_token,
        )

    async def UpdateSettingsPolicy(
        self, request: policies_pb2.UpdateSettingsPolicyRequest, _context: Context
    ) -> policies_pb2.UpdateSettingsPolicyResponse:
        """Replace a settings policy."""
        draft, answer = settings_policy_from_proto(request.settings_policy), policies_pb2.UpdateSettingsPolicyResponse
        return await self.desk.once(
            request,
            lambda work, author: authoring.update_object(work, self.desk.means, draft, author=author),
            answer,
            partial(_say, answer),
        )

    async def DeleteSettingsPolicy(
        self, request: policies_pb2.DeleteSettingsPolicyRequest, _context: Context
    ) -> policies_pb2.DeleteSettingsPolicyResponse:
        """Delete a settings policy."""
        answer = policies_pb2.DeleteSettingsPolicyResponse
        return await self.desk.once(
            request,
            lambda work, author: authoring.delete_object(
                work, SettingsPolicy, request.name, etag=request.etag, author=author
            ),
            answer,
            lambda _done: answer(),
        )

    async def AssignSettingsPolicy(
        self, request: policies_pb2.AssignSettingsPolicyRequest, _context: Context
    ) -> policies_pb2.AssignSettingsPolicyResponse:
        """Replace the assignments of a settings policy."""
        new, answer = assignments_from_proto(request), policies_pb2.AssignSettingsPolicyResponse
        return await self.desk.once(
            request,
            lambda work, author: authoring.assign_policy(work, self.desk.means, SettingsPolicy, new, author=author),
            answer,
            partial(_say, answer),
        )


def _say(answer: type[Answer], written: Written[SettingsPolicy]) -> Answer:
    return answer(
        settings_policy=settings_policy_to_proto(written.stored.content, written.stored.about),
    )
