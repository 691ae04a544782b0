from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509

from services._chassis.errors import ConflictError, InvalidError, LimitError, UnauthenticatedError
from services.device.model.devices import Attested, Device, EnrolmentState, Facts, Origin
from services.device.model.groups import MOST_MEMBERS
from services.device.model.history import HistoryKind
from services.device.model.lifecycle import Desired, EpmState, Lifecycle
from services.device.usecases.enrolment import Enrolled, Enrolment, enrol
from tests.builders.device_database import keep
from tests.builders.device_requests import an_enrolment, an_installation
from tests.builders.devices import LINUX, a_device, a_group, a_token, some_bounds
from tests.builders.doors import device_request
from tests.fakes.clock import NOW
from tests.fakes.device import MemoryStore

TEXT = "epmenr_secret"
LATER = timedelta(hours=1)
HAIKU = Facts(os="haiku")


async def come(
    store: MemoryStore, asked: Enrolment | None = None, *, new_id: str = "d1", after: timedelta = timedelta()
) -> Enrolled:
    return await enrol(
        store, asked or an_enrolment(TEXT), an_installation(), bounds=some_bounds(), now=NOW + after, new_id=new_id
    )


async def store_with(token: object = None, *items: object) -> MemoryStore:
    store = MemoryStore()
    await keep(store, token or a_token(text=TEXT), *items)  # type: ignore[arg-type]
    return store


async def test_a_device_gets_what_its_token_says_and_a_certificate_of_its_own() -> None:
    token = a_token(text=TEXT, users=("alice",), tags=("finance",), scope_tags=("emea",))
    store = await store_with(token)
    enrolled = await come(store)
    device = enrolled.device
    assert (device.device_id, device.name, device.enrolled) == ("d1", "ws-17", NOW)
    assert device.attested == Attested(users=("alice",), tags=("finance",), scope_tags=("emea",))
    assert device.lifecycle.state is EpmState.NOT_PROVISIONED
    assert device.revision == store.kept.revision == 1
    assert store.kept.devices == {"d1": device}
    assert store.kept.tokens["t1"].used == 1
    certificate = x509.load_pem_x509_certificate(enrolled.certificate.encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://openepm/device/d1"]
    assert certificate.not_valid_after_utc == NOW + timedelta(days=90)


async def test_an_enrolment_is_audited_and_the_record_holds_no_secret() -> None:
    store = await store_with(a_token(text=TEXT, groups=("kiosks",)), a_group("kiosks"))
    await come(store)
    assert store.actions == ["device_enrolled", "group_member_added"]
    assert store.kept.audit[0].details["token_id"] == "t1"
    assert TEXT not in repr(store.kept.audit)


async def test_users_that_the_agent_reports_are_dropped_unless_the_token_allows_them() -> None:
    facts = replace(LINUX, users=("zoe", "bob"))
    store = await store_with()
    await keep(store, a_token("t2", text="epmenr_open", allow_reported_users=True))
    strict = (await come(store, an_enrolment(TEXT, "a", facts=facts), new_id="d1")).device
    open_ = (await come(store, an_enrolment("epmenr_open", "b", facts=facts), new_id="d2")).device
    assert strict.bound_users == ()
    assert open_.bound_users == ("bob", "zoe")
    assert open_.attested.users == ()


async def test_a_platform_without_a_component_is_not_applicable_from_the_start() -> None:
    store = await store_with()
    enrolled = await come(store, an_enrolment(TEXT, facts=HAIKU))
    assert enrolled.device.lifecycle.state is EpmState.NOT_APPLICABLE
    moved = store.kept.history[-1]
    assert (moved.kind, moved.before, moved.after) == (HistoryKind.EPM_STATE, "", "NOT_APPLICABLE")
    assert moved.reason == 'There is no component for the platform "haiku", which is what the agent reports.'


async def test_a_repeated_request_returns_the_same_device_and_uses_the_token_once() -> None:
    store = await store_with(a_token(text=TEXT, quota=1))
    asked = an_enrolment(TEXT)
    first = await come(store, asked, new_id="d1")
    again = await come(store, asked, new_id="d2")
    assert again.device.device_id == first.device.device_id
    assert store.kept.tokens["t1"].used == 1
    assert store.actions == ["device_enrolled", "certificate_issued"]
    told = store.kept.history[-1]
    assert (told.before, told.after) == again.device.credentials.serials


async def test_the_certificate_of_a_repeated_request_waits_for_its_first_use_beside_the_first() -> None:
    store, asked = await store_with(a_token(text=TEXT, quota=1)), an_enrolment(TEXT)
    first = (await come(store, asked)).device.credentials.serials
    again = (await come(store, asked)).device.credentials
    assert again.serials == (*first, again.unused_serial)
    third = (await come(store, asked)).device.credentials
    assert third.serials == (*first, third.unused_serial)
    assert third.replaced == (again.unused_serial,)


async def test_a_repeated_request_under_another_name_is_refused() -> None:
    store, csr = await store_with(), device_request()[1].decode()
    await come(store, an_enrolment(TEXT, "a", csr=csr))
    with pytest.raises(ConflictError) as refused:
        await come(store, an_enrolment(TEXT, "b", csr=csr))
    assert refused.value.reason == "KEY_ENROLLED"


@pytest.mark.parametrize(
    ("token", "after", "said"),
    [
        (a_token(text="epmenr_other"), timedelta(), "is not known here"),
        (a_token(text=TEXT), timedelta(days=7), "has expired"),
        (replace(a_token(text=TEXT), revoked=NOW), timedelta(), "was revoked"),
        (a_token(text=TEXT, quota=3, used=3), timedelta(), "is used up"),
    ],
    ids=["unknown", "expired", "revoked", "used up"],
)
async def test_a_token_that_lets_nobody_in_is_refused_with_the_cause(
    token: object, after: timedelta, said: str
) -> None:
    store = await store_with(token)
    with pytest.raises(UnauthenticatedError) as refused:
        await come(store, after=after)
    assert refused.value.reason == "ENROLMENT_TOKEN_REFUSED"
    assert said in refused.value.message
    assert "ask for a new one" in refused.value.message
    assert store.kept.devices == {}


async def test_a_token_counts_until_just_before_it_expires() -> None:
    store = await store_with()
    assert (await come(store, after=timedelta(days=7, microseconds=-1))).device.is_enrolled


async def test_a_stranger_without_a_token_learns_nothing_about_the_input() -> None:
    bad = an_enrolment("epmenr_wrong", "", csr="x", facts=Facts(os=""))
    with pytest.raises(UnauthenticatedError):
        await come(await store_with(), bad)


async def test_everything_that_is_wrong_with_a_request_is_told_at_once() -> None:
    facts = Facts(os="LINUX", os_version="x" * 129, architecture="\x00", agent_version="1\n2", users=("", "a", "a"))
    store = await store_with()
    with pytest.raises(InvalidError) as refused:
        await come(store, an_enrolment(TEXT, "no name", csr="no request", facts=facts))
    assert [problem.field for problem in refused.value.problems] == [
        "csr_pem",
        "device_name",
        "facts.os",
        "facts.os_version",
        "facts.architecture",
        "facts.agent_version",
        "facts.users[0]",
        "facts.users",
    ]
    assert store.kept.devices == {}


@pytest.mark.parametrize("name", ["", "a" * 64, "a b", "ä", "a/b", "a\n"])
async def test_a_name_of_other_characters_or_lengths_is_refused(name: str) -> None:
    with pytest.raises(InvalidError):
        await come(await store_with(), an_enrolment(TEXT, name))


@pytest.mark.parametrize("name", ["a", "A-1_b.c", "a" * 63])
async def test_a_name_of_the_allowed_characters_and_lengths_is_taken(name: str) -> None:
    assert (await come(await store_with(), an_enrolment(TEXT, name))).device.name == name


async def test_a_name_that_an_enrolled_device_has_is_refused_and_the_token_is_not_used() -> None:
    store = await store_with(None, a_device("d0", "ws-17"))
    with pytest.raises(ConflictError) as refused:
        await come(store)
    assert refused.value.reason == "DEVICE_NAME_TAKEN"
    assert store.kept.tokens["t1"].used == 0


async def test_a_retired_device_that_enrols_again_takes_its_record_up_and_begins_anew() -> None:
    store, asked = await store_with(a_token(text=TEXT, tags=("finance",))), an_enrolment(TEXT)
    first = (await come(store, asked, new_id="d1")).device
    active = Lifecycle(EpmState.ACTIVE, Desired.ON, None, 7)
    gone = replace(
        first,
        enrolment=EnrolmentState.RETIRED,
        lifecycle=active,
        attested=Attested(users=("bob",), scope_tags=("default",)),
    )
    await keep(store, gone)
    again = (await come(store, asked, new_id="d2", after=LATER)).device
    assert (again.device_id, again.is_enrolled, again.enrolled) == ("d1", True, NOW + LATER)
    assert again.attested == Attested(tags=("finance",), scope_tags=("default",))
    assert again.lifecycle == Lifecycle()
    assert again.etag != first.etag
    assert store.kept.tokens["t1"].used == 2
    assert store.actions[-2:] == ["device_enrolled_again", "epm_state_changed"]
    moved = store.kept.history[-1]
    assert (moved.kind, moved.before, moved.after) == (HistoryKind.EPM_STATE, "ACTIVE", "NOT_PROVISIONED")


def in_state(state: EpmState, *, retired: bool) -> Device:
    leaving = state in (EpmState.DEPROVISION_PENDING, EpmState.DEPROVISIONING)
    facts = HAIKU if state is EpmState.NOT_APPLICABLE else LINUX
    lifecycle = Lifecycle(state, Desired.ON, NOW if leaving else None, 7, NOW if leaving else None)
    return a_device("d0", "ws-17", facts=facts, lifecycle=lifecycle, retired=retired)


@pytest.mark.parametrize("facts", [LINUX, HAIKU])
@pytest.mark.parametrize("retired", [True, False])
@pytest.mark.parametrize("state", EpmState)
async def test_from_every_state_a_device_that_enrols_again_begins_anew_and_its_history_says_so(
    state: EpmState,
    retired: bool,  # noqa: FBT001
    facts: Facts,
) -> None:
    token = a_token(text=TEXT, device_id="" if retired else "d0")
    store = await store_with(token, in_state(state, retired=retired))
    device = (await come(store, an_enrolment(TEXT, facts=facts))).device
    begun = Lifecycle() if facts is LINUX else Lifecycle(EpmState.NOT_APPLICABLE)
    assert (device.device_id, device.lifecycle) == ("d0", begun)
    moves = [(each.before, each.after) for each in store.kept.history if each.kind is HistoryKind.EPM_STATE]
    assert moves == ([] if state is begun.state else [(state.value, begun.state.value)])


async def test_each_life_of_a_device_begins_later_than_the_one_before_though_a_clock_is_set_back() -> None:
    store = await store_with(None, a_device("d0", "ws-17", retired=True))
    assert (await come(store, after=-LATER)).device.enrolled == NOW + timedelta(microseconds=1)


async def test_a_repeated_request_begins_no_new_life() -> None:
    store, asked = await store_with(), an_enrolment(TEXT)
    first = (await come(store, asked)).device
    await keep(store, replace(first, lifecycle=Lifecycle(EpmState.ACTIVE, Desired.ON, None, 7)))
    again = (await come(store, asked, after=LATER)).device
    assert (again.enrolled, again.lifecycle.state) == (first.enrolled, EpmState.ACTIVE)


async def test_a_past_out_of_sight_of_a_token_is_not_taken_up_by_it() -> None:
    store = await store_with(a_token(text=TEXT, scope_tags=("emea",)))
    await keep(store, a_device("d0", "ws-17", retired=True, scope_tags=("apac",)))
    assert (await come(store)).device.device_id == "d1"


async def test_of_several_retired_devices_of_a_name_the_last_one_is_taken_up() -> None:
    store = await store_with()
    old = replace(a_device("d0", "ws-17", retired=True), enrolled=NOW - LATER)
    await keep(store, a_device("d8", "ws-17", retired=True), old)
    assert (await come(store)).device.device_id == "d8"


async def test_a_key_that_an_enrolled_device_has_lets_no_other_in() -> None:
    store, csr = await store_with(), device_request()[1].decode()
    await keep(store, a_token("t2", text="epmenr_2"))
    await come(store, an_enrolment(TEXT, "a", csr=csr), new_id="d1")
    with pytest.raises(ConflictError) as refused:
        await come(store, an_enrolment("epmenr_2", "b", csr=csr), new_id="d2")
    assert refused.value.reason == "KEY_ENROLLED"


async def test_a_device_joins_the_groups_of_its_token() -> None:
    store = await store_with(a_token(text=TEXT, groups=("g1", "g2")), a_group("g1", "a", "z"), a_group("g2", "ws-17"))
    await come(store)
    assert store.kept.groups["g1"].members == ("a", "ws-17", "z")
    assert store.kept.groups["g1"].revision == store.kept.revision
    assert store.kept.groups["g2"].revision == 1


async def test_groups_that_were_deleted_or_changed_to_a_filter_are_passed_over() -> None:
    gone, found = a_group("g1", deleted=True), a_group("g2", filter='os = "linux"')
    store = await store_with(a_token(text=TEXT, groups=("g1", "g2")), gone, found)
    await come(store)
    assert store.kept.groups == {"g1": gone, "g2": found}


async def test_a_group_that_is_full_lets_the_whole_enrolment_fail() -> None:
    full = a_group("g1", *(f"m{number}" for number in range(MOST_MEMBERS)))
    store = await store_with(a_token(text=TEXT, groups=("g1",)), full)
    with pytest.raises(LimitError):
        await come(store)
    assert store.kept.devices == {}
    assert store.kept.tokens["t1"].used == 0


async def test_how_a_device_came_is_remembered() -> None:
    store, csr = await store_with(a_token(text=TEXT, allow_reported_users=True)), device_request()[1].decode()
    device = (await come(store, an_enrolment(TEXT, csr=csr))).device
    assert device.origin == Origin(token_id="t1", key_digest=device.origin.key_digest, allow_reported_users=True)
    assert len(device.origin.key_digest) == 64
