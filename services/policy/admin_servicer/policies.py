"""Policy authoring for administrators: decode, call one use case, encode."""

from collections.abc import Callable
from datetime import datetime

from epm.policy.v1 import policies_pb2, policies_pb2_grpc
from services._chassis.access import AccessControl
from services._chassis.caller import current_permit
from services.policy.admin_servicer.certificates import CertificateMethods
from services.policy.admin_servicer.desk import Context, Desk
from services.policy.admin_servicer.rules_policies import RulesPolicyMethods
from services.policy.admin_servicer.settings_policies import SettingsPolicyMethods
from services.policy.codec import applications, authored, drafts
from services.policy.codec.beside import read_beside
from services.policy.model.edits import Written
from services.policy.model.objects import AnyContent
from services.policy.ports import DeviceStates, Store
from services.policy.usecases import apply, authoring, states
from services.policy.usecases.means import Means


class PolicyServicer(
    SettingsPolicyMethods, RulesPolicyMethods, CertificateMethods, policies_pb2_grpc.PolicyServiceServicer
):
    """Answer `epm.policy.v1.PolicyService`."""

    def __init__(
        self,
        store: Store,
        means: Means,
        device_states: DeviceStates,
        access: AccessControl,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self.desk = Desk(store, means, access, now=now)
        self._device_states = device_states

    async def DuplicateObject(
        self, request: policies_pb2.DuplicateObjectRequest, _context: Context
    ) -> policies_pb2.DuplicateObjectResponse:
        """Create an object like another."""
        original = drafts.kind_from_proto(request.original, "original")
        return await self.desk.once(
            request,
            lambda work, author: authoring.duplicate_object(
                work, self.desk.means, original, request.original.name, new_name=request.new_name, author=author
            ),
            policies_pb2.DuplicateObjectResponse,
            _say_duplicate,
        )

    async def ApplyPolicies(
        self, request: policies_pb2.ApplyPoliciesRequest, _context: Context
    ) -> policies_pb2.ApplyPoliciesResponse:
        """Create, replace and delete many objects."""
        author, means = self.desk.author(), self.desk.means
        apply.refuse_strangers(author)
        await self.desk.access_at_least(request.access_revision)
        application = await read_beside(applications.application_from_proto, request)
        groups = await apply.groups_for(means.directories, application, author=author)
        return await self.desk.once(
            request,
            lambda work, author: apply.apply_policies(work, means, application, groups=groups, author=author),
            policies_pb2.ApplyPoliciesResponse,
            applications.applied_to_proto,
        )

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


def _say_duplicate(written: Written[AnyContent]) -> policies_pb2.DuplicateObjectResponse:
    return policies_pb2.DuplicateObjectResponse(
        object=authored.object_to_proto(written.stored.content, written.stored.about),
    )
