"""How far policies have come: counts add up, and equal what one finds by looking at every device's documents."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elevation.document import PolicyDocument
from elevation.model import ALL_USERS, GroupType, RulesPolicy, SettingsPolicy
from services._chassis.errors import InvalidError, NotFoundError
from services._chassis.permits import EVERYTHING, Permit, Scope
from services.policy.model.bundle import Contents, PolicyKind
from services.policy.model.delivery import LEASE, Delivery
from services.policy.model.effective import EffectivePolicies
from services.policy.model.objects import Corpus, Stored
from services.policy.model.rollout import (
    DevicesWanted,
    RejectionCount,
    Rollout,
    RolloutDevice,
    RolloutState,
    Subject,
    SubjectWanted,
)
from services.policy.usecases.documents import Mark, PolicyBook
from services.policy.usecases.rollout import Convergence
from tests.fakes.clock import NOW
from tests.fakes.policy import MemoryStore
from tests.fakes.policy_delivery import (
    FakeDirectories,
    MemoryDeliveries,
    assigned,
    device,
    group,
    policy_book,
    rules,
    stored,
)
from tests.fakes.policy_delivery import settings as settings_of
from tests.fakes.rollouts import MemoryPictures

ALL = Permit("policy_authoring.read", (EVERYTHING,))
TOOLS = SubjectWanted("tools")
Authored = SettingsPolicy | RulesPolicy


@dataclass
class World:
    """Hold policies, devices and what was delivered; every device does what the test says."""

    directories: FakeDirectories
    deliveries: MemoryDeliveries = field(default_factory=MemoryDeliveries)
    store: MemoryStore = field(default_factory=MemoryStore)

    def __post_init__(self) -> None:
        self.book: PolicyBook = policy_book(self.directories)
        self.pictures = MemoryPictures(self.deliveries)
        self.convergence = Convergence(
            self.store, self.book, pictures=self.pictures, deliveries=self.deliveries, caught_up=self.caught_up
        )
        self.awaited: list[int] = []

    async def caught_up(self, revision: int) -> None:
        self.awaited.append(revision)

    def author(self, *policies: Stored[SettingsPolicy] | Stored[RulesPolicy]) -> None:
        """Make these all that is authored."""
        self.store.kept_revision += 1
        kinds = {SettingsPolicy: "settings_policy", RulesPolicy: "rules_policy"}
        self.store.objects = {(kinds[type(policy.content)], policy.name): policy for policy in policies}
        self.book.put(
            Corpus(
                self.store.kept_revision,
                tuple(policy for policy in policies if isinstance(policy.content, SettingsPolicy)),
                tuple(policy for policy in policies if isinstance(policy.content, RulesPolicy)),
            )
        )

    def mark(self, device_id: str) -> Mark:
        """Return what the device is to have now."""
        return self.book.mark(self.book.basis(self.delivery(device_id)))

    def delivery(self, device_id: str) -> Delivery:
        """Return what is known of a device."""
        return self.deliveries.kept.get(device_id, Delivery(device_id))

    async def hello(self, device_id: str, revision: int = 0, sha256: bytes = b"") -> None:
        """Open a stream of the device."""
        await self.deliveries.change(
            [(device_id, lambda old: old.opened("stream", revision=revision, sha256=sha256, now=NOW))]
        )

    async def offer(self, device_id: str) -> Delivery:
        """Offer the device what it is to have."""
        mark = self.mark(device_id)
        [led_to] = await self.deliveries.change(
            [(device_id, lambda old: old.prepared(mark.sha256, mark.desired, mark.bundle).sent(NOW))]
        )
        return led_to

    async def apply(self, *device_ids: str) -> None:
        """Offer the devices what they are to have, which they apply."""
        for device_id in device_ids:
            await self.offer(device_id)
            await self.deliveries.change([(device_id, lambda old: old.applied(old.revision, old.desired, NOW))])

    async def refuse(self, device_id: str, *reasons: str) -> None:
        """Offer the device what it is to have, which it refuses."""
        offer = await self.offer(device_id)
        await self.deliveries.change([(device_id, lambda old: old.rejected(offer.revision, reasons, NOW))])

    async def rollout(self, wanted: SubjectWanted = TOOLS, permit: Permit = ALL) -> Rollout:
        """Return how far a policy has come."""
        return await self.convergence.get(wanted, permit=permit, now=NOW)

    async def devices(self, wanted: SubjectWanted = TOOLS, **narrowed: object) -> list[RolloutDevice]:
        """Return the devices of a rollout."""
        page = await self.convergence.devices(
            wanted,
            DevicesWanted(**narrowed),  # type: ignore[arg-type]
            permit=ALL,
            page_size=100,
            page_token="",
            now=NOW,
        )
        return list(page.items)


def world(*device_ids: str) -> World:
    made = World(FakeDirectories(*map(device, device_ids)))
    made.author(stored(settings_of(), 1), stored(rules("tools"), 1))
    return made


async def test_a_rollout_counts_every_device_by_how_far_it_is() -> None:
    made = world("waits", "offered", "applied", "refuses")
    await made.offer("offered")
    await made.apply("applied")
    await made.refuse("refuses", "no room on the disk", "no room on the disk")
    found = await made.rollout()
    assert found.subject == Subject("tools", PolicyKind.RULES, 1)
    assert (found.pending, found.offered, found.applied, found.rejected) == (1, 1, 1, 1)
    assert (found.targeted, found.leaving, found.converged) == (4, 0, False)
    assert found.rejections == (RejectionCount("no room on the disk", 1),)
    assert [(each.device_id, each.state) for each in await made.devices()] == [
        ("applied", RolloutState.APPLIED),
        ("offered", RolloutState.OFFERED),
        ("refuses", RolloutState.REJECTED),
        ("waits", RolloutState.PENDING),
    ]


async def test_a_newer_revision_is_pending_until_a_document_with_it_is_made() -> None:
    made = world("d1")
    await made.apply("d1")
    made.author(stored(settings_of(), 1), stored(rules("tools", platform=rules().platform), 2))
    found = await made.rollout()
    assert (found.subject.revision, found.pending, found.applied) == (2, 1, 0)
    older = await made.rollout(SubjectWanted("tools", revision=1))
    assert (older.pending, older.applied, older.converged) == (0, 1, True)
    await made.apply("d1")
    assert (await made.rollout(SubjectWanted("tools", revision=1))).applied == 1
    assert (await made.rollout()).applied == 1


async def test_a_device_that_keeps_its_last_good_document_still_has_what_is_in_it() -> None:
    made = world("d1")
    await made.apply("d1")
    made.author(stored(settings_of(), 1), stored(rules("tools"), 1), stored(rules("other"), 2))
    await made.refuse("d1", "too much")
    assert (await made.rollout()).applied == 1
    other = await made.rollout(SubjectWanted("other"))
    assert (other.rejected, other.converged) == (1, True)


async def test_a_policy_that_is_taken_away_leaves_a_device_with_its_next_document() -> None:
    made = World(FakeDirectories(device("d1"), device("d2"), groups=[group("lab", "D1")]))
    made.author(stored(settings_of(), 1), stored(rules("tools"), 1))
    await made.apply("d1", "d2")
    made.author(stored(settings_of(), 1), stored(rules("tools", "lab"), 2))
    found = await made.rollout()
    assert (found.targeted, found.pending, found.leaving) == (1, 1, 1)
    [leaving] = await made.devices(state=RolloutState.LEAVING)
    assert (leaving.device_id, leaving.applied_revision) == ("d2", 1)
    await made.apply("d2")
    assert (await made.rollout()).leaving == 0


async def test_a_settings_policy_has_arrived_where_it_takes_part() -> None:
    made = World(FakeDirectories(device("d1", "alice"), device("d2")))
    everybody = replace(settings_of("people"), assignments=assigned(ALL_USERS))
    made.author(stored(everybody, 3))
    await made.apply("d1", "d2")
    found = await made.rollout(SubjectWanted("people"))
    # Nobody is bound to d2: settings for all users alone provision no device.
    assert (found.subject.kind, found.targeted, found.applied) == (PolicyKind.SETTINGS, 1, 1)


async def test_settings_that_come_to_the_same_document_arrive_without_an_offer() -> None:
    made = world("d1")
    await made.apply("d1")
    made.author(stored(settings_of(description="told better"), 5), stored(rules("tools"), 1))
    mark = made.mark("d1")
    assert mark.sha256 == made.delivery("d1").sha256
    assert (await made.rollout(SubjectWanted("settings"))).pending == 1
    assert (await made.offer("d1")).revision == 1
    assert (await made.rollout(SubjectWanted("settings"))).applied == 1


async def test_what_a_device_holds_that_nobody_here_knows_counts_as_not_there() -> None:
    made = world("d1", "d2", "d3")
    await made.apply("d1", "d2", "d3")
    held = made.delivery("d1")
    await made.hello("d1", held.revision, held.sha256)
    await made.hello("d2", held.revision + 7, b"x" * 32)
    await made.hello("d3")
    assert {each.device_id: each.state for each in await made.devices()} == {
        "d1": RolloutState.APPLIED,
        "d2": RolloutState.PENDING,
        "d3": RolloutState.OFFERED,
    }


async def test_the_end_of_a_stream_changes_nothing_but_that_the_device_is_offline() -> None:
    made = world("d1")
    await made.hello("d1")
    await made.apply("d1")
    assert (await made.rollout()).offline == 0
    await made.deliveries.change([("d1", lambda old: old.closed("stream", NOW + timedelta(seconds=5)))])
    assert ((await made.rollout()).applied, (await made.rollout()).offline) == (1, 1)
    [found] = await made.devices(offline_only=True)
    assert (found.connected, found.offline_since) == (False, NOW + timedelta(seconds=5))


async def test_a_stream_that_nobody_has_held_for_long_is_no_connection() -> None:
    made = world("d1")
    await made.hello("d1")
    await made.deliveries.change([("d1", lambda old: replace(old, seen=NOW - LEASE))])
    assert (await made.rollout()).offline == 1


@pytest.mark.parametrize(("age", "stale"), [(59, 0), (60, 1)])
async def test_a_device_is_stale_once_its_document_counts_no_more(age: int, stale: int) -> None:
    made = World(FakeDirectories(device("d1", "alice"), groups=[group("people", "alice", kind=GroupType.USER)]))
    short = replace(settings_of("short", stale_after=timedelta(minutes=1)), assignments=assigned("people"))
    made.author(stored(settings_of(stale_after=timedelta(hours=1)), 1), stored(short, 1), stored(rules("tools"), 1))
    await made.apply("d1")
    await made.deliveries.change(
        [("d1", lambda old: replace(old, confirmed=NOW - timedelta(seconds=age), stream="", seen=NOW))]
    )
    # What is authored since does not matter: the device goes by the document that it holds.
    made.author(stored(settings_of(stale_after=None), 2), stored(rules("tools"), 1))
    assert (await made.rollout()).stale == stale
    assert len(await made.devices(stale_only=True)) == stale


async def test_a_device_that_is_confirmed_by_its_stream_is_not_stale() -> None:
    made = world("d1")
    made.author(stored(settings_of(stale_after=timedelta(seconds=2)), 1), stored(rules("tools"), 1))
    await made.hello("d1")
    await made.apply("d1")
    await made.deliveries.change([("d1", lambda old: replace(old, confirmed=NOW - timedelta(seconds=40)))])
    assert (await made.rollout()).stale == 0


async def test_only_devices_in_scope_count() -> None:
    made = World(FakeDirectories(device("d1", scope_tags={"emea"}), device("d2"), device("d3", enrolled=False)))
    emea = frozenset({"default", "emea"})
    policy = stored(rules("tools"), 1)
    made.author(stored(settings_of(), 1), replace(policy, about=replace(policy.about, scope_tags=emea)))
    for tags, expected in ((frozenset({"emea"}), 1), (frozenset({"default"}), 1), (frozenset(), 2)):
        permit = Permit("policy_authoring.read", (Scope(tags=tags),))
        assert (await made.rollout(permit=permit)).targeted == expected
    with pytest.raises(NotFoundError):
        await made.rollout(permit=Permit("policy_authoring.read", (Scope(tags=frozenset({"apac"})),)))


async def test_a_policy_that_is_not_there_is_not_found() -> None:
    with pytest.raises(NotFoundError, match='no policy "nothing"'):
        await world("d1").rollout(SubjectWanted("nothing"))
    with pytest.raises(NotFoundError):
        await world("d1").rollout(SubjectWanted("tools", PolicyKind.SETTINGS))


async def test_a_name_of_two_policies_asks_for_the_kind() -> None:
    made = world("d1")
    made.author(stored(settings_of("both"), 3), stored(rules("both"), 4))
    with pytest.raises(InvalidError, match=r"subject\.kind"):
        await made.rollout(SubjectWanted("both"))
    for kind, revision in ((PolicyKind.SETTINGS, 3), (PolicyKind.RULES, 4)):
        assert (await made.rollout(SubjectWanted("both", kind))).subject == Subject("both", kind, revision)


async def test_a_revision_that_the_policy_has_not_reached_is_refused() -> None:
    with pytest.raises(InvalidError, match=r"subject\.revision: must be at most 1"):
        await world("d1").rollout(SubjectWanted("tools", revision=2))


async def test_a_count_waits_until_what_is_authored_is_known_here() -> None:
    made = world("d1")
    await made.rollout()
    assert made.awaited == [1]


async def test_the_devices_of_a_rollout_come_page_by_page() -> None:
    made = world(*(f"d{number}" for number in range(5)))
    names, token = [], ""
    while True:
        page = await made.convergence.devices(
            TOOLS, DevicesWanted(), permit=ALL, page_size=2, page_token=token, now=NOW
        )
        names += [each.device_name for each in page.items]
        if not (token := page.next_token):
            break
    assert names == ["D0", "D1", "D2", "D3", "D4"]
    page = await made.convergence.devices(TOOLS, DevicesWanted(), permit=ALL, page_size=2, page_token="", now=NOW)
    other = DevicesWanted(offline_only=True)
    with pytest.raises(InvalidError, match="page_token"):
        await made.convergence.devices(TOOLS, other, permit=ALL, page_size=2, page_token=page.next_token, now=NOW)


NAMES = ("a", "b", "c")
GROUPS = ("all-devices", "all-users", "lab", "people")
DEVICES = ("d1", "d2", "d3", "d4")
Found = Mapping[tuple[PolicyKind, str], int]


def policies_in(made: World, device_id: str) -> Found:
    """Return the policies in a device's document with their revisions, as one finds them by looking at each alone."""
    corpus, directory = made.book.corpus, made.directories.directory()
    assert corpus is not None
    known = directory.devices[device_id]
    document = EffectivePolicies(corpus, directory.groups).document(known)
    found = {(PolicyKind.RULES, name): revision for name, revision in document.revisions.items()}
    for policy in corpus.settings_policies:
        alone = EffectivePolicies(replace(corpus, settings_policies=(policy,), rules_policies=()), directory.groups)
        # Settings for all users take part for anybody once something else provisions the device.
        provisioned = has_settings(document)
        if has_settings(alone.document(known)) or (provisioned and policy_is_for_all_users(policy.content)):
            found[PolicyKind.SETTINGS, policy.name] = policy.about.revision
    return found


def has_settings(document: PolicyDocument) -> bool:
    return any(user.settings is not None for user in (document.any_user, *document.users))


def policy_is_for_all_users(policy: SettingsPolicy) -> bool:
    included = {include.group for include in policy.assignments.include}
    return ALL_USERS in included and not policy.assignments.exclude


policies = st.dictionaries(
    st.tuples(st.sampled_from(PolicyKind), st.sampled_from(NAMES)),
    st.lists(st.sampled_from(GROUPS), min_size=1, max_size=2, unique=True),
    max_size=4,
)
actions = st.lists(
    st.tuples(st.sampled_from(DEVICES), st.sampled_from(["hello", "again", "offer", "apply", "refuse"])), max_size=8
)


def authored(
    kind: PolicyKind, name: str, groups: list[str], revision: int
) -> Stored[SettingsPolicy] | Stored[RulesPolicy]:
    if kind is PolicyKind.SETTINGS:
        return stored(replace(settings_of(name), assignments=assigned(*groups)), revision)
    return stored(rules(name, *groups), revision)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(policies, actions), min_size=1, max_size=4))
async def test_counts_equal_what_one_finds_by_looking_at_every_device(
    rounds: list[tuple[dict[tuple[PolicyKind, str], list[str]], list[tuple[str, str]]]],
) -> None:
    groups = [group("lab", "D1", "D2"), group("people", "alice", kind=GroupType.USER)]
    made = World(
        FakeDirectories(device("d1", "alice"), device("d2"), device("d3", "alice", "bob"), device("d4"), groups=groups)
    )
    holds: dict[str, Found] = {}
    newest: dict[str, tuple[Found, str]] = {}
    revisions: dict[tuple[PolicyKind, str], tuple[list[str], int]] = {}
    for number, (wanted, steps) in enumerate(rounds, start=1):
        for key, groups_of in wanted.items():
            if key not in revisions or revisions[key][0] != groups_of:
                revisions[key] = groups_of, number
        revisions = {key: revisions[key] for key in wanted}
        made.author(*(authored(*key, groups_of, revision) for key, (groups_of, revision) in revisions.items()))
        for device_id, action in steps:
            await act(made, device_id, action, holds=holds, newest=newest)
    for kind, name in revisions:
        await check(made, Subject(name, kind, revisions[kind, name][1]), holds, newest)


async def act(
    made: World, device_id: str, action: str, *, holds: dict[str, Found], newest: dict[str, tuple[Found, str]]
) -> None:
    """Let a device do something, and note what one knows of it without the server's bundles."""
    before = made.delivery(device_id)
    if action == "hello":
        await made.hello(device_id)
        holds[device_id] = {}
        if device_id in newest:
            newest[device_id] = (
                newest[device_id][0],
                {"applied": "offered"}.get(newest[device_id][1], newest[device_id][1]),
            )
        return
    if action == "again":
        held = before.applied_revision == before.revision
        await made.hello(device_id, before.revision if held else 0, before.sha256 if held else b"")
        if not held:
            holds[device_id] = {}
        return
    same = before.revision and before.sha256 == made.mark(device_id).sha256
    stands = newest[device_id][1] if same else "offered"
    newest[device_id] = policies_in(made, device_id), stands
    if same and stands == "applied":
        holds[device_id] = newest[device_id][0]
    if action == "offer":
        await made.offer(device_id)
    elif action == "apply" and stands != "rejected":
        await made.apply(device_id)
        holds[device_id] = newest[device_id][0]
        newest[device_id] = newest[device_id][0], "applied"
    elif action == "refuse" and stands == "offered":
        await made.refuse(device_id, "no")
        newest[device_id] = newest[device_id][0], "rejected"
    else:
        await made.offer(device_id)


async def check(
    made: World, subject: Subject, holds: Mapping[str, Found], newest: Mapping[str, tuple[Found, str]]
) -> None:
    """Compare the counts of one policy with a count by hand."""
    key = subject.kind, subject.policy
    expected = dict.fromkeys(RolloutState, 0)
    for device_id in DEVICES:
        held = holds.get(device_id, {}).get(key, 0)
        if key not in policies_in(made, device_id):
            expected[RolloutState.LEAVING] += bool(held)
            continue
        document, stands = newest.get(device_id, ({}, ""))
        contained = document.get(key, 0) >= subject.revision
        state = RolloutState.PENDING
        if held >= subject.revision:
            state = RolloutState.APPLIED
        elif contained and stands in ("offered", "rejected"):
            state = RolloutState(stands)
        expected[state] += 1
    found = await made.rollout(SubjectWanted(subject.policy, subject.kind))
    counted = {
        RolloutState.PENDING: found.pending,
        RolloutState.OFFERED: found.offered,
        RolloutState.APPLIED: found.applied,
        RolloutState.REJECTED: found.rejected,
        RolloutState.LEAVING: found.leaving,
    }
    assert counted == expected, subject
    assert found.targeted == sum(expected.values()) - expected[RolloutState.LEAVING]
    listed = await made.devices(SubjectWanted(subject.policy, subject.kind))
    assert {state: sum(each.state is state for each in listed) for state in RolloutState} == expected


@given(
    st.dictionaries(st.text(max_size=8), st.integers(1, 2**62), max_size=4),
    st.dictionaries(st.text(max_size=8), st.integers(1, 2**62), max_size=4),
    st.none() | st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=4000)),
)
def test_contents_come_back_from_their_text(
    of_settings: dict[str, int], of_rules: dict[str, int], stale_after: timedelta | None
) -> None:
    contents = Contents(settings=of_settings, rules=of_rules, stale_after=stale_after)
    assert Contents.from_text(contents.to_text()) == contents
