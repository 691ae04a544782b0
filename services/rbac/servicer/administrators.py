"""Serve administrators on the public door."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from epm.rbac.v1 import rbac_pb2, rbac_pb2_grpc
from services._chassis.access import AccessControl
from services._chassis.auth import digest_of
from services._chassis.caller import current_caller
from services._chassis.paging import Page, cut, page_request
from services.rbac import codec, usecases
from services.rbac.model.nouns import AccessObject, Actor, Token
from services.rbac.ports import Store, TokenUseRecord
from services.rbac.workers import AccessPublisher

Item = TypeVar("Item", bound=AccessObject)
RIGHTS_PER_KIND = {
    "roles": ("roles.create", "roles.update"),
    "principals": ("roles.assign",),
    "principal_groups": ("roles.assign",),
    "role_assignments": ("roles.assign",),
    "scope_tags": ("scope_tags.manage",),
    "trusted_issuers": ("roles.assign",),
}

READ_RIGHTS = {
    "Role": "roles.read",
    "Principal": "roles.read",
    "PrincipalGroup": "roles.read",
    "RoleAssignment": "roles.read",
    "ScopeTag": "scope_tags.read",
    "TrustedIssuer": "roles.read",
}


class RbacServicer(rbac_pb2_grpc.RbacServiceServicer):
    """Serve administrators."""

    def __init__(
        self,
        store: Store,
        publisher: AccessPublisher,
        access: AccessControl,
        *,
        uses: TokenUseRecord,
        now: Callable[[], datetime],
        new_id: Callable[[], str],
        new_secret: Callable[[], str],
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._access = access
        self._uses = uses
        self._now = now
        self._new_id = new_id
        self._new_secret = new_secret

    async def WhoAmI(self, request: rbac_pb2.WhoAmIRequest, context: Any) -> rbac_pb2.WhoAmIResponse:
        """Return the caller with its rights."""
        actor = _actor()
        access, now = self._access.access(), self._now()
        return rbac_pb2.WhoAmIResponse(
            principal=actor.name,
            rights=access.rights(actor.name, now, actor.groups),
            role_assignments=sorted(grant.assignment for grant in access.grants(actor.name, now, actor.groups)),
        )

    async def ListRoles(self, request: rbac_pb2.ListRolesRequest, context: Any) -> rbac_pb2.ListRolesResponse:
        """List roles by name."""
        state, _ = await usecases.read_state(self._store)
        page = _page(state.roles, request)
        return rbac_pb2.ListRolesResponse(roles=map(codec.role_to_proto, page.items), next_page_token=page.next_token)

    async def ListPrincipalGroups(
        self, request: rbac_pb2.ListPrincipalGroupsRequest, context: Any
    ) -> rbac_pb2.ListPrincipalGroupsResponse:
        """List principal groups by name."""
        state, _ = await usecases.read_state(self._store)
        page = _page(state.principal_groups, request)
        return rbac_pb2.ListPrincipalGroupsResponse(
            principal_groups=map(codec.group_to_proto, page.items), next_page_token=page.next_token
        )

    async def ListPrincipals(
        self, request: rbac_pb2.ListPrincipalsRequest, context: Any
    ) -> rbac_pb2.ListPrincipalsResponse:
        """List principal records by name."""
        state, _ = await usecases.read_state(self._store)
        page = _page(state.principals, request)
        return rbac_pb2.ListPrincipalsResponse(
            principals=map(codec.principal_to_proto, page.items), next_page_token=page.next_token
        )

    async def ListRoleAssignments(
        self, request: rbac_pb2.ListRoleAssignmentsRequest, context: Any
    ) -> rbac_pb2.ListRoleAssignmentsResponse:
        """List role assignments by name."""
        state, _ = await usecases.read_state(self._store)
        page = _page(state.role_assignments, request)
        return rbac_pb2.ListRoleAssignmentsResponse(
            role_assignments=map(codec.assignment_to_proto, page.items), next_page_token=page.next_token
        )

    async def ListScopeTags(
        self, request: rbac_pb2.ListScopeTagsRequest, context: Any
    ) -> rbac_pb2.ListScopeTagsResponse:
        """List scope tags by name."""
        state, _ = await usecases.read_state(self._store)
        page = _page(state.scope_tags, request)
        return rbac_pb2.ListScopeTagsResponse(
            scope_tags=map(codec.tag_to_proto, page.items), next_page_token=page.next_token
        )

    async def ListTrustedIssuers(
        self, request: rbac_pb2.ListTrustedIssuersRequest, context: Any
    ) -> rbac_pb2.ListTrustedIssuersResponse:
        """List trusted issuers by name."""
        state, _ = await usecases.read_state(self._store)
        page = _page(state.trusted_issuers, request)
        return rbac_pb2.ListTrustedIssuersResponse(
            trusted_issuers=map(codec.issuer_to_proto, page.items), next_page_token=page.next_token
        )

    async def GetLoginOptions(
        self, request: rbac_pb2.GetLoginOptionsRequest, context: Any
    ) -> rbac_pb2.GetLoginOptionsResponse:
        """Tell anybody at which issuers `epm login --oidc` can log in."""
        return rbac_pb2.GetLoginOptionsResponse(
            options=map(codec.login_option_to_proto, self._publisher.login_issuers())
        )

    async def ApplyAccess(self, request: rbac_pb2.ApplyAccessRequest, context: Any) -> rbac_pb2.ApplyAccessResponse:
        """Create or replace access objects, given the rights for each kind."""
        actor = _actor()
        for kind, rights in RIGHTS_PER_KIND.items():
            if getattr(request, kind):
                self._require(actor, rights)
        expected = codec.expected_from_proto(request)
        for right in sorted({READ_RIGHTS[entry.kind] for entry in expected if entry.kind in READ_RIGHTS}):
            self._require(actor, (right,))
        applied = await usecases.apply_access(
            self._store,
            codec.objects_from_proto(request),
            actor=actor,
            now=self._now(),
            validate_only=request.validate_only,
            expected=expected,
        )
        await self._publisher.reached(applied.revision)
        return codec.applied_to_proto(applied)

    async def DeleteRole(self, request: rbac_pb2.DeleteRoleRequest, context: Any) -> rbac_pb2.DeleteRoleResponse:
        """Delete a custom role."""
        await self._publisher.reached(await usecases.delete_role(self._store, request.name, now=self._now()))
        return rbac_pb2.DeleteRoleResponse()

    async def DeleteRoleAssignment(
        self, request: rbac_pb2.DeleteRoleAssignmentRequest, context: Any
    ) -> rbac_pb2.DeleteRoleAssignmentResponse:
        """Delete a role assignment."""
        revision = await usecases.delete_role_assignment(self._store, request.name, actor=_actor(), now=self._now())
        await self._publisher.reached(revision)
        return rbac_pb2.DeleteRoleAssignmentResponse()

    async def DeletePrincipal(
        self, request: rbac_pb2.DeletePrincipalRequest, context: Any
    ) -> rbac_pb2.DeletePrincipalResponse:
        """Delete a principal record."""
        revision = await usecases.delete_principal(self._store, request.name, actor=_actor(), now=self._now())
        await self._publisher.reached(revision)
        return rbac_pb2.DeletePrincipalResponse()

    async def DeletePrincipalGroup(
        self, request: rbac_pb2.DeletePrincipalGroupRequest, context: Any
    ) -> rbac_pb2.DeletePrincipalGroupResponse:
        """Delete a principal group."""
        await self._publisher.reached(await usecases.delete_principal_group(self._store, request.name, now=self._now()))
        return rbac_pb2.DeletePrincipalGroupResponse()

    async def DeleteTrustedIssuer(
        self, request: rbac_pb2.DeleteTrustedIssuerRequest, context: Any
    ) -> rbac_pb2.DeleteTrustedIssuerResponse:
        """Delete a trusted issuer."""
        revision = await usecases.delete_trusted_issuer(self._store, request.name, actor=_actor(), now=self._now())
        await self._publisher.reached(revision)
        return rbac_pb2.DeleteTrustedIssuerResponse()

    async def IssueToken(self, request: rbac_pb2.IssueTokenRequest, context: Any) -> rbac_pb2.IssueTokenResponse:
        """Issue a token and show its text this once."""
        secret = self._new_secret()
        new = usecases.NewToken(
            token_id=self._new_id(),
            secret_digest=digest_of(secret),
            principal=request.principal,
            description=request.description,
            expires=codec.time_from_proto(request),
        )
        token, revision = await usecases.issue_token(self._store, new, actor=_actor(), now=self._now())
        await self._publisher.reached(revision)
        return rbac_pb2.IssueTokenResponse(token=codec.token_to_proto(token), secret=secret)

    async def ListTokens(self, request: rbac_pb2.ListTokensRequest, context: Any) -> rbac_pb2.ListTokensResponse:
        """List tokens, newest first."""
        wanted = page_request(
            page_size=request.page_size, page_token=request.page_token, question="tokens", shape=(int, str)
        )
        state, _ = await usecases.read_state(self._store)
        tokens = sorted(state.tokens.values(), key=_newest_first)
        rest = [token for token in tokens if not wanted.after or _newest_first(token) > wanted.after]
        page = cut(rest, wanted, key=_newest_first)
        return rbac_pb2.ListTokensResponse(tokens=await self._shown(page.items), next_page_token=page.next_token)

    async def RevokeToken(self, request: rbac_pb2.RevokeTokenRequest, context: Any) -> rbac_pb2.RevokeTokenResponse:
        """Revoke a token at once."""
        token, revision = await usecases.revoke_token(self._store, request.token_id, now=self._now())
        await self._publisher.reached(revision)
        (shown,) = await self._shown([token])
        return rbac_pb2.RevokeTokenResponse(token=shown)

    async def _shown(self, tokens: Sequence[Token]) -> list[rbac_pb2.Token]:
        uses = await self._uses.last_used([token.token_id for token in tokens])
        return [codec.token_to_proto(token, uses.get(token.token_id)) for token in tokens]

    def _require(self, actor: Actor, rights: Iterable[str]) -> None:
        for right in rights:
            self._access.check(actor.name, right, actor.groups)


def _actor() -> Actor:
    caller = current_caller()
    return Actor(caller.principal, caller.groups)


def _page(shelf: Mapping[str, Item], request: Any) -> Page[Item]:
    question = type(request).__name__
    wanted = page_request(page_size=request.page_size, page_token=request.page_token, question=question)
    rest = [shelf[name] for name in sorted(shelf) if not wanted.after or (name,) > wanted.after]
    return cut(rest, wanted, key=lambda item: (item.name,))


def _newest_first(token: Token) -> tuple[int, str]:
    return -int(token.created.timestamp() * 1_000_000), token.token_id
