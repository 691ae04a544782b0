"""Policy authoring for administrators: decode, call one use case, encode."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeAlias

import grpc.aio

from elevation.model import ReusableCertificate, RulesPolicy, SettingsPolicy
from epm.policy.v1 import policies_pb2, policies_pb2_grpc
from services._chassis.access import AccessControl
from services._chassis.caller import current_permit
from services._chassis.paging import Page
from services.policy.codec import authored, drafts
from services.policy.model.drafts import Draft
from services.policy.model.objects import Content, Stored
from services.policy.ports import DeviceStates, Directories, Store
from services.policy.usecases import apply, authoring, states
from services.policy.usecases.scope import Author, author_of_call

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class PolicyServicer(policies_pb2_grpc.PolicyServiceServicer):
    """Answer `epm.policy.v1.PolicyService`."""

    def __init__(
        self,
        store: Store,
        directories: Directories,
        device_states: DeviceStates,
        access: AccessControl,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._directories = directories
        self._device_states = device_states
        self._access = access
        self._now = now

    async def CreateSettingsPolicy(
        self, request: policies_pb2.CreateSettingsPolicyRequest, _context: Context
    ) -> policies_pb2.CreateSettingsPolicyResponse:
        """Create a settings policy."""
        created = await self._create(drafts.settings_policy_from_proto(request.settings_policy))
        return policies_pb2.CreateSettingsPolicyResponse(
            settings_policy=authored.settings_policy_to_proto(created.content, created.about)
        )

    async def GetSettingsPolicy(
        self, request: policies_pb2.GetSettingsPolicyRequest, _context: Context
    ) -> policies_pb2.GetSettingsPolicyResponse:
        """Return a settings policy."""
        found = await self._get(SettingsPolicy, request.name)
        return policies_pb2.GetSettingsPolicyResponse(
            settings_policy=authored.settings_policy_to_proto(found.content, found.about)
        )

    async def ListSettingsPolicies(
        self, request: policies_pb2.ListSettingsPoliciesRequest, _context: Context
    ) -> policies_pb2.ListSettingsPoliciesResponse:
        """List settings policies by name."""
        page = await self._list(SettingsPolicy, request.page_size, request.page_token)
        listed = [authored.settings_policy_to_proto(item.content, item.about) for item in page.items]
        return policies_pb2.ListSettingsPoliciesResponse(settings_policies=listed, next_page_token=page.next_token)

    async def UpdateSettingsPolicy(
        self, request: policies_pb2.UpdateSettingsPolicyRequest, _context: Context
    ) -> policies_pb2.UpdateSettingsPolicyResponse:
        """Replace a settings policy."""
        updated = await self._update(drafts.settings_policy_from_proto(request.settings_policy))
        return policies_pb2.UpdateSettingsPolicyResponse(
            settings_policy=authored.settings_policy_to_proto(updated.content, updated.about)
        )

    async def DeleteSettingsPolicy(
        self, request: policies_pb2.DeleteSettingsPolicyRequest, _context: Context
    ) -> policies_pb2.DeleteSettingsPolicyResponse:
        """Delete a settings policy."""
        await authoring.delete_object(
            self._store, SettingsPolicy, request.name, etag=request.etag, author=self._author()
        )
        return policies_pb2.DeleteSettingsPolicyResponse()

    async def AssignSettingsPolicy(
        self, request: policies_pb2.AssignSettingsPolicyRequest, _context: Context
    ) -> policies_pb2.AssignSettingsPolicyResponse:
        """Replace the assignments of a settings policy."""
        new = drafts.assignments_from_proto(request)
        assigned = await authoring.assign_policy(
            self._store, self._directories, SettingsPolicy, new, author=self._author()
        )
        return policies_pb2.AssignSettingsPolicyResponse(
            settings_policy=authored.settings_policy_to_proto(assigned.content, assigned.about)
        )

    async def CreateRulesPolicy(
        self, request: policies_pb2.CreateRulesPolicyRequest, _context: Context
    ) -> policies_pb2.CreateRulesPolicyResponse:
        """Create a rules policy."""
        created = await self._create(drafts.rules_policy_from_proto(request.rules_policy))
        return policies_pb2.CreateRulesPolicyResponse(
            rules_policy=authored.rules_policy_to_proto(created.content, created.about)
        )

    async def GetRulesPolicy(
        self, request: policies_pb2.GetRulesPolicyRequest, _context: Context
    ) -> policies_pb2.GetRulesPolicyResponse:
        """Return a rules policy."""
        found = await self._get(RulesPolicy, request.name)
        return policies_pb2.GetRulesPolicyResponse(
            rules_policy=authored.rules_policy_to_proto(found.content, found.about)
        )

    async def ListRulesPolicies(
        self, request: policies_pb2.ListRulesPoliciesRequest, _context: Context
    ) -> policies_pb2.ListRulesPoliciesResponse:
        """List rules policies by name."""
        page = await self._list(RulesPolicy, request.page_size, request.page_token)
        listed = [authored.rules_policy_to_proto(item.content, item.about) for item in page.items]
        return policies_pb2.ListRulesPoliciesResponse(rules_policies=listed, next_page_token=page.next_token)

    async def UpdateRulesPolicy(
        self, request: policies_pb2.UpdateRulesPolicyRequest, _context: Context
    ) -> policies_pb2.UpdateRulesPolicyResponse:
        """Replace a rules policy."""
        updated = await self._update(drafts.rules_policy_from_proto(request.rules_policy))
        return policies_pb2.UpdateRulesPolicyResponse(
            rules_policy=authored.rules_policy_to_proto(updated.content, updated.about)
        )

    async def DeleteRulesPolicy(
        self, request: policies_pb2.DeleteRulesPolicyRequest, _context: Context
    ) -> policies_pb2.DeleteRulesPolicyResponse:
        """Delete a rules policy."""
        await authoring.delete_object(self._store, RulesPolicy, request.name, etag=request.etag, author=self._author())
        return policies_pb2.DeleteRulesPolicyResponse()

    async def AssignRulesPolicy(
        self, request: policies_pb2.AssignRulesPolicyRequest, _context: Context
    ) -> policies_pb2.AssignRulesPolicyResponse:
        """Replace the assignments of a rules policy."""
        new = drafts.assignments_from_proto(request)
        assigned = await authoring.assign_policy(
            self._store, self._directories, RulesPolicy, new, author=self._author()
        )
        return policies_pb2.AssignRulesPolicyResponse(
            rules_policy=authored.rules_policy_to_proto(assigned.content, assigned.about)
        )

    async def CreateReusableCertificate(
        self, request: policies_pb2.CreateReusableCertificateRequest, _context: Context
    ) -> policies_pb2.CreateReusableCertificateResponse:
        """Create a reusable certificate."""
        created = await self._create(drafts.certificate_from_proto(request.reusable_certificate))
        return policies_pb2.CreateReusableCertificateResponse(
            reusable_certificate=authored.certificate_to_proto(created.content, created.about)
        )

    async def GetReusableCertificate(
        self, request: policies_pb2.GetReusableCertificateRequest, _context: Context
    ) -> policies_pb2.GetReusableCertificateResponse:
        """Return a reusable certificate."""
        found = await self._get(ReusableCertificate, request.name)
        return policies_pb2.GetReusableCertificateResponse(
            reusable_certificate=authored.certificate_to_proto(found.content, found.about)
        )

    async def ListReusableCertificates(
        self, request: policies_pb2.ListReusableCertificatesRequest, _context: Context
    ) -> policies_pb2.ListReusableCertificatesResponse:
        """List reusable certificates by name."""
        page = await self._list(ReusableCertificate, request.page_size, request.page_token)
        listed = [authored.certificate_to_proto(item.content, item.about) for item in page.items]
        return policies_pb2.ListReusableCertificatesResponse(
            reusable_certificates=listed, next_page_token=page.next_token
        )

    async def UpdateReusableCertificate(
        self, request: policies_pb2.UpdateReusableCertificateRequest, _context: Context
    ) -> policies_pb2.UpdateReusableCertificateResponse:
        """Replace a reusable certificate."""
        updated = await self._update(drafts.certificate_from_proto(request.reusable_certificate))
        return policies_pb2.UpdateReusableCertificateResponse(
            reusable_certificate=authored.certificate_to_proto(updated.content, updated.about)
        )

    async def DeleteReusableCertificate(
        self, request: policies_pb2.DeleteReusableCertificateRequest, _context: Context
    ) -> policies_pb2.DeleteReusableCertificateResponse:
        """Delete a reusable certificate."""
        await authoring.delete_object(
            self._store, ReusableCertificate, request.name, etag=request.etag, author=self._author()
        )
        return policies_pb2.DeleteReusableCertificateResponse()

    async def DuplicateObject(
        self, request: policies_pb2.DuplicateObjectRequest, _context: Context
    ) -> policies_pb2.DuplicateObjectResponse:
        """Create an object like another."""
        kind = drafts.kind_from_proto(request.original, "original")
        made = await authoring.duplicate_object(
            self._store, kind, request.original.name, new_name=request.new_name, author=self._author()
        )
        return policies_pb2.DuplicateObjectResponse(object=authored.object_to_proto(made.content, made.about))

    async def ApplyPolicies(
        self, request: policies_pb2.ApplyPoliciesRequest, _context: Context
    ) -> policies_pb2.ApplyPoliciesResponse:
        """Create or replace many objects."""
        application = drafts.application_from_proto(request)
        applied = await apply.apply_policies(self._store, self._directories, application, author=self._author())
        return authored.applied_to_proto(applied)

    async def ListDevicePolicyStates(
        self, request: policies_pb2.ListDevicePolicyStatesRequest, _context: Context
    ) -> policies_pb2.ListDevicePolicyStatesResponse:
        """List how far the policy of each device has come."""
        page = await states.list_device_states(
            self._device_states,
            permit=current_permit(),
            page_size=request.page_size,
            page_token=request.page_token,
            device=request.device,
            conflicting_only=request.conflicting_only,
        )
        return policies_pb2.ListDevicePolicyStatesResponse(
            states=map(authored.state_to_proto, page.items), next_page_token=page.next_token
        )

    def _author(self) -> Author:
        return author_of_call(self._access.check, self._now())

    async def _create(self, draft: Draft[Content]) -> Stored[Content]:
        return await authoring.create_object(self._store, self._directories, draft, author=self._author())

    async def _get(self, kind: type[Content], name: str) -> Stored[Content]:
        return await authoring.get_object(self._store, kind, name, permit=current_permit())

    async def _list(self, kind: type[Content], page_size: int, page_token: str) -> Page[Stored[Content]]:
        return await authoring.list_objects(
            self._store, kind, permit=current_permit(), page_size=page_size, page_token=page_token
        )

    async def _update(self, draft: Draft[Content]) -> Stored[Content]:
        return await authoring.update_object(self._store, draft, author=self._author())
