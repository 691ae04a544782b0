"""Settings policies that disagree on one device, as administrators see it.

Conflicts are worked out whenever they are asked for: one is gone as soon as the policies agree.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

from elevation.document import PolicyDocument
from elevation.model import Conflict, Settings
from elevation.settings import spelled


@dataclass(frozen=True, slots=True)
class ConflictingValue:
    """Hold what one settings policy says, as documents write it."""

    policy: str
    """Empty: a policy that whoever asks may not see."""
    value: str


@dataclass(frozen=True, slots=True)
class SettingsConflict:
    """Hold one setting on which the policies for one user disagree."""

    user: str
    """Empty: anybody who is not bound to the device."""
    setting: str
    values: tuple[ConflictingValue, ...]
    effective: str
    """What counts, as documents write it."""


def conflicts_of(document: PolicyDocument) -> tuple[SettingsConflict, ...]:
    """Return the conflicts in a document, for anybody first, then for each of its users."""
    return tuple(_conflicts(document))


def without_names(conflict: SettingsConflict, hidden: Collection[str]) -> SettingsConflict:
    """Leave out the names of policies that may not be seen; their values explain what counts, and stay."""
    values = (ConflictingValue("" if said.policy in hidden else said.policy, said.value) for said in conflict.values)
    return replace(conflict, values=tuple(values))


def _conflicts(document: PolicyDocument) -> Iterator[SettingsConflict]:
    for user in (document.any_user, *document.users):
        if user.settings is not None:
            for conflict in user.settings.conflicts:
                yield _of_user(user.user, conflict, user.settings)


def _of_user(user: str, conflict: Conflict, settings: Settings) -> SettingsConflict:
    said = zip(conflict.policies, conflict.values, strict=True)
    values = tuple(ConflictingValue(policy, value) for policy, value in said)
    return SettingsConflict(user, conflict.setting, values, spelled(settings)[conflict.setting])
