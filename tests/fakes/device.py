"""The device service's store in memory; it passes the same contract as the one in SQL."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from elevation.model import GroupType
from services._chassis.audit import AuditEntry
from services._chassis.errors import ConflictError
from services._chassis.paging import Page, PageRequest, cut
from services._chassis.permits import DEFAULT_TAG
from services.device.model.devices import Device
from services.device.model.groups import Group
from services.device.model.history import HistoryEntry
from services.device.model.lifecycle import is_due
from services.device.model.pages import Item, fitting_page
from services.device.model.tokens import EnrolmentToken
from services.device.model.used_groups import UsedGroups
from services.device.model.users import MOST_DEVICES, KnownUser
from services.device.ports import DirectoryChanges, Progress, Tags


@dataclass(frozen=True)
class Shelves:
    """Hold one state of the data."""

    devices: Mapping[str, Device] = field(default_factory=dict)
    tokens: Mapping[str, EnrolmentToken] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    used: UsedGroups = field(default_factory=UsedGroups)
    revision: int = 0
    audit: tuple[AuditEntry, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    keys: frozenset[tuple[str, str]] = frozenset()
    deleted: Mapping[str, int] = field(default_factory=dict)


class MemoryStore:
    """Keep the newest state; a transaction works on one of its own, and writing ones wait for one another."""

    def __init__(self) -> None:
        self.kept = Shelves()
        self._writer = asyncio.Lock()

    @property
    def actions(self) -> list[str]:
        """Return what the audit record says was done, in its order."""
        return [entry.action for entry in self.kept.audit]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["MemoryWork"]:
        """Keep what the block did if it is left cleanly."""
        async with self._writer:
            work = MemoryWork(self.kept)
            yield work
            self.kept = work.own

    @asynccontextmanager
    async def read(self) -> AsyncIterator["MemoryWork"]:
        """Keep nothing."""
        yield MemoryWork(self.kept)


class MemoryWork:
    """Look at and change one state."""

    def __init__(self, kept: Shelves) -> None:
        self.own = kept
        self._before = kept.revision
        self.devices = MemoryDevices(self)
        self.tokens = MemoryTokens(self)
        self.groups = MemoryGroups(self)
        self.history = MemoryHistory(self)
        self.identities = MemoryIdentities(self)
        self.memberships = MemoryMemberships(self)
        self.users = MemoryUsers(self)

    async def next_revision(self) -> int:
        """Return the one after the revision at the beginning."""
        self.own = replace(self.own, revision=self._before + 1)
        return self.own.revision

    async def current_revision(self) -> int:
        """Return the newest revision."""
        return self.own.revision

    async def changes(self, after: int | Progress) -> DirectoryChanges:
        """Return what changed after the revision, all of it; so nobody asks for a rest."""
        assert isinstance(after, int)
        devices = sorted(self.own.devices.values(), key=lambda device: (device.revision, device.device_id))
        groups = sorted(self.own.groups.values(), key=lambda group: (group.revision, group.name))
        deleted = sorted(self.own.deleted.items(), key=lambda pair: (pair[1], pair[0]))
        return DirectoryChanges(
            self.own.revision,
            tuple(device for device in devices if device.revision > after),
            tuple(group for group in groups if group.revision > after),
            tuple(device_id for device_id, revision in deleted if revision > after),
        )

    async def audit(self, *entries: AuditEntry, now: datetime) -> None:
        """Note the entries; like every record they have a revision."""
        assert now.tzinfo is not None
        if entries:
            await self.next_revision()
            self.own = replace(self.own, audit=(*self.own.audit, *entries))


class MemoryMemberships:
    """Look at who is in which group."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    async def nesting(self, names: Iterable[str]) -> Mapping[str, frozenset[str]]:
        """Return the groups that nest one of the groups."""
        found = {name: frozenset(group.name for group in self._alive if name in group.groups) for name in names}
        return {name: parents for name, parents in found.items() if parents}

    async def reaching(self, names: Iterable[str]) -> Mapping[str, Sequence[Group]]:
        """Return the groups and those that they nest, where they list users or have a filter."""
        groups = self._work.own.groups
        found = {
            name: [
                part
                for part in self._alive
                if part.name in {name, *(groups[name].groups if name in groups else ())}
                and (part.type is GroupType.USER or part.filter)
            ]
            for name in names
        }
        return {name: parts for name, parts in found.items() if parts}

    async def concerning(self, device_name: str) -> Sequence[Group]:
        """Return the groups of devices that list the name or have a filter."""
        devices = (group for group in self._alive if group.type is GroupType.DEVICE)
        return [group for group in devices if group.filter or device_name in group.members]

    async def enrolled(self, names: Iterable[str]) -> Mapping[str, Device]:
        """Return the enrolled devices of these names."""
        wanted = set(names)
        return {device.name: device for device in self._enrolled if device.name in wanted}

    async def enrolled_after(self, name: str, tags: Tags, *, limit: int) -> Sequence[Device]:
        """Return visible enrolled devices whose names come after this one."""
        seen = (device for device in self._enrolled if _visible(device.attested.scope_tags, tags))
        return sorted((device for device in seen if device.name > name), key=lambda device: device.name)[:limit]

    @property
    def _alive(self) -> Sequence[Group]:
        alive = (group for group in self._work.own.groups.values() if not group.deleted)
        return sorted(alive, key=lambda group: group.name)

    @property
    def _enrolled(self) -> Sequence[Device]:
        return [device for device in self._work.own.devices.values() if device.is_enrolled]


class MemoryUsers:
    """Know users from devices and groups."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    async def page(self, request: PageRequest, *, devices: Tags, groups: Tags) -> Page[KnownUser]:
        """Return a page of the users, by name."""
        own = self._work.own
        places: dict[str, tuple[set[str], set[str], set[str]]] = {}
        for device in own.devices.values():
            if device.is_enrolled and _visible(device.attested.scope_tags, devices):
                for number, names in enumerate((device.attested.users, device.facts.users)):
                    for name in names:
                        places.setdefault(name, (set(), set(), set()))[number].add(device.name)
        for group in own.groups.values():
            if group.type is GroupType.USER and not group.deleted and _visible(group.scope_tags, groups):
                for part in (group, *(own.groups[name] for name in group.groups)):
                    for name in part.members:
                        places.setdefault(name, (set(), set(), set()))[2].add(group.name)
        users = [
            KnownUser(
                name, tuple(sorted(bound)[:MOST_DEVICES]), tuple(sorted(told)[:MOST_DEVICES]), tuple(sorted(held))
            )
            for name, (bound, told, held) in places.items()
        ]
        return _page(users, request, lambda user: (user.name,))


class MemoryDevices:
    """Keep devices."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    @property
    def _all(self) -> Mapping[str, Device]:
        return self._work.own.devices

    async def get(self, device_id: str) -> Device | None:
        """Return the device of this id."""
        return self._all.get(device_id)

    async def named(self, name: str) -> Device | None:
        """Return the enrolled device of this name."""
        return next((device for device in self._all.values() if device.is_enrolled and device.name == name), None)

    async def enrolled_with(self, token_id: str, key_digest: str) -> Device | None:
        """Return the enrolled device that came with this token and key."""
        wanted = (token_id, key_digest)
        origins = {(d.origin.token_id, d.origin.key_digest): d for d in self._all.values() if d.is_enrolled}
        return origins.get(wanted)

    async def many(self, device_ids: Iterable[str]) -> Mapping[str, Device]:
        """Return those that exist."""
        return {device_id: self._all[device_id] for device_id in device_ids if device_id in self._all}

    async def page(self, request: PageRequest, tags: Tags) -> Page[Device]:
        """Return a page, by name."""
        seen = [device for device in self._all.values() if _visible(device.attested.scope_tags, tags)]
        return _page(seen, request, lambda device: (device.name, device.device_id))

    async def save(self, *devices: Device) -> None:
        """Keep the devices, unless another enrolled one has a name of theirs."""
        own = self._work.own
        kept = {**own.devices, **{device.device_id: device for device in devices}}
        names = [device.name for device in kept.values() if device.is_enrolled]
        if len(set(names)) < len(names):
            raise ConflictError("the name is taken", reason="DEVICE_NAME_TAKEN")
        self._work.own = replace(own, devices=kept)

    async def due(self, now: datetime, *, limit: int) -> Sequence[Device]:
        """Return devices whose component is to go by now."""
        due = [device for device in self._all.values() if device.is_enrolled and is_due(device.lifecycle, now)]
        return sorted(due, key=lambda device: (device.lifecycle.deprovision_time or now, device.device_id))[:limit]

    async def newest_policy_revision(self) -> int:
        """Return the highest one."""
        return max((device.lifecycle.policy_revision for device in self._all.values()), default=0)


class MemoryIdentities:
    """Look at devices by names and keys of theirs."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    async def left_under(self, name: str) -> Sequence[Device]:
        """Return those that are not enrolled."""
        return self._newest(device for device in self._all if device.name == name and not device.is_enrolled)

    async def with_key(self, key_digest: str) -> Sequence[Device]:
        """Return those that ever had the key."""
        having = {device_id for digest, device_id in self._work.own.keys if digest == key_digest}
        return self._newest(device for device in self._all if device.device_id in having)

    async def keep_key(self, device_id: str, key_digest: str) -> None:
        """Remember the key."""
        own = self._work.own
        self._work.own = replace(own, keys=own.keys | {(key_digest, device_id)})

    async def bury(self, device_id: str, revision: int) -> None:
        """Remove the device, and leave a tombstone."""
        own = self._work.own
        self._work.own = replace(
            own,
            devices={key: device for key, device in own.devices.items() if key != device_id},
            keys=frozenset(pair for pair in own.keys if pair[1] != device_id),
            deleted={**own.deleted, device_id: revision},
        )

    @property
    def _all(self) -> Iterable[Device]:
        return self._work.own.devices.values()

    @staticmethod
    def _newest(devices: Iterable[Device]) -> Sequence[Device]:
        return sorted(devices, key=lambda device: (device.enrolled, device.device_id), reverse=True)


class MemoryTokens:
    """Keep enrolment tokens."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    async def get(self, token_id: str) -> EnrolmentToken | None:
        """Return the token of this id."""
        return self._work.own.tokens.get(token_id)

    async def known_by(self, digest: bytes) -> EnrolmentToken | None:
        """Return the token whose text has this digest."""
        return next((token for token in self._work.own.tokens.values() if token.digest == digest), None)

    async def page(self, request: PageRequest, tags: Tags) -> Page[EnrolmentToken]:
        """Return a page, newest first."""
        newest = sorted(self._work.own.tokens.values(), key=lambda token: token.token_id, reverse=True)
        seen = [token for token in newest if _visible(token.scope_tags, tags)]
        left = [token for token in seen if not request.after or token.token_id < str(request.after[0])]
        return fitting_page(left[: request.size + 1], request, key=lambda token: (token.token_id,))

    async def save(self, token: EnrolmentToken) -> None:
        """Keep the token."""
        own = self._work.own
        self._work.own = replace(own, tokens={**own.tokens, token.token_id: token})


class MemoryGroups:
    """Keep groups and tombstones."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    async def many(self, names: Iterable[str]) -> Mapping[str, Group]:
        """Return those that exist."""
        wanted = set(names)
        return {
            group.name: group for group in self._work.own.groups.values() if group.name in wanted and not group.deleted
        }

    async def page(self, request: PageRequest, tags: Tags) -> Page[Group]:
        """Return a page, by name."""
        groups = self._work.own.groups.values()
        seen = [group for group in groups if not group.deleted and _visible(group.scope_tags, tags)]
        return _page(seen, request, lambda group: (group.name,))

    async def save(self, *groups: Group) -> None:
        """Keep the groups or their tombstones."""
        own = self._work.own
        self._work.own = replace(own, groups={**own.groups, **{group.name: group for group in groups}})

    async def used(self) -> UsedGroups:
        """Return the groups that policies are assigned to."""
        return self._work.own.used

    async def keep_used(self, used: UsedGroups) -> None:
        """Replace the groups that policies are assigned to."""
        self._work.own = replace(self._work.own, used=used)


class MemoryHistory:
    """Keep what became of devices."""

    def __init__(self, work: MemoryWork) -> None:
        self._work = work

    async def add(self, *entries: HistoryEntry) -> None:
        """Keep the entries behind all others."""
        own = self._work.own
        self._work.own = replace(own, history=(*own.history, *entries))

    async def page(self, device_id: str, request: PageRequest) -> Page[HistoryEntry]:
        """Return a page, newest first."""
        numbered = [(number, entry) for number, entry in enumerate(self._work.own.history, start=1)]
        mine = [each for each in reversed(numbered) if each[1].device_id == device_id]
        left = [each for each in mine if not request.after or each[0] < int(request.after[0])]
        page = cut(left[: request.size + 1], request, key=lambda each: (each[0],))
        return Page(tuple(entry for _, entry in page.items), page.next_token)

    async def forget(self, device_id: str) -> None:
        """Keep those of the other devices."""
        own = self._work.own
        self._work.own = replace(own, history=tuple(e for e in own.history if e.device_id != device_id))


def _visible(carried: tuple[str, ...], tags: Tags) -> bool:
    return tags is None or not tags.isdisjoint(carried or (DEFAULT_TAG,))


def _page(items: list[Item], request: PageRequest, key: Callable[[Item], tuple[str, ...]]) -> Page[Item]:
    left = sorted((item for item in items if key(item) > request.after), key=key)
    return fitting_page(left[: request.size + 1], request, key=key)
