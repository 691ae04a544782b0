"""What every store of the device service does: in memory, on SQLite and on PostgreSQL."""

from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from elevation.model import GroupType, ReportingScope
from services._chassis.audit import AuditEntry
from services._chassis.errors import ConflictError
from services._chassis.migrate import differences, upgrade
from services._chassis.paging import Page, PageRequest, page_request
from services.device.model.devices import Attested, Device, EnrolmentState, Facts, Origin, Ownership
from services.device.model.groups import MOST_MEMBERS, Group
from services.device.model.lifecycle import Desired, EpmState, Lifecycle
from services.device.model.reporting import Reported
from services.device.model.tokens import EnrolmentToken
from services.device.ports import DirectoryChanges, Store
from services.device.store.sql import SqlStore
from services.device.store.tables import AUDIT, METADATA
from tests.builders.device_database import device_database, keep
from tests.builders.devices import a_device, a_group, a_token
from tests.fakes.clock import NOW

WEEK = timedelta(days=7)
FULL_DEVICE = Device(
    device_id="d1",
    name="ws-17",
    facts=Facts(
        os="windows", os_version="10.0.22631", architecture="x86_64", agent_version="0.1.0", users=("bob", "zoë")
    ),
    attested=Attested(users=("alice",), tags=("emea", "finance"), ownership=Ownership.CORPORATE, scope_tags=("a", "b")),
    origin=Origin(token_id="t1", key_digest="ab12", allow_reported_users=True),
    enrolled=NOW + timedelta(microseconds=1),
    enrolment=EnrolmentState.ENROLLED,
    lifecycle=Lifecycle(EpmState.DEPROVISION_PENDING, Desired.NONE, NOW + WEEK, 2**40),
    reported=Reported(
        ReportingScope.DIAGNOSTIC,
        ((ReportingScope.MANAGED, NOW + timedelta(microseconds=3)), (ReportingScope.ALL, NOW)),
    ),
    last_check_in=NOW,
    version=3,
    revision=9,
)
FULL_TOKEN = EnrolmentToken(
    token_id="t1",
    digest=b"\x00\xff" * 16,
    quota=100_000,
    expires=NOW + WEEK,
    created=NOW,
    description="for the new office",
    used=17,
    users=("alice", "bob"),
    allow_reported_users=True,
    groups=("kiosks",),
    tags=("finance",),
    scope_tags=("a", "b"),
    revoked=NOW,
)
FULL_GROUP = Group(
    name="developers",
    type=GroupType.USER,
    members=("alice", "bob"),
    groups=("testers", "writers"),
    description="they write\nprograms",
    scope_tags=("a", "b"),
    revision=4,
)


async def test_a_new_store_is_empty_at_revision_zero(device_store: Store) -> None:
    async with device_store.read() as work:
        assert await work.current_revision() == 0
        assert await work.changes(0) == DirectoryChanges(0)
        assert await work.devices.page(PageRequest(10), None) == Page(())
        assert await work.tokens.page(PageRequest(10), None) == Page(())
        assert await work.groups.page(PageRequest(10), None) == Page(())
        assert await work.devices.get("d1") is None
        assert await work.devices.named("ws-17") is None
        assert await work.tokens.get("t1") is None


async def test_a_device_comes_back_as_it_went_in(device_store: Store) -> None:
    await keep(device_store, FULL_DEVICE)
    async with device_store.read() as work:
        assert await work.devices.get("d1") == FULL_DEVICE
        assert await work.devices.named("ws-17") == FULL_DEVICE
        assert await work.devices.enrolled_with("t1", "ab12") == FULL_DEVICE
        assert await work.devices.many(["d1", "d2"]) == {"d1": FULL_DEVICE}


async def test_a_bare_device_comes_back_as_it_went_in(device_store: Store) -> None:
    bare = replace(a_device(), facts=Facts(os="linux"), attested=Attested())
    await keep(device_store, bare)
    async with device_store.read() as work:
        assert await work.devices.get("d1") == bare


async def test_a_device_that_is_saved_again_is_replaced(device_store: Store) -> None:
    changed = replace(FULL_DEVICE, attested=Attested(scope_tags=("c",)), last_check_in=None, version=4)
    await keep(device_store, FULL_DEVICE)
    await keep(device_store, changed)
    async with device_store.read() as work:
        assert await work.devices.get("d1") == changed
        assert (await work.devices.page(PageRequest(10), None)).items == (changed,)


async def test_many_devices_are_saved_together_new_ones_and_known_ones(device_store: Store) -> None:
    await keep(device_store, a_device("d1", scope_tags=("emea",)), a_device("d2", scope_tags=("emea",)))
    wanted = [
        a_device("d1", scope_tags=("apac",), revision=2),
        a_device("d2", scope_tags=("emea",), revision=2),
        a_device("d3", scope_tags=("apac",)),
    ]
    async with device_store.transaction() as work:
        await work.devices.save(*wanted)
        await work.groups.save(a_group("g1"), a_group("g2"))
        await work.devices.save()
        await work.groups.save()
    async with device_store.read() as work:
        assert await work.devices.many(["d1", "d2", "d3"]) == {device.device_id: device for device in wanted}
        apac = await work.devices.page(PageRequest(9), frozenset({"apac"}))
        assert [device.device_id for device in apac.items] == ["d1", "d3"]
        assert len(await work.groups.many(["g1", "g2"])) == 2


async def test_nothing_of_a_batch_is_kept_if_one_name_is_taken(device_store: Store) -> None:
    await keep(device_store, a_device("d1", "ws"))
    with pytest.raises(ConflictError):
        async with device_store.transaction() as work:
            await work.devices.save(a_device("d2", "other"), a_device("d3", "ws"))
    async with device_store.read() as work:
        assert await work.devices.many(["d2", "d3"]) == {}


async def test_an_enrolment_token_comes_back_as_it_went_in_and_is_replaced(device_store: Store) -> None:
    await keep(device_store, FULL_TOKEN)
    async with device_store.read() as work:
        assert await work.tokens.get("t1") == FULL_TOKEN
        assert await work.tokens.known_by(FULL_TOKEN.digest) == FULL_TOKEN
        assert await work.tokens.known_by(b"\x00" * 32) is None
    changed = replace(FULL_TOKEN, used=18, revoked=None)
    await keep(device_store, changed)
    async with device_store.read() as work:
        assert await work.tokens.get("t1") == changed


async def test_a_group_comes_back_as_it_went_in_and_is_replaced(device_store: Store) -> None:
    await keep(device_store, FULL_GROUP)
    async with device_store.read() as work:
        assert await work.groups.many(["developers", "nobody"]) == {"developers": FULL_GROUP}
    changed = replace(FULL_GROUP, members=(), type=GroupType.DEVICE, filter='tag = "x"')
    await keep(device_store, changed)
    async with device_store.read() as work:
        assert await work.groups.many(["developers"]) == {"developers": changed}


async def test_a_deleted_group_is_nowhere_but_in_the_changes(device_store: Store) -> None:
    tombstone = a_group(deleted=True, revision=2)
    await keep(device_store, a_group(revision=1))
    await keep(device_store, tombstone)
    async with device_store.read() as work:
        assert await work.groups.many(["kiosks"]) == {}
        assert (await work.groups.page(PageRequest(10), None)).items == ()
        assert (await work.changes(1)).groups == (tombstone,)


async def test_two_enrolled_devices_cannot_share_a_name(device_store: Store) -> None:
    await keep(device_store, a_device("d1", "ws"))
    with pytest.raises(ConflictError) as refused:
        await keep(device_store, a_device("d2", "ws"))
    assert refused.value.reason == "DEVICE_NAME_TAKEN"
    async with device_store.read() as work:
        assert await work.devices.get("d2") is None


async def test_a_retired_device_frees_its_name_and_its_key(device_store: Store) -> None:
    retired = a_device("d1", "ws", retired=True, origin=Origin(token_id="t1", key_digest="k"))
    await keep(device_store, replace(retired, enrolment=EnrolmentState.ENROLLED))
    await keep(device_store, retired)
    async with device_store.read() as work:
        assert await work.devices.named("ws") is None
        assert await work.devices.enrolled_with("t1", "k") is None
        assert await work.devices.get("d1") == retired
    again = a_device("d2", "ws", origin=Origin(token_id="t1", key_digest="k"))
    await keep(device_store, again)
    async with device_store.read() as work:
        assert await work.devices.named("ws") == again
        assert await work.devices.enrolled_with("t1", "k") == again


async def test_names_differ_by_case(device_store: Store) -> None:
    await keep(device_store, a_device("d1", "WS"), a_device("d2", "ws"))
    async with device_store.read() as work:
        found = await work.devices.named("ws")
    assert found is not None
    assert found.device_id == "d2"


async def test_devices_are_due_from_their_time_on_the_longest_overdue_first(device_store: Store) -> None:
    def leaving(device_id: str, state: EpmState, time: timedelta) -> Device:
        return a_device(device_id, lifecycle=Lifecycle(state, Desired.NONE, NOW + time))

    await keep(
        device_store,
        leaving("just", EpmState.DEPROVISION_PENDING, timedelta()),
        leaving("long", EpmState.DEPROVISION_PENDING, -WEEK),
        leaving("early", EpmState.DEPROVISION_PENDING, timedelta(microseconds=1)),
        leaving("moved", EpmState.DEPROVISIONING, -WEEK),
        a_device("steady", lifecycle=Lifecycle(EpmState.ACTIVE, Desired.ON)),
    )
    async with device_store.read() as work:
        assert [device.device_id for device in await work.devices.due(NOW, limit=10)] == ["long", "just"]
        assert [device.device_id for device in await work.devices.due(NOW, limit=1)] == ["long"]


async def test_devices_come_in_pages_by_name_each_once(device_store: Store) -> None:
    same = [a_device("d3", "b", retired=True), a_device("d4", "b", retired=True), a_device("d5", "b")]
    await keep(device_store, a_device("d1", "c"), *same, a_device("d2", "a"), a_device("d6", "B"))
    pages: list[list[str]] = []
    token = ""
    while not pages or token:
        async with device_store.read() as work:
            page = await work.devices.page(page_request(page_size=2, page_token=token, shape=(str, str)), None)
        pages.append([device.device_id for device in page.items])
        token = page.next_token
    assert pages == [["d6", "d2"], ["d3", "d4"], ["d5", "d1"]]


async def test_tokens_come_in_pages_newest_first_each_once(device_store: Store) -> None:
    await keep(device_store, *(a_token(f"t{number}") for number in (1, 3, 2)))
    async with device_store.read() as work:
        first = await work.tokens.page(PageRequest(2), None)
        rest = await work.tokens.page(page_request(page_size=2, page_token=first.next_token), None)
    assert [token.token_id for token in first.items] == ["t3", "t2"]
    assert [token.token_id for token in rest.items] == ["t1"]
    assert rest.next_token == ""


async def test_groups_come_in_pages_by_name_each_once(device_store: Store) -> None:
    await keep(device_store, *(a_group(name) for name in ("c", "a", "b", "Z")))
    async with device_store.read() as work:
        first = await work.groups.page(PageRequest(3), None)
        rest = await work.groups.page(page_request(page_size=3, page_token=first.next_token), None)
    assert [group.name for group in first.items] == ["Z", "a", "b"]
    assert [group.name for group in rest.items] == ["c"]


@pytest.mark.parametrize(
    ("tags", "seen"),
    [
        (None, ["d1", "d2", "d3", "d4"]),
        (frozenset({"emea"}), ["d1", "d2"]),
        (frozenset({"apac", "emea"}), ["d1", "d2", "d3"]),
        (frozenset({"default"}), ["d4"]),
        (frozenset({"nobody"}), []),
        (frozenset[str](), []),
    ],
)
async def test_a_page_shows_what_carries_one_of_the_tags(
    device_store: Store, tags: frozenset[str] | None, seen: list[str]
) -> None:
    carried = {"d1": ("emea",), "d2": ("apac", "emea"), "d3": ("apac",), "d4": ()}
    for key, scope_tags in carried.items():
        await keep(
            device_store,
            a_device(key, scope_tags=scope_tags),
            a_token(key, scope_tags=scope_tags),
            a_group(key, scope_tags=scope_tags),
        )
    async with device_store.read() as work:
        assert [device.device_id for device in (await work.devices.page(PageRequest(9), tags)).items] == seen
        assert [token.token_id for token in (await work.tokens.page(PageRequest(9), tags)).items] == seen[::-1]
        assert [group.name for group in (await work.groups.page(PageRequest(9), tags)).items] == seen


async def test_hidden_objects_leave_no_gap_in_a_page(device_store: Store) -> None:
    await keep(device_store, *(a_device(f"d{n}", scope_tags=("emea",) if n % 2 else ("apac",)) for n in range(6)))
    async with device_store.read() as work:
        page = await work.devices.page(PageRequest(2), frozenset({"apac"}))
        following = page_request(page_size=2, page_token=page.next_token, shape=(str, str))
        rest = await work.devices.page(following, frozenset({"apac"}))
    assert [device.device_id for device in (*page.items, *rest.items)] == ["d0", "d2", "d4"]
    assert len(page.items) == 2


async def test_visibility_follows_a_change_of_scope_tags(device_store: Store) -> None:
    await keep(device_store, a_device(scope_tags=("emea",)))
    await keep(device_store, a_device(scope_tags=("apac",)))
    async with device_store.read() as work:
        assert (await work.devices.page(PageRequest(9), frozenset({"emea"}))).items == ()
        assert len((await work.devices.page(PageRequest(9), frozenset({"apac"}))).items) == 1


async def test_a_page_of_large_objects_is_cut_to_what_a_message_takes(device_store: Store) -> None:
    members = tuple(f"{number:0120}" for number in range(MOST_MEMBERS))
    await keep(device_store, *(a_group(name, *members) for name in ("a", "b", "c")))
    async with device_store.read() as work:
        first = await work.groups.page(PageRequest(9), None)
        rest = await work.groups.page(page_request(page_size=9, page_token=first.next_token), None)
    assert [group.name for group in first.items] == ["a"]
    assert [group.name for group in rest.items] == ["b"]
    assert rest.next_token


async def test_a_transaction_takes_one_revision_however_often_it_asks(device_store: Store) -> None:
    async with device_store.transaction() as work:
        assert await work.next_revision() == 1
        assert await work.next_revision() == 1
        assert await work.current_revision() == 1
    async with device_store.transaction() as work:
        assert await work.next_revision() == 2


async def test_looking_takes_no_revision(device_store: Store) -> None:
    async with device_store.transaction() as work:
        await work.devices.get("d1")
    async with device_store.read() as work:
        assert await work.current_revision() == 0


async def test_changes_are_what_is_newer_in_the_order_of_revisions(device_store: Store) -> None:
    for device, group in (("d2", "g1"), ("d1", "g2"), ("d3", "g0")):
        async with device_store.transaction() as work:
            revision = await work.next_revision()
            await work.devices.save(a_device(device, revision=revision))
            await work.groups.save(a_group(group, revision=revision))
    async with device_store.transaction() as work:
        await work.devices.save(a_device("d2", revision=await work.next_revision()))
    async with device_store.read() as work:
        everything, newer, nothing = await work.changes(0), await work.changes(2), await work.changes(4)
    assert [device.device_id for device in everything.devices] == ["d1", "d3", "d2"]
    assert [group.name for group in everything.groups] == ["g1", "g2", "g0"]
    assert [device.device_id for device in newer.devices] == ["d3", "d2"]
    assert [group.name for group in newer.groups] == ["g0"]
    assert nothing == DirectoryChanges(4)


async def test_a_block_that_fails_changes_nothing(device_store: Store) -> None:
    with pytest.raises(LookupError):
        await keep_and_fail(device_store)
    async with device_store.read() as work:
        assert await work.devices.get("d1") is None
        assert await work.tokens.get("t1") is None
        assert await work.changes(0) == DirectoryChanges(0)


async def keep_and_fail(store: Store) -> None:
    async with store.transaction() as work:
        await work.devices.save(a_device(revision=await work.next_revision()))
        await work.tokens.save(a_token())
        await work.groups.save(a_group())
        raise LookupError


async def test_reading_sees_one_state_while_others_write(device_store: Store) -> None:
    async with device_store.read() as work:
        before = await work.devices.get("d1")
        await keep(device_store, a_device())
        assert await work.devices.get("d1") is before is None


async def test_the_audit_record_shares_the_fate_of_its_change(database_url: str) -> None:
    async with device_database(database_url) as database:
        with pytest.raises(LookupError):
            await record_and_fail(SqlStore(database))
        async with SqlStore(database).transaction() as work:
            entry = AuditEntry(action="device_retired", target_kind="device", target="kept")
            await work.audit(entry, replace(entry, target="too", before={"name": "ws"}), now=NOW)
            await work.audit(now=NOW)
        async with database.read() as tx:
            columns = (AUDIT.c.target, AUDIT.c.actor, AUDIT.c.revision, AUDIT.c.before)
            rows = (await tx.execute(sa.select(*columns).order_by(AUDIT.c.sequence))).all()
    assert [tuple(row) for row in rows] == [
        ("kept", "service:device", 1, ""),
        ("too", "service:device", 1, '{"name":"ws"}'),
    ]


async def record_and_fail(store: Store) -> None:
    async with store.transaction() as work:
        await work.audit(AuditEntry(action="device_retired", target_kind="device", target="lost"), now=NOW)
        raise LookupError


async def test_the_migrations_make_the_tables_that_the_code_declares(database_url: str) -> None:
    async with device_database(database_url) as database:
        assert await differences(database, METADATA) == []


async def test_migrating_again_changes_nothing(database_url: str) -> None:
    async with device_database(database_url) as database:
        await keep(SqlStore(database), FULL_DEVICE)
        await upgrade(database)
        async with SqlStore(database).read() as work:
            assert await work.devices.get("d1") == FULL_DEVICE
