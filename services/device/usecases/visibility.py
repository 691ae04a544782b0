"""Who may see a device, who may put which scope tags on what, and who may change a group that gives others their reach."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

from elevation import texts
from services._chassis.errors import DeniedError, NotFoundError, Problem
from services._chassis.permits import Permit
from services._chassis.scope_tags import KnownTags, missing_tags, with_pending
from services.device.model.devices import Device
from services.device.model.groups import Group


@dataclass(frozen=True, slots=True)
class Standing:
    """Know what a caller may do beside the right that its call asked for."""

    check: Callable[[str], Permit]
    """Returns the permit for another right; raises DeniedError where there is none."""
    excess: Callable[[str], Collection[str]]
    """Returns the rights that others have over a scope group and the caller has not."""
    known_tags: KnownTags = frozenset

    def missing(self, field: str, wanted: Iterable[str], present: Iterable[str] = ()) -> list[Problem]:
        """Find scope tags that an object would be given and that there are not."""
        named = (tag for tag in wanted if not list(texts.check_name("", tag)))
        return [Problem(field, message) for message in missing_tags(named, present, self.known_tags())]

    def expecting(self, tags: Collection[str]) -> "Standing":
        """Return the same where there are these scope tags too."""
        known_tags = self.known_tags
        return replace(self, known_tags=lambda: with_pending(known_tags(), tags)) if tags else self


def refuse_excess(standing: Standing, group: str, *, said: str = "") -> None:
    """Raise DeniedError if a change of the group, `said` so in the message, would give others rights that the caller lacks."""
    if rights := standing.excess(group):
        said = said or f'"{group}"'
        raise DeniedError(
            f"{said} is a scope group of role assignments, and whoever joins it comes under {', '.join(rights)}, which"
            " you lack there; only an Owner may change it",
            reason="GRANT_EXCEEDS_OWN_RIGHTS",
        )


def refuse_foreign_tags(permit: Permit, wanted: Collection[str], present: Collection[str] = ()) -> None:
    """Raise DeniedError if tags are added or taken away that are out of the scope of the caller's right."""
    changed = frozenset(wanted) ^ frozenset(present)
    if wanted and changed and not permit.may_tag(changed):
        raise DeniedError(
            f"the scope tags {', '.join(sorted(changed))} are not all within your scope; leave them as they are",
            reason="SCOPE_TAG_OUT_OF_SCOPE",
        )


def visible_device(device: Device | None, permit: Permit) -> Device:
    """Return the device that was found, if the caller may see it. Raises NotFoundError."""
    if device is None or not permit.sees(device.attested.scope_tags):
        raise NotFoundError("there is no such device; list the devices for their ids and names")
    return device


def visible_group(group: Group | None, permit: Permit) -> Group:
    """Return the group that was found, if the caller may see it. Raises NotFoundError."""
    if group is None or not permit.sees(group.scope_tags):
        raise NotFoundError("there is no such group; list the groups for their names")
    return group
