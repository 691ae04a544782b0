"""What is done to the identity of a device is audited, with the reason, and is in its history with who did it."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from services._chassis.errors import DeniedError
from services.device.model.history import HistoryKind
from services.device.usecases.certificates import Vigilance, admit
from services.device.usecases.devices import clear_suspected_clone
from services.device.usecases.enrolment import Enrolled, enrol
from services.device.usecases.leaving import ban_device, delete_device, lift_ban, retire_device
from services.device.usecases.renewal import Renewal, renew
from tests.builders.device_database import keep
from tests.builders.device_requests import an_enrolment, an_installation
from tests.builders.devices import a_group, a_token, some_bounds
from tests.builders.doors import device_request
from tests.fakes.access import permit
from tests.fakes.clock import NOW
from tests.fakes.device import MemoryStore

OWNER = permit(everything=True)
FLAG, QUARANTINE = Vigilance(), Vigilance(quarantines=True)


async def enrolled(store: MemoryStore) -> Enrolled:
    await keep(store, a_token(text="epmenr_x"))
    return await enrol(store, an_enrolment("epmenr_x"), an_installation(), bounds=some_bounds(), now=NOW, new_id="d1")


async def renewed(store: MemoryStore, came: Enrolled) -> str:
    """Renew, use the new certificate, and return the serial number of the old one."""
    current = came.device.credentials.current
    assert current is not None
    signed = await renew(
        store,
        Renewal(device_id="d1", csr=device_request()[1].decode(), shown=current),
        an_installation(),
        vigilance=FLAG,
        bounds=some_bounds(),
        now=NOW,
    )
    await admit(store, "d1", signed.certificate.serial, vigilance=FLAG, now=NOW)
    return current.serial


async def test_a_renewal_and_its_first_use_are_audited_and_hold_no_secret() -> None:
    store = MemoryStore()
    old = await renewed(store, await enrolled(store))
    assert store.actions == ["device_enrolled", "certificate_issued", "certificate_promoted"]
    issued, promoted = store.kept.audit[1:]
    assert (issued.before or {})["serial"] == (promoted.before or {})["serial"] == old
    assert (issued.after or {})["serial"] == (promoted.after or {})["serial"]
    assert "PRIVATE" not in repr(store.kept)
    assert "epmenr_x" not in repr(store.kept)


@pytest.mark.parametrize(("vigilance", "after"), [(FLAG, "SUSPECTED"), (QUARANTINE, "QUARANTINED")])
async def test_a_suspicion_is_audited_once_and_its_end_too(vigilance: Vigilance, after: str) -> None:
    store = MemoryStore()
    old = await renewed(store, await enrolled(store))
    revision = store.kept.devices["d1"].revision
    for _ in range(2):
        with pytest.raises(DeniedError):
            await admit(store, "d1", old, vigilance=vigilance, now=NOW)
    assert (store.kept.devices["d1"].revision > revision) is vigilance.quarantines
    await clear_suspected_clone(store, "d1", reason="an image was removed", permit=OWNER, now=NOW)
    assert store.actions[-2:] == ["clone_suspected", "suspected_clone_cleared"]
    seen, cleared = store.kept.audit[-2:]
    assert seen.details == {"seen": "its certificate was replaced, and somebody uses it still"}
    assert (seen.after, seen.before) == (cleared.before, cleared.after)
    assert cleared.reason == "an image was removed"
    told = [entry for entry in store.kept.history if entry.kind is HistoryKind.SUSPECTED_CLONE]
    assert [(entry.before, entry.after) for entry in told] == [("", after), (after, "CLEARED")]


@pytest.mark.parametrize(
    ("verb", "action"),
    [(retire_device, "device_retired"), (ban_device, "device_banned"), (delete_device, "device_deleted")],
)
async def test_a_departure_is_audited_with_its_reason(verb: Callable[..., Awaitable[object]], action: str) -> None:
    store = MemoryStore()
    await keep(store, a_group("kiosks", "ws-17"))
    await enrolled(store)
    later = NOW + timedelta(hours=1)
    await verb(store, "d1", reason="stolen", permit=OWNER, now=later)
    entry = store.kept.audit[-1]
    assert (entry.action, entry.reason, (entry.before or {})["name"]) == (action, "stolen", "ws-17")
    if action == "device_deleted":
        assert store.actions[-2] == "group_member_removed"
        assert not store.kept.history
        assert not store.kept.keys
    else:
        assert (store.kept.history[-1].reason, store.kept.history[-1].at) == ("stolen", later)
        assert store.kept.groups["kiosks"].members == ("ws-17",)


async def test_a_lifted_ban_is_audited() -> None:
    store = MemoryStore()
    await enrolled(store)
    await ban_device(store, "d1", reason="", permit=OWNER, now=NOW)
    await lift_ban(store, "d1", reason="found", permit=OWNER, now=NOW)
    assert (store.kept.audit[-1].action, store.kept.audit[-1].reason) == ("device_ban_lifted", "found")


async def test_a_device_that_enrols_again_is_audited_with_what_it_was() -> None:
    store = MemoryStore()
    await enrolled(store)
    await keep(store, a_token("t2", text="epmenr_2", quota=1, device_id="d1"))
    again = await enrol(store, an_enrolment("epmenr_2"), an_installation(), bounds=some_bounds(), now=NOW, new_id="d2")
    assert again.device.device_id == "d1"
    entry = store.kept.audit[-1]
    assert (entry.action, entry.details["token_id"]) == ("device_enrolled_again", "t2")
    assert entry.details["certificate_serial"] == again.device.credentials.serials[0]
    assert entry.before is not None
