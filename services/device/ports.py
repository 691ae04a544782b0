"""What the verbs need from the outside: one store, in transactions."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services._chassis.audit import AuditEntry
from services._chassis.paging import Page, PageRequest
from services.device.model.devices import Device
from services.device.model.groups import Group
from services.device.model.history import HistoryEntry
from services.device.model.tokens import EnrolmentToken
from services.device.model.used_groups import UsedGroups
from services.device.model.users import KnownUser

Tags = frozenset[str] | None
"""Tags of which an object must carry one to be seen; None sees everything."""


class Devices(Protocol):
    """Keep devices."""

    async def get(self, device_id: str) -> Device | None:
        """Return the device, enrolled or not."""
        ...

    async def named(self, name: str) -> Device | None:
        """Return the enrolled device of this name."""
        ...

    async def enrolled_with(self, token_id: str, key_digest: str) -> Device | None:
        """Return the enrolled device that came with this token and key."""
        ...

    async def many(self, device_ids: Iterable[str]) -> Mapping[str, Device]:
        """Return those of the devices that exist, by id."""
        ...

    async def page(self, request: PageRequest, tags: Tags) -> Page[Device]:
        """Return a page of the visible devices, by name."""
        ...

    async def save(self, *devices: Device) -> None:
        """Write the devices as they are, new or not. Raises ConflictError if another enrolled device has a name of theirs."""
        ...

    async def due(self, now: datetime, *, limit: int) -> Sequence[Device]:
        """Return enrolled devices in DEPROVISION_PENDING whose time has come, the longest overdue first."""
        ...

    async def newest_policy_revision(self) -> int:
        """Return the highest revision of the policy service on which a device's lifecycle rests."""
        ...


class Identities(Protocol):
    """Know who had which name and which key, and who is no more."""

    async def left_under(self, name: str) -> Sequence[Device]:
        """Return the devices of this name that are not enrolled, the one that enrolled last first."""
        ...

    async def with_key(self, key_digest: str) -> Sequence[Device]:
        """Return the devices that have or ever had this key, the one that enrolled last first."""
        ...

    async def keep_key(self, device_id: str, key_digest: str) -> None:
        """Remember that the device has this key, for as long as there is the device."""
        ...

    async def bury(self, device_id: str, revision: int) -> None:
        """Remove the device's record and keys, and leave a tombstone for those who follow the directory."""
        ...


class Tokens(Protocol):
    """Keep enrolment tokens."""

    async def get(self, token_id: str) -> EnrolmentToken | None:
        """Return the token of this id."""
        ...

    async def known_by(self, digest: bytes) -> EnrolmentToken | None:
        """Return the token whose text has this digest."""
        ...

    async def page(self, request: PageRequest, tags: Tags) -> Page[EnrolmentToken]:
        """Return a page of the visible tokens, newest first."""
        ...

    async def save(self, token: EnrolmentToken) -> None:
        """Write the token as it is, new or not."""
        ...


class Groups(Protocol):
    """Keep groups."""

    async def many(self, names: Iterable[str]) -> Mapping[str, Group]:
        """Return those of the groups that exist, by name."""
        ...

    async def page(self, request: PageRequest, tags: Tags) -> Page[Group]:
        """Return a page of the visible groups, by name."""
        ...

    async def save(self, *groups: Group) -> None:
        """Write the groups as they are, new or not, or their tombstones."""
        ...

    async def used(self) -> UsedGroups:
        """Return the groups that policies are assigned to; none before the policy service has told them."""
        ...

    async def keep_used(self, used: UsedGroups) -> None:
        """Replace the groups that policies are assigned to."""
        ...


class Memberships(Protocol):
    """Know which groups nest which, and who is in them."""

    async def nesting(self, names: Iterable[str]) -> Mapping[str, frozenset[str]]:
        """Return the groups that nest one of the groups, by the name of the one that is nested."""
        ...

    async def reaching(self, names: Iterable[str]) -> Mapping[str, Sequence[Group]]:
        """Return, by the name of each group, those that list users or find devices by a filter: itself and what it nests."""
        ...

    async def concerning(self, device_name: str) -> Sequence[Group]:
        """Return the groups of devices that list the name or have a filter, by name."""
        ...

    async def enrolled(self, names: Iterable[str]) -> Mapping[str, Device]:
        """Return the enrolled devices of these names, by name."""
        ...

    async def enrolled_after(self, name: str, tags: Tags, *, limit: int) -> Sequence[Device]:
        """Return visible enrolled devices whose names come after this one, by name."""
        ...


class KnownUsers(Protocol):
    """Know users. A directory of the organisation may be another implementation."""

    async def page(self, request: PageRequest, *, devices: Tags, groups: Tags) -> Page[KnownUser]:
        """Return a page of the users that are known from visible devices and groups, by name."""
        ...


class History(Protocol):
    """Keep what became of devices."""

    async def add(self, *entries: HistoryEntry) -> None:
        """Add entries, the earliest first; they are told in the order in which they were added, whatever their times."""
        ...

    async def page(self, device_id: str, request: PageRequest) -> Page[HistoryEntry]:
        """Return a page of a device's history, newest first."""
        ...

    async def forget(self, device_id: str) -> None:
        """Remove a device's history."""
        ...


@dataclass(frozen=True, slots=True)
class Position:
    """Say how far a list in the order of revisions was read: through this key; without one, through the revision."""

    revision: int
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Say how far changes of the directory were read."""

    groups: Position
    devices: Position
    deleted: Position

    @classmethod
    def after(cls, revision: int) -> "Progress":
        """Say that everything up to the revision was read."""
        return cls(Position(revision), Position(revision), Position(revision))


@dataclass(frozen=True, slots=True)
class DirectoryChanges:
    """Hold what is newer than a revision, in the order of revisions, and the revision that it leads to.

    With `rest` there is more than one read takes: the directory is whole only after a read that leaves nothing.
    """

    revision: int
    devices: tuple[Device, ...] = ()
    groups: tuple[Group, ...] = ()
    deleted: tuple[str, ...] = ()
    """Identifiers of devices that are no more."""
    rest: Progress | None = None


class Work(Protocol):
    """Work on the data inside one transaction."""

    @property
    def devices(self) -> Devices:
        """Return the devices."""
        ...

    @property
    def identities(self) -> Identities:
        """Return who had which name and which key."""
        ...

    @property
    def tokens(self) -> Tokens:
        """Return the enrolment tokens."""
        ...

    @property
    def groups(self) -> Groups:
        """Return the groups."""
        ...

    @property
    def memberships(self) -> Memberships:
        """Return who is in which group."""
        ...

    @property
    def users(self) -> KnownUsers:
        """Return the users that are known."""
        ...

    @property
    def history(self) -> History:
        """Return what became of devices."""
        ...

    async def next_revision(self) -> int:
        """Take the directory's next revision, once a transaction; later calls return the same one."""
        ...

    async def current_revision(self) -> int:
        """Return the newest revision."""
        ...

    async def changes(self, after: int | Progress) -> DirectoryChanges:
        """Return devices and groups, tombstones included, that changed after the revision or were not read yet.

        As many as do not hold up the process. What changes between two reads comes again in the later one.
        """
        ...

    async def audit(self, *entries: AuditEntry, now: datetime) -> None:
        """Record what was done, with the change."""
        ...


class Store(Protocol):
    """Open transactions; writing ones run one after the other, over all replicas."""

    def transaction(self) -> AbstractAsyncContextManager[Work]:
        """Open a writing transaction: everything is kept if the block is left cleanly, nothing otherwise."""
        ...

    def read(self) -> AbstractAsyncContextManager[Work]:
        """Open a reading transaction that sees one state of the data."""
        ...
