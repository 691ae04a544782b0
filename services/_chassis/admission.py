"""Let a caller in, or not: what a door does before anything of the request is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from services._chassis import auth
from services._chassis.caller import Caller, CallerKind
from services._chassis.errors import DeniedError
from services._chassis.permits import Permit
from services._chassis.rules import PUBLIC_KINDS, MethodRule

Metadata = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Origin:
    """Say where a call comes from, and whether too many from there failed to prove who they are.

    That is asked only of those who bring a token: to others it makes no difference.
    """

    source: str
    limited: Callable[[], bool]


def identify(rule: MethodRule, metadata: Metadata, context: Any, *, trust_domain: str, origin: Origin) -> Caller:
    """Return who calls. Raises UnauthenticatedError, and UnavailableError while the access snapshot is missing or stale."""
    source = origin.source
    if not rule.callers <= PUBLIC_KINDS:
        return auth.mesh_caller(context.auth_context(), trust_domain=trust_domain, source=source)
    authorization = metadata.get("authorization", ())
    if CallerKind.ADMINISTRATOR not in rule.callers or (not authorization and CallerKind.ANONYMOUS in rule.callers):
        return Caller(kind=CallerKind.ANONYMOUS, source=source)
    return auth.administrator(authorization, rule.access, source=source, limited=origin.limited())


def authorise(rule: MethodRule, caller: Caller) -> Permit:
    """Return the scopes of the right that the method needs, for a caller who was identified for it. Raises DeniedError."""
    known = caller.kind is not CallerKind.SERVICE or caller.service in rule.services
    if caller.kind not in rule.callers or not known:
        raise DeniedError(f"{caller.name} may not call this method", reason="CALLER_NOT_ALLOWED")
    needs_right = caller.kind is CallerKind.ADMINISTRATOR and rule.right
    return rule.access.check(caller.principal, rule.right, caller.groups) if needs_right else Permit()
