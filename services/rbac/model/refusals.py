"""What is refused whatever the verb, each with the reason by which callers know it."""

from collections.abc import Iterable
from datetime import datetime

from services._chassis.errors import DeniedError, StateError
from services.rbac.model.builtin import BUILT_IN_ROLES
from services.rbac.model.changes import Change
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
