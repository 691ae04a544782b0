"""What is refused whatever the verb, each with the reason by which callers know it."""

from collections.abc import Iterable
from datetime import datetime

from services._chassis.errors import DeniedError, StateError
from services._chassis.nesting import USER
from services.rbac.model.builtin import BUILT_IN_ROLES
from services.rbac.model.changes import Change, is_unconfined
from services.rbac.model.grants import compiled
from services.rbac.model.nouns import AccessState, Actor


def refuse_all_but_owners(state: AccessState, actor: Actor, now: datetime) -> None:
    """Refuse a change of trusted issuers by anybody else. Raises DeniedError."""
    if not compiled(state).is_owner(actor.name, now, actor.groups):
        raise DeniedError(
            "a trusted issuer may speak for anybody; only an Owner adds, changes or deletes one",
            reason="OWNER_REQUIRED",
        )


def refuse_built_in(names: Iterable[str]) -> None:
    """Refuse to touch built-in roles. Raises StateError."""
    if built_in := sorted(set(names) & BUILT_IN_ROLES.keys()):
        raise StateError(
            f"{', '.join(built_in)}: built-in roles cannot be changed; make a custom role", reason="BUILT_IN_ROLE"
        )


def refuse_principals(before: AccessState, after: AccessState, actor: Actor, now: datetime) -> None:
    """Refuse a change of principal records that would let somebody approve what they must not. Raises DeniedError.

    INVARIANT: nobody takes endpoint users from their own record, and only an Owner from any other: whoever loses one may
    approve requests of that user from then on. Who may assign within a scope alone changes no record.
    """
    changed = [
        name
        for name in {*before.principals, *after.principals}
        if before.principals.get(name) != after.principals.get(name)
    ]
    if not changed:
        return
    access = compiled(before)
    permit = access.permit(actor.name, "roles.assign", now, actor.groups)
    if permit is None or not is_unconfined(permit.scopes):
        raise DeniedError(
            f"{actor.name} may assign roles within a scope alone; principals have none, ask who may assign everywhere",
            reason="OUT_OF_REACH",
        )
    losing = sorted(name for name in changed if _users(before, name) - _users(after, name))
    if actor.name in {USER + name for name in losing}:
        raise DeniedError(
            f"{actor.name} cannot take endpoint users from itself; ask another Owner", reason="OWN_ENDPOINT_USERS"
        )
    if losing and not access.is_owner(actor.name, now, actor.groups):
        raise DeniedError(
            f"{', '.join(losing)}: only an Owner takes endpoint users from a principal", reason="OWNER_REQUIRED"
        )


def refuse_change(change: Change, actor: Actor, now: datetime) -> None:
    """Refuse what the actor may not give or take, and what takes the last Owner. Raises DeniedError or StateError."""
    refuse_excess(change.excess(actor, now), actor)
    # Before the reach: of two Owners who remove each other, the later one is none any more, and is told why it failed.
    if change.takes_the_last_owner():
        raise StateError("nobody would be Owner without an end any more; make another Owner first", reason="LAST_OWNER")
    refuse_lockout(change, now)
    if outside := change.out_of_reach(actor, now):
        raise DeniedError(
            f"{actor.name} may give and take within its own scope alone, and out of it lies {', '.join(outside)}",
            reason="OUT_OF_REACH",
        )


def refuse_lockout(change: Change, now: datetime) -> None:
    """Refuse what takes the last way in of the Owners. Raises StateError."""
    if change.locks_out_the_owners(now):
        raise StateError(
            "no Owner without an end could log in any more; issue another token to an Owner first", reason="LAST_OWNER"
        )


def refuse_excess(rights: tuple[str, ...], actor: Actor) -> None:
    """Refuse to grant rights that the actor lacks. Raises DeniedError."""
    if rights:
        raise DeniedError(
            f"{actor.name} would grant what it lacks within that scope and time: {', '.join(rights)}; only an Owner may",
            reason="GRANT_EXCEEDS_OWN_RIGHTS",
        )


def _users(state: AccessState, name: str) -> frozenset[str]:
    record = state.principals.get(name)
    return record.endpoint_users if record else frozenset()
