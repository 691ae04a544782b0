"""Delete what an owner's code does not hold any more, and nothing that is not the owner's."""

from collections.abc import Iterator, Mapping, Sequence

from elevation.model import ReusableCertificate, RulesPolicy
from services._chassis.errors import DeniedError
from services._chassis.expected import listed
from services.policy.model.application import (
    KINDS_BY_NAME,
    AnyStored,
    Application,
    AppliedObject,
)
from services.policy.model.objects import Action, Key, Stored, kind_of
from services.policy.ports import Work
from services.policy.usecases.expectations import Sees
from services.policy.usecases.in_use import refuse_in_use
from services.policy.usecases.scope import DELETE, Author


def removals_of(
    application: Application, present: Mapping[Key, AnyStored], *, sees: Sees, author: Author
) -> list[AnyStored]:
    """Return the objects that are to go, of those that are there and may be seen.

    Raises DeniedError where the caller may not delete them, or they do not carry the owner's label.
    """
    keys = [(KINDS_BY_NAME[each.kind], each.name) for each in application.deletions if each.kind in KINDS_BY_NAME]
    found = [present[key] for key in keys if key in present and sees(present[key].about.scope_tags)]
    if not found:
        return []
    permit = author.check(DELETE)
    if outside := [_title(stored) for stored in found if not permit.sees(stored.about.scope_tags)]:
        raise DeniedError(f"{listed(outside)}: not within the scope of {DELETE}", reason="OBJECT_OUT_OF_SCOPE")
    owner = application.owner
    if owner and owner.key and (others := [_title(stored) for stored in found if not owner.owns(stored)]):
        label = f'"{owner.key}" = "{owner.value}"'
        raise DeniedError(
            f"{listed(others)}: without the label {label}; what other owners keep is never deleted",
            reason="NOT_THE_OWNER",
        )
    return found


async def refuse_named(work: Work, removed: Sequence[AnyStored], wanted: Sequence[AnyStored], *, sees: Sees) -> None:
    """Raise StateError for certificates that rules still name once the call is done."""
    going = {stored.name for stored in removed if isinstance(stored.content, ReusableCertificate)}
    if not going:
        return
    policies = {policy.name: policy for policy in await work.naming(*going)}
    for stored in removed:
        if isinstance(stored.content, RulesPolicy):
            policies.pop(stored.name, None)
    policies.update({policy.name: policy for policy in _rules_policies(wanted)})
    refuse_in_use(sorted(going), (policies[name] for name in sorted(policies)), sees=sees)


def outcomes_of(application: Application, removed: Sequence[AnyStored]) -> Iterator[AppliedObject]:
    """Say what became of each object to delete, in the order of the call; one that was not there is as it was."""
    gone = {(type(stored.content), stored.name): stored for stored in removed}
    for deletion in application.deletions:
        kind = KINDS_BY_NAME[deletion.kind]
        stored = gone.get((kind, deletion.name))
        if stored is None:
            yield AppliedObject(kind=kind, name=deletion.name, action=Action.UNCHANGED)
        else:
            etag = stored.about.etag
            yield AppliedObject(kind=kind, name=deletion.name, action=Action.DELETED, etag_before=etag)


def _rules_policies(stored: Sequence[AnyStored]) -> Iterator[Stored[RulesPolicy]]:
    for each in stored:
        if isinstance(each.content, RulesPolicy):
            yield Stored(each.content, each.about)


def _title(stored: AnyStored) -> str:
    return f'the {kind_of(type(stored.content)).noun} "{stored.name}"'
