"""What drafts may refer to: groups of the directory, and reusable certificates that the author sees."""

from collections.abc import Collection, Iterable, Mapping

from elevation.checks import BUILT_IN_GROUPS
from elevation.model import GroupType, ReusableCertificate
from services._chassis.permits import Permit
from services.policy.model.objects import AnyContent, Stored, certificates_named
from services.policy.ports import Directories, Work


def known_groups(directories: Directories, named: Iterable[str]) -> Mapping[str, GroupType]:
    """Return the groups that exist; the directory is asked only where a group is named that does not always exist."""
    if frozenset(named) <= BUILT_IN_GROUPS.keys():
        return {}
    return {name: group.type for name, group in directories.directory().groups.items()}


async def known_certificates(work: Work, named: Collection[str]) -> Mapping[str, Stored[ReusableCertificate]]:
    """Return those of the certificates that there are."""
    return await work.find(ReusableCertificate, named) if named else {}


def nameable(
    certificates: Mapping[str, Stored[ReusableCertificate]],
    existing: Stored[AnyContent] | None,
    permits: Iterable[Permit],
) -> frozenset[str]:
    """Return the certificates that the author may name in the place of `existing`: those in sight, and those it names."""
    seeing = tuple(permits)
    seen = (
        name for name, stored in certificates.items() if any(permit.sees(stored.about.scope_tags) for permit in seeing)
    )
    named = certificates_named(existing.content) if existing else frozenset[str]()
    return named & certificates.keys() | frozenset(seen)
