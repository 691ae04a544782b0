"""What a change grants and takes, and whether its actor may grant and take it.

INVARIANT: only an Owner grants what it lacks. A change is compared by its effect: every grant that any principal or principal
group would gain, by whatever road (role, role assignment, principal group in principal group), must lie within one of the
actor's own grants: its rights, its scope, its time. Groups are compared like principals, since an identity provider may
count anybody into them.

INVARIANT: who may assign within a scope alone neither gives nor takes through a role assignment outside of it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

from services._chassis.access import CompiledAccess, Grant, scope_of
from services._chassis.permits import Scope
from services._chassis.rights import names_of
from services.rbac.model.grants import compiled
from services.rbac.model.nouns import AccessState, Actor
from services.rbac.model.owners import admits_owner, has_lasting_owner

_NEVER = datetime.max.replace(tzinfo=UTC)


class Change:
    """Compare the access data before and after, by what anybody gains and loses."""

    def __init__(self, before: AccessState, after: AccessState) -> None:
        self._before, self._after = before, after
        self._old, self._new = compiled(before), compiled(after)

    def excess(self, actor: Actor, now: datetime) -> tuple[str, ...]:
        """Name the rights that somebody gains and that the actor lacks, sorted; empty for an Owner."""
        if self._old.is_owner(actor.name, now, actor.groups):
            return ()
        own = self._old.grants(actor.name, now, actor.groups)
        excess = 0
        for had, has in _holdings(self._old, self._new):
            gained = [grant for grant in has if grant.counts(now) and grant not in had]
            held = [grant for grant in had if grant.counts(now)] if gained else []
            for grant in gained:
                excess |= _beyond(grant, held) & _beyond(grant, own)
        return names_of(excess)

    def out_of_reach(self, actor: Actor, now: datetime) -> tuple[str, ...]:
        """Name the role assignments through which the change gives or takes beyond the actor's reach, sorted.

        What a role does reaches as far as the right to update roles, everything else as far as the right to assign them.
        """
        updating, assigning = (self._scopes(actor, right, now) for right in ("roles.update", "roles.assign"))
        if is_unconfined(updating) and is_unconfined(assigning):
            return ()
        with_roles = compiled(replace(self._before, roles=self._after.roles))
        by_role = _touched(self._old, with_roles, updating, now)
        return tuple(sorted({*by_role, *_touched(with_roles, self._new, assigning, now)}))

    def takes_the_last_owner(self) -> bool:
        """Tell whether somebody was Owner without an end, and nobody is any more."""
        return has_lasting_owner(self._old) and not has_lasting_owner(self._new)

    def locks_out_the_owners(self, now: datetime) -> bool:
        """Tell whether somebody could log in as Owner without an end, and nobody can any more."""
        return admits_owner(self._old, now) and not admits_owner(self._new, now)

    def _scopes(self, actor: Actor, right: str, now: datetime) -> tuple[Scope, ...]:
        permit = self._old.permit(actor.name, right, now, actor.groups)
        return permit.scopes if permit else ()


def excess_of_token(state: AccessState, principal: str, actor: Actor, now: datetime) -> tuple[str, ...]:
    """Name the rights of the principal that the actor lacks, sorted; who speaks for a principal has its rights."""
    access = compiled(state)
    if access.is_owner(actor.name, now, actor.groups):
        return ()
    own = access.grants(actor.name, now, actor.groups)
    excess = 0
    for grant in access.grants(principal, now):
        excess |= _beyond(grant, own)
    return names_of(excess)


def _holdings(old: CompiledAccess, new: CompiledAccess) -> Iterator[tuple[frozenset[Grant], frozenset[Grant]]]:
    """Give what is held before and after, once for all principals and principal groups that hold the same."""
    alone = [frozenset({name}) for name in {*old.nesting.containers, *new.nesting.containers}]
    held = {(old.bits(name), new.bits(name)) for name in {*old.principals(), *new.principals()}}
    held.update((old.bits("", group), new.bits("", group)) for group in alone)
    for before, after in held:
        yield frozenset(old.of_bits(before)), frozenset(new.of_bits(after))


def _touched(old: CompiledAccess, new: CompiledAccess, scopes: tuple[Scope, ...], now: datetime) -> Iterator[str]:
    """Name the role assignments that change, or through which somebody gains or loses, beyond the scopes."""
    if is_unconfined(scopes):
        return
    for stated in {*old.snapshot.assignments} ^ {*new.snapshot.assignments}:
        if not _reaches(scopes, scope_of(stated)):
            yield stated.name
    for had, has in _holdings(old, new):
        for grant in had ^ has:
            if grant.counts(now) and not _reaches(scopes, grant.scope):
                yield grant.assignment


def _beyond(grant: Grant, own: Iterable[Grant]) -> int:
    """Return the rights of the grant that no single one of `own` holds within at least the same scope and time."""
    covered = 0
    for candidate in own:
        if _as_wide(candidate.scope, grant.scope) and (candidate.expires or _NEVER) >= (grant.expires or _NEVER):
            covered |= candidate.mask
    return grant.mask & ~covered


def _as_wide(own: Scope, other: Scope) -> bool:
    return own.everything or (not other.everything and _sees_all_of(own, other) and other.groups <= own.groups)


def _sees_all_of(own: Scope, other: Scope) -> bool:
    return not own.tags or (bool(other.tags) and other.tags <= own.tags)


def _reaches(scopes: Iterable[Scope], other: Scope) -> bool:
    """Tell whether one of the scopes holds the other; without scope groups it is confined by its tags alone."""
    return any(
        is_unconfined((own,))
        or (not other.everything and _sees_all_of(own, other) and (not own.groups or other.groups <= own.groups))
        for own in scopes
    )


def is_unconfined(scopes: Iterable[Scope]) -> bool:
    """Tell whether one of the scopes reaches everything."""
    return any(own.everything or not (own.tags or own.groups) for own in scopes)
