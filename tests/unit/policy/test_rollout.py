"""How far policies have come: counts add up, and equal what one finds by looking at every device's documents."""

from dataclasses import replace
from datetime import timedelta

import pytest

from elevation.model import ALL_USERS, GroupType
from services._chassis.errors import InvalidError, NotFoundError
from services._chassis.permits import Permit, Scope
from services.policy.model.bundle import PolicyKind
from services.policy.model.rollout import (
    DevicesWanted,
    RejectionCount,
    RolloutState,
    Subject,
    SubjectWanted,
)
from tests.builders.rollouts import ALL, TOOLS, World, world
from tests.fakes.clock import NOW
from tests.fakes.policy_delivery import (
    FakeDirectories,
    assigned,
    device,
    group,
    rules,
    stored,
)
from tests.fakes.policy_delivery import settings as settings_of


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
