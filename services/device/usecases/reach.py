"""Keep whom policies reach to those who may assign policies.

Who is in a group that policies are assigned to is a matter of policy: whoever changes it needs `policy_authoring.assign`
over that group, as if the group were being assigned to anew. The scope tags of the policies do not matter. Before the
policy service has told its groups there are none. Who is in a group that others nest is in those too: whoever changes it
needs what changing each of them needs.
"""

from collections.abc import Callable, Collection, Iterable

from elevation.model import ALL_DEVICES, ALL_USERS
from services._chassis.errors import DeniedError
from services._chassis.logging import get_logger
from services._chassis.permits import Permit
from services.device.model.devices import Attested
from services.device.model.groups import Group
from services.device.model.used_groups import UsedGroups, reached_otherwise
from services.device.ports import Store, Work
from services.device.usecases.visibility import Standing, refuse_excess

ASSIGN = "policy_authoring.assign"
MOST_SHOWN = 5
"""Groups that a refusal names; a call may concern a thousand."""

log = get_logger("device.reach")


async def report_used_groups(store: Store, used: UsedGroups) -> None:
    """Take in the groups that policies are assigned to; again, or older than what is known, changes nothing."""
    async with store.read() as work:
        if not _is_news(used, await work.groups.used()):
            return
    async with store.transaction() as work:
        if _is_news(used, await work.groups.used()):
            await work.groups.keep_used(used)
            log.info("used_groups_taken_in", groups=len(used.groups), policy_revision=used.revision)


async def newest_policy_revision(store: Store) -> int:
    """Return the highest revision of the policy service that was ever heard of."""
    async with store.read() as work:
        return max(await work.devices.newest_policy_revision(), (await work.groups.used()).revision)


async def refuse_other_members(work: Work, standing: Standing, names: Iterable[str]) -> None:
    """Raise DeniedError if policies are assigned to a group, or to one that nests it, where the caller may not assign any."""
    used = (await work.groups.used()).names
    if not used:
        return
    own = frozenset(names)
    if concerned := used & (own.union(*(await work.memberships.nesting(own)).values())):
        may_assign = _may_assign(standing)
        if beyond := [name for name in concerned if not may_assign(name)]:
            raise _denied(await shown(work, standing, beyond, known=own))


async def refuse_others_rights(work: Work, standing: Standing, names: Iterable[str]) -> None:
    """Raise DeniedError if who joins a group comes under rights that the caller lacks, there or in one that nests it."""
    own = frozenset(names)
    for name in sorted(own):
        refuse_excess(standing, name)
    for name, parents in sorted((await work.memberships.nesting(own)).items()):
        for parent in sorted(parents - own):
            if standing.excess(parent):
                label = await shown(work, standing, [parent])
                refuse_excess(standing, parent, said=f'a group that nests "{name}" ({label})')


async def refuse_other_reach(
    work: Work, standing: Standing, *, before: Attested, after: Attested, anybody: bool = False
) -> None:
    """Raise DeniedError if a device so described is within reach of policies otherwise, by groups beyond the caller's scope.

    With `anybody` its agent names users of the device, and they may be in any group.
    """
    used = (await work.groups.used()).groups
    if not used:
        return
    may_assign = _may_assign(standing)
    beyond = [group for group in used if not may_assign(group.name)]
    groups = await work.memberships.reaching(group.name for group in beyond)
    if moved := [*reached_otherwise(beyond, groups, before=before, after=after, anybody=anybody)]:
        raise _denied(await shown(work, standing, moved))


async def shown(work: Work, standing: Standing, names: Collection[str], *, known: Collection[str] = ()) -> str:
    """List the groups that the caller may see, or knows because it named them, and say that there are others."""
    permit = _permit(standing, "groups.read")
    existing = await work.groups.many(names)
    seen = {name for name, group in existing.items() if permit.sees(group.scope_tags)}
    seen |= {name for name in names if name in known or name in {ALL_DEVICES, ALL_USERS}}
    return _listed(seen, others="groups that you do not see" if len(seen) < len(names) else "")


def seeing_groups(standing: Standing) -> Callable[[Group], bool]:
    """Return what tells whether the caller may know of a group, by reading or by changing it."""
    permits = [_permit(standing, right) for right in ("groups.read", "groups.update")]
    return lambda group: any(permit.sees(group.scope_tags) for permit in permits)


def _is_news(told: UsedGroups, known: UsedGroups) -> bool:
    return told != known and told.revision >= known.revision


def _may_assign(standing: Standing) -> Callable[[str], bool]:
    scopes = _permit(standing, ASSIGN).scopes
    return lambda group: any(scope.targets(group) for scope in scopes)


def _permit(standing: Standing, right: str) -> Permit:
    try:
        return standing.check(right)
    except DeniedError:
        return Permit(right)


def _listed(names: Collection[str], others: str = "") -> str:
    shown = [f'"{name}"' for name in sorted(names)[:MOST_SHOWN]]
    if more := len(names) - len(shown):
        shown.append(f"{more} more")
    if others:
        shown.append(others)
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))


def _denied(groups: str) -> DeniedError:
    return DeniedError(
        f"policies are assigned to {groups}, and this changes whom they reach, which needs {ASSIGN} there; ask an Owner, or"
        " for a role assignment whose scope groups hold them",
        reason="GRANT_EXCEEDS_OWN_RIGHTS",
    )
