"""The policy service's ports in memory; the store passes the same contract as the one in SQL."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

from elevation.lint.findings import Finding, Severity
from elevation.model import Group, GroupType, ReusableCertificate, RulesPolicy, SettingsPolicy
from services._chassis.errors import UnavailableError
from services._chassis.paging import Page, PageRequest, cut
from services.policy.model.directory import Directory
from services.policy.model.edits import Touched
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
from services.policy.ports import ALL, BOUND, NO_GROUPS, Bound, KeptAnswer, Selection

Key = tuple[str, str]
"""Kind, as the contract spells one of it, and name."""


def _beyond(key: tuple[str | int, ...], after: tuple[str | int, ...], *, descending: bool) -> bool:
    return key < after if descending else key > after


class MemoryRequests(dict[tuple[str, str], KeptAnswer]):
    """Know the calls that were made under identifiers."""

    async def find(self, principal: str, request_id: str) -> KeptAnswer | None:
        """Return what the call was answered."""
        return self.get((principal, request_id))

    async def keep(
        self, principal: str, request_id: str, made: KeptAnswer, *, oldest: datetime, bound: Bound = BOUND
    ) -> None:
        """Keep it, and drop old ones and what is too much."""
        for key in [key for key, kept in self.items() if kept.recorded <= oldest]:
            del self[key]
        others = {key: kept for key, kept in self.items() if key[0] == principal and key[1] != request_id}
        self[principal, request_id] = made
        calls, size = 1, len(made.answer)
        for key in sorted(others, key=lambda key: others[key].recorded, reverse=True):
            calls, size = calls + 1, size + len(others[key].answer)
            if calls > bound.calls or size > bound.size:
                del self[key]


class FakeLinting:
    """Find what a test says."""

    def __init__(self) -> None:
        self.found: list[Finding] = []
        self.touched: list[Touched] = []
        self.failing: Exception | None = None

    def errors(self, content: AnyContent, _groups: Mapping[str, Group] = NO_GROUPS) -> Sequence[Finding]:
        """Return the errors about this object."""
        return [
            finding
            for finding in self.found
            if finding.severity is Severity.ERROR and finding.subject.name == content.name
        ]

    async def findings(self, touched: Touched) -> Sequence[Finding]:
        """Return the findings about the objects that a call was about."""
        self.touched.append(touched)
        if self.failing:
            raise self.failing
        names = {subject.name for subject in touched.subjects}
        return [finding for finding in self.found if finding.subject.name in names]


class MemoryStore:
    """Keep objects, the revision and all changes; a transaction works on copies."""

    def __init__(self) -> None:
        self.objects: dict[Key, Stored[AnyContent]] = {}
        self.kept_revision = 0
        self.changes: list[Change[AnyContent]] = []
        self.requests = MemoryRequests()

    @asynccontextmanager
    async def writing(self) -> AsyncIterator["MemoryWork"]:
        """Keep what the block did if it is left cleanly."""
        work = MemoryWork(self)
        yield work
        self.objects, self.kept_revision, self.changes = work.objects, work.own_revision, work.changes
        self.requests = work.requests

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
        self.requests = MemoryRequests(store.requests)
        self.own_revision = store.kept_revision
        self._before = store.kept_revision

    async def find(self, kind: type[Content], names: Iterable[str]) -> Mapping[str, Stored[Content]]:
        """Return the objects of these names."""
        wanted = frozenset(names)
        return {stored.name: stored for stored in self.all(kind) if stored.name in wanted}

    async def page(
        self, kind: type[Content], request: PageRequest, selection: Selection = ALL
    ) -> Page[Stored[Content]]:
        """Return the objects after a key."""
        order, visible = selection.order, selection.visible
        rest = [
            stored
            for stored in sorted(self.all(kind), key=order.key, reverse=order.descending)
            if (not request.after or _beyond(order.key(stored), request.after, descending=order.descending))
            and (visible is None or not visible.isdisjoint(stored.about.scope_tags))
            and (selection.matches is None or selection.matches(stored))
        ]
        return cut(rest, request, key=order.key)

    async def naming(self, *certificates: str) -> Sequence[Stored[RulesPolicy]]:
        """Return the rules policies that name one of the certificates."""
        policies = self.all(RulesPolicy)
        return [stored for stored in policies if not certificates_named(stored.content).isdisjoint(certificates)]

    async def save(self, change: Change[Content]) -> None:
        """Replace the object."""
        key = (kind_of(type(change.subject.content)).one, change.subject.name)
        self.objects.pop(key, None)
        if change.after is not None:
            self.objects[key] = change.after
        self.changes.append(change)

    async def mark_as_code(self, stored: Sequence[Stored[Content]]) -> None:
        """Write the number of each object's newest change beside it."""
        for each in stored:
            about = replace(each.about, applied_change=each.about.change)
            self.objects[kind_of(type(each.content)).one, each.name] = replace(each, about=about)

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
