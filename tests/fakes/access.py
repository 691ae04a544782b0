"""Access control without the rbac service: say who holds which rights, get what a service asks."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta

from services._chassis.access import AccessControl
from services._chassis.auth import digest_of
from services._chassis.caller import CallContext, Caller, CallerKind, set_call
from services._chassis.clock import Clock, SystemClock
from services._chassis.permits import Permit, Scope
from services._chassis.rights import RIGHT_NAMES
from services._chassis.snapshot import AccessSnapshot, AssignmentGrant, IssuerTrust, RoleGrant, TokenDigest


class FakeAccess:
    """Collect grants and tokens; `control` checks them the way a service does."""

    def __init__(self, clock: Clock | None = None, bound: timedelta = timedelta(days=1)) -> None:
        self.control = AccessControl(clock or SystemClock(), bound=bound)
        self._snapshot = AccessSnapshot(revision=0)

    def grant(
        self,
        principal: str,
        rights: Iterable[str] = RIGHT_NAMES,
        *,
        scope_groups: Iterable[str] = ("all-devices", "all-users"),
        scope_tags: Iterable[str] = (),
        expires: datetime | None = None,
        role: str = "",
    ) -> str:
        """Give the principal the rights, within the scope; return a token that speaks for it."""
        number = len(self._snapshot.assignments) + 1
        name = role or f"role-{number}"
        assignment = AssignmentGrant(
            name=f"assignment-{number}",
            role=name,
            members=frozenset({principal}),
            scope_groups=frozenset(scope_groups),
            scope_tags=frozenset(scope_tags),
            expires=expires,
        )
        old = self._snapshot
        roles = (*old.roles, RoleGrant(name, frozenset(rights)))
        self._put(replace(old, roles=roles, assignments=(*old.assignments, assignment)))
        return self.token(principal)

    def owner(self, principal: str = "user:owner") -> str:
        """Make the principal an Owner; return a token that speaks for it."""
        return self.grant(principal, role="Owner")

    def token(self, principal: str, *, expires: datetime | None = None) -> str:
        """Return a new token that speaks for the principal."""
        number = len(self._snapshot.tokens) + 1
        name = principal.removeprefix("user:").replace(".", "-")  # with dots it could pass for a signed token
        text = f"epm_token-{number}-of-{name}"
        token = TokenDigest(token_id=f"token-{number}", digest=digest_of(text), principal=principal, expires=expires)
        self._put(replace(self._snapshot, tokens=(*self._snapshot.tokens, token)))
        return text

    def revoke(self, text: str) -> None:
        """Take the token away."""
        kept = tuple(token for token in self._snapshot.tokens if token.digest != digest_of(text))
        self._put(replace(self._snapshot, tokens=kept))

    def take_away(self, principal: str) -> None:
        """Take everything that the principal was given away; the token still counts."""
        kept = tuple(one for one in self._snapshot.assignments if principal not in one.members)
        self._put(replace(self._snapshot, assignments=kept))

    def trust(self, *issuers: IssuerTrust) -> None:
        """Believe the tokens of these issuers and of no others."""
        self._put(replace(self._snapshot, issuers=issuers))

    def tag(self, *names: str) -> None:
        """Let there be these scope tags and no others; until this is said, nobody knows which there are."""
        self._put(replace(self._snapshot, scope_tags=frozenset({"default", *names})))

    def _put(self, snapshot: AccessSnapshot) -> None:
        self._snapshot = replace(snapshot, revision=snapshot.revision + 1)
        self.control.replace(self._snapshot)


def permit(
    right: str = "policy_authoring.read",
    *,
    groups: Iterable[str] = (),
    tags: Iterable[str] = (),
    everything: bool = False,
) -> Permit:
    """Return a permit with one scope."""
    return Permit(right, (Scope(frozenset(groups), frozenset(tags), everything),))


def calling_as(
    principal: str = "user:owner",
    allowed: Permit | None = None,
    *,
    request_id: str = "test",
    decision_id: str = "decision",
) -> Caller:
    """Make the rest of this test's task run as a call of the administrator; return the caller."""
    caller = Caller(kind=CallerKind.ADMINISTRATOR, principal=principal, token_id="token-1", source="ipv4:127.0.0.1:1")
    set_call(CallContext(caller, allowed or permit(everything=True), request_id, decision_id))
    return caller
