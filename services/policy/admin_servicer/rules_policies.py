"""Rules policies: decode, call one use case, encode."""

from functools import partial
from typing import TypeVar

from elevation.model import RulesPolicy
from epm.policy.v1 import policies_pb2
from services.policy.admin_servicer.desk import Context, Desk
from services.policy.codec.authored import rules_policy_to_proto
from services.policy.codec.drafts import assignments_from_proto, rules_policy_from_proto, wanted_from_proto
from services.policy.model.edits import Written
from services.policy.usecases import authoring

Answer = TypeVar(
    "Answer",
    policies_pb2.CreateRulesPolicyResponse,
    policies_pb2.UpdateRulesPolicyResponse,
    policies_pb2.AssignRulesPolicyResponse,
)


class RulesPolicyMethods:
    """Answer the methods of `epm.policy.v1.PolicyService` about rules policies."""

    desk: Desk

    async def CreateRulesPolicy(
        self, request: policies_pb2.CreateRulesPolicyRequest, _context: Context
    ) -> policies_pb2.CreateRulesPolicyResponse:
        """Create a rules policy."""
        draft, answer = rules_policy_from_proto(request.rules_policy), policies_pb2.CreateRulesPolicyResponse
        return await self.desk.once(
            request,
            lambda work, author: authoring.create_object(work, self.desk.means, draft, author=author),
            answer,
            partial(_say, answer),
        )

    async def GetRulesPolicy(
        self, request: policies_pb2.GetRulesPolicyRequest, _context: Context
    ) -> policies_pb2.GetRulesPolicyResponse:
        """Return a rules policy."""
        found = await self.desk.get(RulesPolicy, request.name)
        return policies_pb2.GetRulesPolicyResponse(rules_policy=rules_policy_to_proto(found.content, found.about))

    async def ListRulesPolicies(
        self, request: policies_pb2.ListRulesPoliciesRequest, _context: Context
    ) -> policies_pb2.ListRulesPoliciesResponse:
        """List rules policies."""
        page = await self.desk.list(RulesPolicy, wanted_from_proto(request))
        return policies_pb2.ListRulesPoliciesResponse(
            rules_policies=[rules_policy_to_proto(item.content, item.about) for item in page.items],
            next_page_token=page.next_token,
        )

    async def UpdateRulesPolicy(
        self, request: policies_pb2.UpdateRulesPolicyRequest, _context: Context
    ) -> policies_pb2.UpdateRulesPolicyResponse:
        """Replace a rules policy."""
        draft, answer = rules_policy_from_proto(request.rules_policy), policies_pb2.UpdateRulesPolicyResponse
        return await self.desk.once(
            request,
            lambda work, author: authoring.update_object(work, self.desk.means, draft, author=author),
            answer,
            partial(_say, answer),
        )

    async def DeleteRulesPolicy(
        self, request: policies_pb2.DeleteRulesPolicyRequest, _context: Context
    ) -> policies_pb2.DeleteRulesPolicyResponse:
        """Delete a rules policy."""
        answer = policies_pb2.DeleteRulesPolicyResponse
        return await self.desk.once(
            request,
            lambda work, author: authoring.delete_object(
                work, RulesPolicy, request.name, etag=request.etag, author=author
            ),
            answer,
            lambda _done: answer(),
        )

    async def AssignRulesPolicy(
        self, request: policies_pb2.AssignRulesPolicyRequest, _context: Context
    ) -> policies_pb2.AssignRulesPolicyResponse:
        """Replace the assignments of a rules policy."""
        new, answer = assignments_from_proto(request), policies_pb2.AssignRulesPolicyResponse
        return await self.desk.once(
            request,
            lambda work, author: authoring.assign_policy(work, self.desk.means, RulesPolicy, new, author=author),
            answer,
            partial(_say, answer),
        )


def _say(answer: type[Answer], written: Written[RulesPolicy]) -> Answer:
    return answer(
        rules_policy=rules_policy_to_proto(written.stored.content, written.stored.about),
    )
