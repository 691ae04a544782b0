"""Let a caller in, or not: what a door does before anything of the request is read."""

from collections.abc import Mapping
from typing import Any

from services._chassis import auth
from services._chassis.access import Permit
from services._chassis.caller import Caller, CallerKind
from services._chassis.errors import DeniedError
from services._chassis.rules import PUBLIC_KINDS, MethodRule

Metadata = Mapping[str, tuple[str, ...]]


def admit(rule: MethodRule | None, metadata: Metadata, context: Any, *, trust_domain: str) -> tuple[Caller, Permit]:
    """Return who calls, and the scopes of the right that the method needs.

    Raises UnauthenticatedError, DeniedError, and UnavailableError while the access snapshot is missing or stale.
    """
    if rule is None:
        raise DeniedError("nobody may call this method", reason="NO_ACCESS_RULE")
    source = str(context.peer())
    if rule.callers <= PUBLIC_KINDS:
        return _admit_in_public(rule, metadata, source)
    caller = auth.mesh_caller(context.auth_context(), trust_domain=trust_domain, source=source)
    known = caller.kind is not CallerKind.SERVICE or caller.service in rule.services
    if caller.kind not in rule.callers or not known:
        raise DeniedError(f"{caller.name} may not call this method", reason="CALLER_NOT_ALLOWED")
    return caller, Permit()


def _admit_in_public(rule: MethodRule, metadata: Metadata, source: str) -> tuple[Caller, Permit]:
    authorization = metadata.get("authorization", ())
    if CallerKind.ADMINISTRATOR not in rule.callers or (not authorization and CallerKind.ANONYMOUS in rule.callers):
        return Caller(kind=CallerKind.ANONYMOUS, source=source), Permit()
    caller = auth.administrator(authorization, rule.access, source=source)
    return caller, rule.access.check(caller.principal, rule.right) if rule.right else Permit()
