"""What the verbs need from the outside."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Protocol, TypeAlias

from elevation.lint.findings import Finding
from elevation.model import Group, RulesPolicy
from services._chassis.paging import Page, PageRequest
from services.policy.model.bundle import Contents
from services.policy.model.delivery import Delivery, Held, SettingsState
from services.policy.model.directory import Directory
from services.policy.model.edits import Touched
from services.policy.model.listing import BY_NAME, Order, Test
from services.policy.model.objects import AnyContent, Change, Content, Corpus, Stored
from services.policy.model.revisions import Past, Revision
from services.policy.model.rollout import Picture
from services.policy.model.sightings import Sighting
from services.policy.model.states import DevicePolicyState, StatesWanted
from services.policy.model.used_groups import UsedGroups

DeliveryStep: TypeAlias = "Callable[[Delivery], Delivery]"
"""Takes a delivery as it stands to what it is to be; the same one changes nothing."""


NO_GROUPS: Mapping[str, Group] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """Hold what a call was answered, and know the call by its digest."""

    digest: bytes
    answer: bytes = field(repr=False)
    recorded: datetime


@dataclass(frozen=True, slots=True)
class Bound:
    """Say how much is kept of the calls of one principal."""

    calls: int = 1_000
    size: int = 32 << 20
    """Bytes of all answers, as they are stored."""


BOUND = Bound()


class Requests(Protocol):
    """Know the calls that were made under identifiers of their callers'."""

    async def find(self, principal: str, request_id: str) -> KeptAnswer | None:
        """Return what the principal's call was answered; None if none is known under the identifier."""
        ...

    async def keep(
        self, principal: str, request_id: str, made: KeptAnswer, *, oldest: datetime, bound: Bound = BOUND
    ) -> None:
        """Keep what a call was answered, in the place of what stood there.

        A few that are older than `oldest` go, and the oldest of the principal's that are beyond the bound; never this one.
        """
        ...


class History(Protocol):
    """Look at what objects were, those that are gone too; `Work.save` alone adds to it, and nothing in it ever changes."""

    async def page(self, kind: type[Content], name: str, request: PageRequest) -> Page[Revision]:
        """Return the revisions of an object before the change in `request`, newest first."""
        ...

    async def at(self, kind: type[Content], name: str, change: int) -> Past[Content] | None:
        """Return the object as the change left it."""
        ...

    async def newest(self, kind: type[Content], name: str, *, before: int | None = None) -> Past[Content] | None:
        """Return the newest state of the object, or the newest one before a change; None if it never was."""
        ...


@dataclass(frozen=True, slots=True)
class Selection:
    """Say which objects a list holds: those that carry one of the tags, and pass the test; None narrows nothing."""

    visible: frozenset[str] | None = None
    matches: Test | None = None
    order: Order = BY_NAME


ALL = Selection()


class Work(Protocol):
    """Look at what is authored and change it, inside one transaction that nobody else interferes with."""

    @property
    def history(self) -> History:
        """Give access to what objects were."""
        ...

    @property
    def requests(self) -> Requests:
        """Return the calls that were made already."""
        ...

    async def find(self, kind: type[Content], names: Iterable[str]) -> Mapping[str, Stored[Content]]:
        """Return those of the objects that there are, by name."""
        ...

    async def page(
        self, kind: type[Content], request: PageRequest, selection: Selection = ALL
    ) -> Page[Stored[Content]]:
        """Return the selected objects after the key in `request`, in the order of the selection."""
        ...

    async def naming(self, *certificates: str) -> Sequence[Stored[RulesPolicy]]:
        """Return the rules policies that name one of the reusable certificates, by name."""
        ...

    async def save(self, change: Change[Content]) -> None:
        """Write the object, its history and the audit record; none of them comes without the others."""
        ...

    async def mark_as_code(self, stored: Sequence[Stored[Content]]) -> None:
        """Remember that the objects are as code says since their newest change; that is no change of theirs."""
        ...

    async def next_revision(self) -> int:
        """Take the revision of this transaction's changes, once."""
        ...

    async def revision(self) -> int:
        """Return the revision that the data has when the transaction ends."""
        ...


class Store(Protocol):
    """Open transactions on what is authored."""

    def writing(self) -> AbstractAsyncContextManager[Work]:
        """Open a transaction; it is committed if the block is left cleanly."""
        ...

    def reading(self) -> AbstractAsyncContextManager[Work]:
        """Open a transaction that changes nothing."""
        ...


class Linting(Protocol):
    """Find what is accepted in policies and probably not meant."""

    def errors(self, content: AnyContent, groups: Mapping[str, Group] = NO_GROUPS, /) -> Sequence[Finding]:
        """Return why the object must not be saved, by itself, but for what its author may accept and does.

        Whatever else may be wrong with it: it was not checked. `groups` would be there beside those of the directory.
        """
        ...

    async def findings(self, touched: Touched, /) -> Sequence[Finding]:
        """Return what lint finds in which objects that a call was about have part, worst first.

        Others that its caller may not see are not named. Raises UnavailableError if what is stored is not known in time.
        """
        ...


class CorpusReader(Protocol):
    """Read everything that is authored."""

    async def corpus(self) -> Corpus:
        """Return all objects, each kind sorted by name, at the newest revision."""
        ...


class Directories(Protocol):
    """Know the devices and the groups."""

    def directory(self) -> Directory:
        """Return the newest directory. Raises UnavailableError while none was received."""
        ...

    async def at_least(self, revision: int) -> Directory:
        """Return the directory once it is as new as `revision`. Raises UnavailableError if that takes too long."""
        ...


class DeviceStates(Protocol):
    """Know how far the policy of each device has come."""

    async def page(self, request: PageRequest, wanted: StatesWanted) -> Page[DevicePolicyState]:
        """Return the states that are wanted, by (device name, device id)."""
        ...


class Deliveries(Protocol):
    """Keep how far the policy of each device has come."""

    async def change(self, steps: Sequence[tuple[str, DeliveryStep]]) -> Sequence[Delivery]:
        """Take each step for its device, in order, all or none, and return what each led to."""
        ...

    async def hold(self, held: Sequence[Held]) -> Mapping[str, Delivery]:
        """Keep that streams are open; return the deliveries of those devices, by id, of which another stream is known."""
        ...

    async def many(self, device_ids: Collection[str]) -> Mapping[str, Delivery]:
        """Return what is known of the devices, by id; an empty delivery where nothing is."""
        ...


class Holders(Protocol):
    """Know which processes hold streams; speak for this one."""

    async def beat(self, now: datetime) -> tuple[bool, Collection[str]]:
        """Say that this process lives; return whether it was taken for gone, and the devices whose streams others left open."""
        ...

    async def end(self, now: datetime) -> None:
        """Close all streams of this process."""
        ...


class Pictures(Protocol):
    """Look at the deliveries of all devices at once."""

    async def picture(self, now: datetime) -> Picture:
        """Return how all of them stand."""
        ...


class Bundles(Protocol):
    """Keep of which policies documents are made."""

    async def many(self, digests: Collection[bytes]) -> Mapping[bytes, Contents]:
        """Return the contents of those of the bundles that are kept, by digest."""
        ...


class DeliveryChanges(Protocol):
    """Change deliveries one by one; many that come at once are kept together."""

    def change(self, device_id: str, step: DeliveryStep) -> Awaitable[Delivery]:
        """Queue the step at once; what it led to comes once it is durable. UnavailableError says that it was not kept."""
        ...


CatchUp: TypeAlias = "Callable[[int], Awaitable[None]]"
"""Goes on above a revision that the device service has seen, and returns once what is authored was read anew."""


class SettingsReceiver(Protocol):
    """Hear what settings policies want of devices, and whether the devices know."""

    async def report(self, states: Sequence[SettingsState]) -> int:
        """Take in states, at most 1000; return the newest revision that was ever heard of: what is older is passed over.

        Raises UnavailableError if they were not taken in.
        """
        ...


class UsedGroupsReceiver(Protocol):
    """Hear which groups policies are assigned to."""

    async def report(self, used: UsedGroups) -> int:
        """Take in all of them; return the newest revision that was ever heard of: what is older is passed over.

        Raises UnavailableError if they were not taken in.
        """
        ...


class SightingReceiver(Protocol):
    """Hear what was seen of devices."""

    async def report(self, sightings: Sequence[Sighting]) -> None:
        """Take in sightings, at most 1000. Raises UnavailableError if they were not taken in."""
        ...
