from dataclasses import replace
from datetime import timedelta

import pytest

from services._chassis.errors import ConflictError, DeniedError, InvalidError, NotFoundError
from services.device.model.devices import Attested, Device, EnrolmentState, Facts, Origin, Ownership
from services.device.model.lifecycle import Desired, EpmState, Lifecycle
from services.device.usecases.check_in import check_in
from services.device.usecases.devices import (
    DeviceChange,
    get_device,
    list_devices,
    update_device,
)
from services.device.usecases.leaving import retire_device
from tests.builders.device_database import keep
from tests.builders.devices import FREE, LINUX, a_device, some_bounds
from tests.fakes.access import permit
from tests.fakes.clock import NOW
from tests.fakes.device import MemoryStore

OWNER = permit(everything=True)
EMEA = permit(tags=("emea",))
LATER = NOW + timedelta(hours=1)


async def store_with(*devices: Device) -> MemoryStore:
    store = MemoryStore()
    async with store.transaction() as work:
        await work.next_revision()
    await keep(store, *devices)
    return store


async def test_a_sign_of_life_is_noted_and_nobody_else_hears_of_it() -> None:
    store = await store_with(a_device())
    seen = await check_in(store, "d1", "", LINUX, bounds=some_bounds(), now=LATER)
    assert seen == store.kept.devices["d1"] == replace(a_device(), last_check_in=LATER)
    assert store.kept.revision == 1
    assert store.actions == []


async def test_facts_that_others_see_take_a_revision_and_are_audited() -> None:
    store = await store_with(a_device())
    await check_in(store, "d1", "d1", replace(LINUX, os_version="6.2"), bounds=some_bounds(), now=LATER)
    assert store.kept.devices["d1"].facts.os_version == "6.2"
    assert store.kept.devices["d1"].revision == store.kept.revision == 2
    (entry,) = store.kept.audit
    assert entry.action == "device_facts_changed"
    assert (entry.before or {})["os_version"] == "6.1"
    assert (entry.after or {})["os_version"] == "6.2"


async def test_a_new_version_of_the_agent_is_audited_but_is_no_change_of_the_directory() -> None:
    store = await store_with(a_device())
    await check_in(store, "d1", "", replace(LINUX, agent_version="0.2"), bounds=some_bounds(), now=LATER)
    assert store.actions == ["device_facts_changed"]
    assert store.kept.devices["d1"].revision == 1


@pytest.mark.parametrize(("allowed", "bound"), [(True, ("alice", "zoe")), (False, ("alice",))])
async def test_users_that_the_agent_reports_are_bound_only_where_its_token_allowed_it(
    *, allowed: bool, bound: tuple[str, ...]
) -> None:
    origin = Origin(token_id="t1", key_digest="k", allow_reported_users=allowed)
    store = await store_with(a_device(origin=origin, attested=Attested(users=("alice",))))
    await check_in(store, "d1", "", replace(LINUX, users=("zoe", "alice")), bounds=some_bounds(), now=LATER)
    assert store.kept.devices["d1"].bound_users == bound
    assert store.kept.devices["d1"].attested.users == ("alice",)


async def test_a_user_that_is_bound_already_and_is_reported_too_changes_nothing_for_others() -> None:
    origin = Origin(token_id="t1", key_digest="k", allow_reported_users=True)
    store = await store_with(a_device(origin=origin, attested=Attested(users=("alice",))))
    await check_in(store, "d1", "", replace(LINUX, users=("alice",)), bounds=some_bounds(), now=LATER)
    assert store.kept.devices["d1"].revision == 1


async def test_a_platform_without_a_component_makes_epm_not_applicable_and_the_way_back_takes_up_the_policy() -> None:
    store = await store_with(a_device(lifecycle=Lifecycle(EpmState.ACTIVE, Desired.ON, None, 7)))
    await check_in(store, "d1", "", replace(LINUX, os="haiku"), bounds=some_bounds(), now=LATER)
    assert store.kept.devices["d1"].lifecycle == Lifecycle(EpmState.NOT_APPLICABLE, Desired.ON, None, 7)
    back = await check_in(store, "d1", "", LINUX, bounds=some_bounds(), now=LATER)
    assert back.lifecycle.state is EpmState.PROVISIONING
    assert store.actions == ["device_facts_changed", "epm_state_changed"] * 2


@pytest.mark.parametrize(
    ("device_id", "named", "reason"),
    [
        ("d1", "d2", "DEVICE_MISMATCH"),
        ("d9", "", "DEVICE_UNKNOWN"),
        ("d3", "", "DEVICE_NOT_ENROLLED"),
    ],
)
async def test_a_device_that_names_another_or_is_not_enrolled_is_refused_whatever_it_sends(
    device_id: str, named: str, reason: str
) -> None:
    store = await store_with(a_device("d1"), a_device("d2"), a_device("d3", retired=True))
    before = store.kept
    with pytest.raises(DeniedError) as refused:
        await check_in(store, device_id, named, Facts(os=""), bounds=some_bounds(), now=LATER)
    assert refused.value.reason == reason
    assert store.kept == before


async def test_everything_that_is_wrong_with_facts_is_told_at_once() -> None:
    store = await store_with(a_device())
    facts = Facts(os="Linux", os_version="\n", users=tuple(f"u{number}" for number in range(101)))
    with pytest.raises(InvalidError) as refused:
        await check_in(store, "d1", "", facts, bounds=some_bounds(), now=LATER)
    assert [problem.field for problem in refused.value.problems] == ["facts.os", "facts.os_version", "facts.users"]


async def test_a_device_is_found_by_its_id_and_an_enrolled_one_by_its_name() -> None:
    store = await store_with(a_device("d1", "ws"), a_device("d2", "old", retired=True))
    assert (await get_device(store, "d1", permit=OWNER, standing=FREE)).device.device_id == "d1"
    assert (await get_device(store, "ws", permit=OWNER, standing=FREE)).device.device_id == "d1"
    assert (await get_device(store, "d2", permit=OWNER, standing=FREE)).device.device_id == "d2"
    with pytest.raises(NotFoundError):
        await get_device(store, "old", permit=OWNER, standing=FREE)


async def test_a_device_that_names_itself_after_anothers_id_does_not_stand_in_for_it() -> None:
    store = await store_with(a_device("d1", "ws"), a_device("d2", "d1"))
    assert (await get_device(store, "d1", permit=OWNER, standing=FREE)).device.device_id == "d1"


@pytest.mark.parametrize("device", ["d1", "ws", "nobody"])
async def test_a_device_that_is_hidden_looks_like_one_that_is_not_there(device: str) -> None:
    store = await store_with(a_device("d1", "ws", scope_tags=("apac",)))
    before = store.kept
    change = DeviceChange(device, Attested(scope_tags=("emea",)), "1")
    calls = (
        get_device(store, device, permit=EMEA, standing=FREE),
        update_device(store, change, permit=EMEA, standing=FREE, now=NOW),
        retire_device(store, device, reason="", permit=EMEA, now=NOW),
    )
    for call in calls:
        with pytest.raises(NotFoundError, match="there is no such device"):
            await call
    assert store.kept == before


async def test_a_list_shows_what_the_caller_may_see_retired_ones_included() -> None:
    seen = a_device("d1", "b", scope_tags=("emea", "x")), a_device("d2", "a", scope_tags=("emea",), retired=True)
    store = await store_with(*seen, a_device("d3"))
    page = await list_devices(store, permit=EMEA, page_size=1, page_token="")
    rest = await list_devices(store, permit=EMEA, page_size=1, page_token=page.next_token)
    assert [device.device_id for device in (*page.items, *rest.items)] == ["d2", "d1"]


async def test_an_update_replaces_what_administrators_say_and_moves_the_etag() -> None:
    store = await store_with(a_device(attested=Attested(users=("alice",), tags=("old",))))
    wanted = Attested(users=("bob",), ownership=Ownership.PERSONAL, scope_tags=("emea",))
    updated = await update_device(store, DeviceChange("d1", wanted, "1"), permit=OWNER, standing=FREE, now=NOW)
    assert updated == store.kept.devices["d1"]
    assert updated.attested == wanted
    assert updated.etag == "2"
    assert updated.revision == store.kept.revision == 2
    assert store.actions == ["device_updated"]
    assert (store.kept.audit[0].before or {})["users"] == ["alice"]


async def test_an_update_that_is_repeated_with_its_old_etag_changes_nothing() -> None:
    store = await store_with(a_device())
    change = DeviceChange("d1", Attested(users=("bob",), scope_tags=("default",)), "1")
    first = await update_device(store, change, permit=OWNER, standing=FREE, now=NOW)
    assert await update_device(store, change, permit=OWNER, standing=FREE, now=NOW) == first
    assert store.actions == ["device_updated"]


async def test_an_update_against_a_stale_etag_is_a_conflict() -> None:
    store = await store_with(replace(a_device(), version=2))
    with pytest.raises(ConflictError) as refused:
        await update_device(
            store, DeviceChange("d1", Attested(scope_tags=("emea",)), "1"), permit=OWNER, standing=FREE, now=NOW
        )
    assert refused.value.stale
    assert refused.value.reason == "STALE_ETAG"
    assert refused.value.details == {"etag": "2"}


async def test_an_agents_report_leaves_the_etag_of_administrators_alone() -> None:
    store = await store_with(a_device())
    await check_in(store, "d1", "", replace(LINUX, os_version="6.2"), bounds=some_bounds(), now=LATER)
    change = DeviceChange("d1", Attested(tags=("x",), scope_tags=("default",)), "1")
    assert (await update_device(store, change, permit=OWNER, standing=FREE, now=NOW)).attested.tags == ("x",)


async def test_everything_that_is_wrong_with_an_update_is_told_at_once() -> None:
    store = await store_with(a_device())
    many = tuple(f"x{number:03}" for number in range(101))
    change = DeviceChange("d1", Attested(users=("a", "a"), tags=many), "")
    with pytest.raises(InvalidError) as refused:
        await update_device(store, change, permit=OWNER, standing=FREE, now=NOW)
    fields = [problem.field for problem in refused.value.problems]
    assert fields == ["device.users", "device.tags", "device.scope_tags", "device.etag"]


@pytest.mark.parametrize(
    "wanted", [("apac", "emea"), ("apac",), ("emea", "x"), ("x",)], ids=["add", "swap", "add unknown", "swap unknown"]
)
async def test_scope_tags_out_of_the_callers_scope_are_neither_added_nor_taken_away(wanted: tuple[str, ...]) -> None:
    store = await store_with(a_device("d1", scope_tags=("emea",)), a_device("d2", scope_tags=("apac", "emea")))
    with pytest.raises(DeniedError) as refused:
        await update_device(
            store, DeviceChange("d1", Attested(scope_tags=wanted), "1"), permit=EMEA, standing=FREE, now=NOW
        )
    assert refused.value.reason == "SCOPE_TAG_OUT_OF_SCOPE"
    with pytest.raises(DeniedError):
        await update_device(
            store, DeviceChange("d2", Attested(scope_tags=("emea",)), "1"), permit=EMEA, standing=FREE, now=NOW
        )


async def test_other_facts_of_a_device_with_foreign_scope_tags_may_be_changed_while_those_stay() -> None:
    store = await store_with(a_device(scope_tags=("apac", "emea")))
    change = DeviceChange("d1", Attested(tags=("x",), scope_tags=("apac", "emea")), "1")
    assert (await update_device(store, change, permit=EMEA, standing=FREE, now=NOW)).attested.tags == ("x",)


async def test_a_device_is_retired_once_and_the_reason_is_in_the_audit_record() -> None:
    store = await store_with(a_device())
    retired = await retire_device(store, "d1", reason="stolen", permit=OWNER, now=NOW)
    again = await retire_device(store, "d1", reason="other", permit=OWNER, now=LATER)
    assert retired == again
    assert retired.enrolment is EnrolmentState.RETIRED
    assert retired.revision == store.kept.revision == 2
    assert [(entry.action, entry.reason) for entry in store.kept.audit] == [("device_retired", "stolen")]


async def test_a_reason_that_is_too_long_retires_nothing() -> None:
    store = await store_with(a_device())
    with pytest.raises(InvalidError):
        await retire_device(store, "d1", reason="x" * 257, permit=OWNER, now=NOW)
    assert store.kept.devices["d1"].is_enrolled


async def test_retiring_leaves_the_epm_state_alone() -> None:
    lifecycle = Lifecycle(EpmState.ACTIVE, Desired.ON, None, 3)
    store = await store_with(a_device(lifecycle=lifecycle))
    assert (await retire_device(store, "d1", reason="", permit=OWNER, now=NOW)).lifecycle == lifecycle
