"""What surrounds the delivery of policies: policies, a directory and deliveries in memory."""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from elevation.model import (
    ALL_DEVICES,
    Assignments,
    CertificateCondition,
    CertificateType,
    Exclude,
    Group,
    GroupType,
    Include,
    ReusableCertificate,
    RulesPolicy,
    SettingsPolicy,
)
from services._chassis.errors import UnavailableError
from services.policy.codec.documents import MouldMaker
from services.policy.model.delivery import Delivery, Held, SettingsState
from services.policy.model.directory import Directory, DirectoryDevice
from services.policy.model.objects import About, Corpus, Item, Stored
from services.policy.ports import DeliveryStep, Directories
from services.policy.usecases.documents import PolicyBook
from tests.builders.elevation import HASH, policy, rule
from tests.fakes.clock import NOW

DEPROVISION_AFTER = timedelta(days=7)
Authored = SettingsPolicy | RulesPolicy | ReusableCertificate


def assigned(*groups: str, exclude: Iterable[str] = (), where: str = "") -> Assignments:
    """Assign to the groups, all with one filter, and not to others."""
    return Assignments(tuple(Include(name, where) for name in groups), tuple(Exclude(name) for name in exclude))


def settings(name: str = "settings", *groups: str, enabled: bool = True, **values: object) -> SettingsPolicy:
    """Make a settings policy for the groups, or for all devices."""
    made = SettingsPolicy(name, enabled=enabled, assignments=assigned(*groups or (ALL_DEVICES,)))
    return replace(made, **values)  # type: ignore[arg-type]


def rules(name: str = "rules", *groups: str, certificate: str = "", **values: object) -> RulesPolicy:
    """Make a rules policy of one rule for the groups, or for all devices."""
    signer = CertificateCondition(CertificateType.PUBLISHER, reusable=certificate) if certificate else None
    made = policy(rule(file_hash="" if signer else HASH, certificate=signer), name=name)
    made = replace(made, assignments=assigned(*groups or (ALL_DEVICES,)))
    return replace(made, **values)  # type: ignore[arg-type]


def huge(number: int) -> RulesPolicy:
    """Make a policy of about a megabyte."""
    [rule] = rules().rules
    described = tuple(replace(rule, name=f"rule-{index}", description="x" * 1000) for index in range(1000))
    return rules(f"huge-{number}", rules=described)


def stored(content: Item, revision: int = 1) -> Stored[Item]:
    """Keep an object as it was at a revision."""
    about = About(
        scope_tags=frozenset({"default"}),
        revision=revision,
        etag=str(revision),
        created=NOW,
        updated=NOW,
        updated_by="user:owner",
    )
    return Stored(content, about)


def corpus(*contents: Authored, revision: int = 1) -> Corpus:
    """Collect what is authored; everything in it is as old as the whole."""
    return Corpus(
        revision,
        tuple(stored(found, revision) for found in contents if isinstance(found, SettingsPolicy)),
        tuple(stored(found, revision) for found in contents if isinstance(found, RulesPolicy)),
        tuple(stored(found, revision) for found in contents if isinstance(found, ReusableCertificate)),
    )


def device(
    device_id: str = "d1",
    *users: str,
    enrolled: bool = True,
    scope_tags: Iterable[str] = (),
    **attributes: str | Sequence[str],
) -> DirectoryDevice:
    """Make an enrolled device that is called as its id in capitals."""
    name = device_id.upper()
    return DirectoryDevice(
        device_id=device_id,
        name=name,
        enrolled=enrolled,
        attributes={"name": name, "os": "windows", **attributes},
        users=frozenset(users),
        scope_tags=frozenset(scope_tags),
    )


def group(name: str, *members: str, kind: GroupType = GroupType.DEVICE, where: str = "") -> Group:
    """Make a group of devices, or of users, by name or by a filter."""
    return Group(name, kind, members, where)


def policy_book(directories: Directories) -> PolicyBook:
    """Make a book that works with real bytes."""
    return PolicyBook(directories, MouldMaker().mould, deprovision_after=DEPROVISION_AFTER)


class FakeDirectories:
    """Hold a directory that the test changes."""

    def __init__(self, *devices: DirectoryDevice, groups: Iterable[Group] = ()) -> None:
        self.known: Directory | None = Directory(
            1, {found.device_id: found for found in devices}, {found.name: found for found in groups}
        )

    def put(self, *devices: DirectoryDevice) -> None:
        """Change devices, or add them."""
        known = self.directory()
        self.known = Directory(
            known.revision + 1, {**known.devices, **{found.device_id: found for found in devices}}, known.groups
        )

    def lose(self, device_id: str) -> None:
        """Let the directory show the device no more."""
        known = self.directory()
        devices = {key: found for key, found in known.devices.items() if key != device_id}
        self.known = Directory(known.revision + 1, devices, known.groups)

    def group(self, *groups: Group) -> None:
        """Change groups, or add them."""
        known = self.directory()
        self.known = Directory(
            known.revision + 1, known.devices, {**known.groups, **{found.name: found for found in groups}}
        )

    def ungroup(self, *names: str) -> None:
        """Let there be groups no more."""
        known = self.directory()
        groups = {name: found for name, found in known.groups.items() if name not in names}
        self.known = Directory(known.revision + 1, known.devices, groups)

    def directory(self) -> Directory:
        """Return what the test said last."""
        if self.known is None:
            raise UnavailableError("no directory was received")
        return self.known

    async def at_least(self, revision: int) -> Directory:
        """Return the directory, which is as new as it ever gets."""
        if self.directory().revision < revision:
            raise UnavailableError("the directory is older")
        return self.directory()


class MemoryDeliveries:
    """Keep deliveries in memory; it passes the same contract as the one in SQL."""

    def __init__(self) -> None:
        self.kept: dict[str, Delivery] = {}
        self.groups: list[int] = []
        self.asked: list[str] = []
        self.failure: UnavailableError | None = None
        self._changed = asyncio.Event()

    async def change(self, steps: Sequence[tuple[str, DeliveryStep]]) -> Sequence[Delivery]:
        """Take the steps, all or none."""
        if self.failure:
            raise self.failure
        kept, led_to = dict(self.kept), []
        for device_id, step in steps:
            kept[device_id] = step(kept.get(device_id, Delivery(device_id)))
            led_to.append(kept[device_id])
        self.kept = kept
        self.groups.append(len(steps))
        self._changed.set()
        self._changed = asyncio.Event()
        return led_to

    async def hold(self, held: Sequence[Held]) -> Mapping[str, Delivery]:
        """Take the streams for open, unless others are known."""
        steps = [(each.device_id, lambda old, each=each: _held(old, each)) for each in held]
        found = await self.change(steps)
        return {each.device_id: old for each, old in zip(held, found, strict=True) if old.stream != each.stream}

    async def until(self, device_id: str, reached: Callable[[Delivery], bool]) -> None:
        """Wait until the device's delivery is as the test wants it."""
        async with asyncio.timeout(10):
            while not reached(self.kept.get(device_id, Delivery(device_id))):
                await self._changed.wait()

    async def many(self, device_ids: Collection[str]) -> Mapping[str, Delivery]:
        """Return what is kept."""
        self.asked.extend(device_ids)
        return {device_id: self.kept.get(device_id, Delivery(device_id)) for device_id in sorted(device_ids)}


def _held(old: Delivery, held: Held) -> Delivery:
    return old.held(held.stream, held.seen, confirmed=held.confirmed)


class FakeReceiver:
    """Hear settings states."""

    def __init__(self) -> None:
        self.heard: list[SettingsState] = []
        self.newest = 0
        self.told = asyncio.Event()
        self.failure: UnavailableError | None = None
        self.on_report: Callable[[Sequence[SettingsState]], None] | None = None

    async def report(self, states: Sequence[SettingsState]) -> int:
        """Take in states."""
        if self.failure:
            raise self.failure
        if self.on_report:
            self.on_report(states)
        self.heard.extend(states)
        self.told.set()
        return self.newest
