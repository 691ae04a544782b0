"""The policy service's ports in memory; the store passes the same contract as the one in SQL."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from elevation.model import Group, GroupType, ReusableCertificate, RulesPolicy, SettingsPolicy
from services._chassis.errors import UnavailableError
from services._chassis.paging import Page, PageRequest, cut
from services.policy.model.directory import Directory
from services.policy.model.objects import (
    AnyContent,
    Change,
    Content,
    Corpus,
    Stored,
    certificates_named,
    kind_of,
)
from services.policy.model.revisions import Past, Revision
from services.policy.model.states import DevicePolicyState, StatesWanted

Key = tuple[str, str]
"""Kind, as the contract spells one of it, and name."""


class MemoryStore:
    """Keep objects, the revision and all changes; a transaction works on copies."""

    def __init__(self) -> None:
        self.objects: dict[Key, Stored[AnyContent]] = {}
        self.kept_revision = 0
        self.changes: list[Change[AnyContent]] = []

    @asynccontextmanager
    async def writing(self) -> AsyncIterator["MemoryWork"]:
        """Keep what the block did if it is left cleanly."""
        work = MemoryWork(self)
        yield work
        self.objects, self.kept_revision, self.changes = work.objects, work.own_revision, work.changes

    @asynccontextmanager
    async def reading(self) -> AsyncIterator["MemoryWork"]:
        """Keep nothing."""
        yield MemoryWork(self)

    async def corpus(self) -> Corpus:
        """Return everything."""
        work = MemoryWork(self)
        return Corpus(
            self.kept_revision, work.all(SettingsPolicy), work.all(RulesPolicy), work.all(ReusableCertificate)
        )


class MemoryHistory:
    """Look at what changes left."""

    def __init__(self, changes: Sequence[Change[AnyContent]]) -> None:
        self._changes = changes

    async def page(self, kind: type[Content], name: str, request: PageRequest) -> Page[Revision]:
        """Return the revisions before a change, newest first."""
        found = [past.revision for past in self._of(kind, name)]
        rest = [revision for revision in found if not request.after or (revision.change,) < request.after]
        return cut(rest, request, key=lambda revision: (revision.change,))

    async def at(self, kind: type[Content], name: str, change: int) -> Past[Content] | None:
        """Return the object as the change left it."""
        return next((past for past in self._of(kind, name) if past.revision.change == change), None)

    async def newest(self, kind: type[Content], name: str, *, before: int | None = None) -> Past[Content] | None:
        """Return the newest state, or the newest one before a change."""
        return next((past for past in self._of(kind, name) if before is None or past.revision.change < before), None)

    def _of(self, kind: type[Content], name: str) -> list[Past[Content]]:
        found = [
            _past(Stored(change.subject.content, change.subject.about), change)
            for change in self._changes
            if isinstance(change.subject.content, kind) and change.subject.name == name
        ]
        return sorted(found, key=lambda past: -past.revision.change)


def _past(subject: Stored[Content], change: Change[AnyContent]) -> Past[Content]:
    revision = Revision(
        change=change.revision,
        content_revision=subject.about.revision,
        action=change.action,
        author=change.actor,
        time=change.now,
        reason=change.reason,
        scope_tags=subject.about.scope_tags,
        rolled_back_to=change.rolled_back_to,
        as_code=change.as_code,
    )
    about = replace(subject.about, etag="", updated=change.now, updated_by=change.actor, applied_change=0)
    return Past(revision, replace(subject, about=about))


class MemoryWork:
    """Look at and change one copy of the objects."""

    def __init__(self, store: MemoryStore) -> None:
        self.objects = dict(store.objects)
        self.changes = list(store.changes)
        self.history = MemoryHistory(self.changes)
        self.own_revision = store.kept_revision
        self._before = store.kept_revision

    async def find(self, kind: type[Content], names: Iterable[str]) -> Mapping[str, Stored[Content]]:
        """Return the objects of these names."""
        wanted = frozenset(names)
        return {stored.name: stored for stored in self.all(kind) if stored.name in wanted}

    async def page(
        self, kind: type[Content], request: PageRequest, visible: frozenset[str] | None
    ) -> Page[Stored[Content]]:
        """Return the objects after a name."""
        rest = [
            stored
            for stored in self.all(kind)
            if (not request.after or (stored.name,) > request.after)
            and (visible is None or not visible.isdisjoint(stored.about.scope_tags))
        ]
        return cut(rest, request, key=lambda stored: (stored.name,))

    async def naming(self, certificate: str) -> Sequence[Stored[RulesPolicy]]:
        """Return the rules policies that name the certificate."""
        return [stored for stored in self.all(RulesPolicy) if certificate in certificates_named(stored.content)]

    async def save(self, change: Change[Content]) -> None:
        """Replace the object."""
        key = (kind_of(type(change.subject.content)).one, change.subject.name)
        self.objects.pop(key, None)
        if change.after is not None:
            self.objects[key] = change.after
        self.changes.append(change)

    async def next_revision(self) -> int:
        """Take the next revision, once."""
        self.own_revision = self._before + 1
        return self.own_revision

    async def revision(self) -> int:
        """Return the revision as it would be kept."""
        return self.own_revision

    def all(self, kind: type[Content]) -> tuple[Stored[Content], ...]:
        """Return all objects of a kind, by name."""
        found = [
            Stored(stored.content, stored.about)
            for _, stored in sorted(self.objects.items())
            if isinstance(stored.content, kind)
        ]
        return tuple(found)


@dataclass
class FakeDirectories:
    """Know the groups that a test names, at the revision it says."""

    groups: Mapping[str, GroupType] = field(default_factory=dict)
    revision: int = 1
    asked_for: list[int] = field(default_factory=list)
    received: bool = True

    def directory(self) -> Directory:
        """Return the directory, if one was received."""
        if not self.received:
            raise UnavailableError("no directory was received")
        return Directory(self.revision, groups={name: Group(name, kind) for name, kind in self.groups.items()})

    async def at_least(self, revision: int) -> Directory:
        """Return the directory if it is new enough; a fake waits for nothing."""
        self.asked_for.append(revision)
        if revision > self.revision:
            raise UnavailableError(f"the directory is at {self.revision}, not yet at {revision}")
        return self.directory()


@dataclass
class FakeDeviceStates:
    """Hold the states that a test names, each with the tags of its device."""

    states: Sequence[tuple[DevicePolicyState, frozenset[str]]] = ()

    async def page(self, request: PageRequest, wanted: StatesWanted) -> Page[DevicePolicyState]:
        """Return the states after a device."""
        rest = [
            state
            for state, tags in sorted(self.states, key=lambda pair: _state_key(pair[0]))
            if (not request.after or _state_key(state) > request.after)
            and (wanted.visible is None or not wanted.visible.isdisjoint(tags))
            and wanted.device in ("", state.device_id, state.device_name)
            and (state.conflicts or not wanted.conflicting_only)
        ]
        return cut(rest, request, key=_state_key)


def _state_key(state: DevicePolicyState) -> tuple[str, str]:
    return state.device_name, state.device_id
