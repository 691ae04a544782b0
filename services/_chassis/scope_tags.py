"""The scope tags that objects may be given: those that there are, as the rbac service tells."""

from collections.abc import Callable, Iterable
from typing import TypeAlias

from services._chassis.access import AccessControl
from services._chassis.permits import DEFAULT_TAG

SECONDS_FOR_REVISION = 5.0
"""How long a call waits for the revision of the access data that it names."""

KnownTags: TypeAlias = Callable[[], frozenset[str]]
"""Returns the names of all scope tags; none where they are not known, and then nothing is checked."""


def tags_of(access: AccessControl) -> frozenset[str]:
    """Return the names of all scope tags; none where an older rbac service does not tell them."""
    return access.access().snapshot.scope_tags


def with_pending(known: frozenset[str], pending: Iterable[str]) -> frozenset[str]:
    """Return the scope tags that there will be; where it is not known which there are, that stays so."""
    return known.union(pending) if known else known


def missing_tags(wanted: Iterable[str], present: Iterable[str], known: frozenset[str]) -> list[str]:
    """Say of each tag that an object would be given, and that there is not, what is wrong; tags that it has may stay."""
    added = frozenset(wanted).difference(present, known, {DEFAULT_TAG}) if known else ()
    return [
        f'there is no scope tag "{tag}"; make it first, or in one epm apply with this (kind ScopeTag)'
        for tag in sorted(added)
    ]
