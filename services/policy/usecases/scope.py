"""Who acts, what they see, whom they may target, and which scope tags are theirs to hand out."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from services._chassis.caller import current_caller, current_permit, current_reason
from services._chassis.errors import ConflictError, DeniedError, NotFoundError
from services._chassis.expected import present_state
from services._chassis.permits import Permit
from services.policy.model.objects import Content, Stored, kind_of
from services.policy.ports import Work

CREATE = "policy_authoring.create"
UPDATE = "policy_authoring.update"
ASSIGN = "policy_authoring.assign"
DELETE = "policy_authoring.delete"
READ = "policy_authoring.read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Know who acts, when, and within which scope."""

    principal: str
    permit: Permit
    """Where the right that the call asked for counts."""
    check: Callable[[str], Permit]
    """Returns the permit for another right; raises DeniedError where there is none."""
    now: datetime
    reason: str = ""
    """Why, in their own words."""
    validate_only: bool = False
    """True rehearses the call: everything is checked, and nothing is written."""


def author_of_call(check: Callable[..., Permit], now: datetime, *, validate_only: bool = False) -> Author:
    """Return who makes the running call; `check` tells of any principal where a right of theirs counts."""
    caller = current_caller()
    return Author(
        principal=caller.principal,
        permit=current_permit(),
        check=partial(check, caller.principal, groups=caller.groups),
        now=now,
        reason=current_reason(),
        validate_only=validate_only,
    )


async def visible(work: Work, kind: type[Content], name: str, permit: Permit) -> Stored[Content]:
    """Return an object. Raises NotFoundError where there is none, or none that may be seen."""
    found = (await work.find(kind, [name])).get(name)
    if found is None or not permit.sees(found.about.scope_tags):
        raise NotFoundError(f'there is no {kind_of(kind).noun} "{name}"; list them for their names')
    return found


def refuse_out_of_scope(permit: Permit, groups: Iterable[str], tags: Iterable[str]) -> None:
    """Raise DeniedError if one of the groups is not the caller's to target with an object of these tags."""
    if outside := permit.out_of_scope(groups, tags=tags):
        raise DeniedError(
            f"{permit.right} does not reach {', '.join(outside)}; leave these groups as they are, or ask for a role"
            " assignment whose scope groups hold them",
            reason="GROUP_OUT_OF_SCOPE",
        )


def tags_after(permit: Permit, wanted: frozenset[str], present: frozenset[str] | None) -> frozenset[str]:
    """Return the tags that the object gets: those that were wanted, else those it has, else its creator's.

    Raises DeniedError if tags are added or taken away that are out of the caller's scope.
    """
    if not wanted:
        return permit.tags_for_new_object() if present is None else present
    changed = wanted ^ (present or frozenset())
    if changed and not permit.may_tag(changed):
        raise DeniedError(
            f"the scope tags {', '.join(sorted(changed))} are not all within the scope of {permit.right}; leave them as"
            " they are",
            reason="SCOPE_TAG_OUT_OF_SCOPE",
        )
    return wanted


def refuse_stale(existing: Stored[Content], etag: str) -> None:
    """Raise ConflictError if the object was changed since the caller read it; no etag means whatever state it is in."""
    if etag and etag != existing.about.etag:
        raise ConflictError(
            f'the {kind_of(type(existing.content)).noun} "{existing.name}" was changed meanwhile, its etag is now'
            f' "{existing.about.etag}"; read it again and repeat the change',
            stale=True,
            details=present_state(
                existing.about.etag, changed_by=existing.about.updated_by, changed=existing.about.updated
            ),
        )
