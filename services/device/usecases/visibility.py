"""Who may put which scope tags on what."""

from collections.abc import Collection

from services._chassis.access import Permit
from services._chassis.errors import DeniedError


def refuse_foreign_tags(permit: Permit, wanted: Collection[str], present: Collection[str] = ()) -> None:
    """Raise DeniedError if tags are added or taken away that are out of the scope of the caller's right."""
    changed = frozenset(wanted) ^ frozenset(present)
    if wanted and changed and not permit.may_tag(changed):
        raise DeniedError(
            f"the scope tags {', '.join(sorted(changed))} are not all within your scope; leave them as they are",
            reason="SCOPE_TAG_OUT_OF_SCOPE",
        )
