"""Who had which name and which key, and who is no more: in memory, on SQLite and on PostgreSQL."""

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

import services
from services._chassis.db import Database
from services._chassis.errors import UnauthenticatedError
from services._chassis.migrate import upgrade
from services._chassis.paging import PageRequest
from services.device.model.credentials import Certificate, Credentials, Use
from services.device.model.devices import Device, EnrolmentState
from services.device.ports import Store
from services.device.store.sql import SqlStore
from services.device.usecases.enrolment import Enrolment, enrol
from tests.builders.device_database import device_database, keep
from tests.builders.device_requests import an_enrolment, an_installation
from tests.builders.devices import a_device, a_token, some_bounds
from tests.fakes.clock import NOW

CLIENTS = 20
QUOTA = 7
HOUR = timedelta(hours=1)


def a_certificate(serial: str) -> Certificate:
    return Certificate(serial, NOW + HOUR, f"key-{serial}")


async def kept(store: Store, device_id: str = "d1") -> Device | None:
    async with store.read() as work:
        return await work.devices.get(device_id)


@pytest.mark.parametrize(
    "credentials",
    [
        Credentials(),
        Credentials(a_certificate("a1")),
        Credentials(a_certificate("a1"), a_certificate("b2"), ("c3", "d4")),
        Credentials(None, a_certificate("b2")),
        Credentials(None, None, ("c3",)),
        Credentials(a_certificate("a1"), None, ("c3",), ("d4", "e5")),
    ],
    ids=["none", "one", "all", "one that waits", "gone", "after an earlier life"],
)
async def test_certificates_and_marks_are_kept_as_they_are(device_store: Store, credentials: Credentials) -> None:
    device = replace(a_device(), credentials=credentials, suspected_clone=NOW, quarantined=True)
    await keep(device_store, device)
    assert await kept(device_store) == device
    plain = replace(device, suspected_clone=None, quarantined=False, enrolment=EnrolmentState.BANNED)
    await keep(device_store, plain)
    assert await kept(device_store) == plain


async def test_what_a_token_says_of_devices_is_kept(device_store: Store) -> None:
    token = a_token(device_id="d1", device_names=("kiosk-?", "ws-*"))
    await keep(device_store, token)
    async with device_store.read() as work:
        assert await work.tokens.get("t1") == token


async def test_those_who_left_under_a_name_are_found_the_last_one_first(device_store: Store) -> None:
    old = replace(a_device("d9", "ws", retired=True), enrolled=NOW - HOUR)
    banned = replace(a_device("d2", "ws"), enrolment=EnrolmentState.BANNED)
    others = a_device("d3", "ws"), a_device("d4", "ws2", retired=True)
    await keep(device_store, old, banned, *others, a_device("d1", "ws", retired=True))
    async with device_store.read() as work:
        assert [device.device_id for device in await work.identities.left_under("ws")] == ["d2", "d1", "d9"]
        assert await work.identities.left_under("nobody") == []


async def test_all_who_ever_had_a_key_are_found(device_store: Store) -> None:
    await keep(device_store, a_device("d1"), a_device("d2", retired=True), a_device("d3"))
    async with device_store.transaction() as work:
        for device_id, digest in (("d1", "k1"), ("d1", "k2"), ("d2", "k1"), ("d1", "k1")):
            await work.identities.keep_key(device_id, digest)
    async with device_store.read() as work:
        found = {digest: await work.identities.with_key(digest) for digest in ("k1", "k2", "k3")}
    assert {digest: [device.device_id for device in devices] for digest, devices in found.items()} == {
        "k1": ["d2", "d1"],
        "k2": ["d1"],
        "k3": [],
    }


async def test_of_one_that_is_buried_a_tombstone_is_left(device_store: Store) -> None:
    await keep(device_store, a_device("d1", scope_tags=("emea",)), a_device("d2", scope_tags=("emea",)))
    async with device_store.transaction() as work:
        await work.identities.keep_key("d1", "k1")
        revision = await work.next_revision()
        await work.identities.bury("d1", revision)
    async with device_store.read() as work:
        assert await work.devices.get("d1") is None
        assert await work.identities.with_key("k1") == []
        page = await work.devices.page(PageRequest(10), frozenset({"emea"}))
        assert [device.device_id for device in page.items] == ["d2"]
        assert (await work.changes(revision - 1)).deleted == ("d1",)
        assert (await work.changes(revision)).deleted == ()
    await keep(device_store, a_device("d3", "ws-d1"))


@pytest.fixture
async def old_database(empty_database_url: str, tmp_path: Path) -> AsyncIterator[Database]:
    """Give the test a database as it was before certificates were kept, with a device and a token in it."""
    folder = tmp_path / "migrations" / "versions"
    folder.mkdir(parents=True)
    for path in (Path(services.__file__).parent / "device" / "migrations" / "versions").glob("*.py"):
        if path.name < "m0005":
            shutil.copy(path, folder)
    database = await Database.connect(empty_database_url, service="device")
    await upgrade(database, versions=folder)
    yield database
    await database.close()


async def test_any_certificate_counts_of_a_device_that_is_older_than_the_schema(old_database: Database) -> None:
    texts = ("name", "os", "os_version", "architecture", "agent_version", "token_id", "desired")
    row = {name: f"the {name}" for name in texts} | {
        "device_id": "d1",
        "enrolled_name": "the name",
        "enrolment": "ENROLLED",
        "ownership": "UNKNOWN",
        "epm_state": "ACTIVE",
        "desired": "ON",
        "key_digest": "k1",
    }
    lists = ("reported_users", "users", "tags", "scope_tags")
    columns = [*row, *lists, "allow_reported_users", "enrolled", "policy_revision", "version", "revision"]
    table = sa.table("device_devices", *(sa.column(name) for name in columns))
    typed = {name: sa.bindparam(name, type_=sa.JSON) for name in lists}
    typed |= {"enrolled": sa.bindparam("enrolled", type_=sa.DateTime(timezone=True))}
    async with old_database.transaction() as tx:
        values = {name: typed.get(name, sa.bindparam(name)) for name in columns}
        numbers = {"allow_reported_users": False, "policy_revision": 1, "version": 1, "revision": 1}
        filled = {**row, **{name: ["x"] for name in lists}, **numbers, "enrolled": NOW.replace(tzinfo=None)}
        if old_database.on_postgresql:
            filled["enrolled"] = NOW
        await tx.execute(sa.insert(table).values(values), filled)
    await upgrade(old_database)
    async with SqlStore(old_database).read() as work:
        device = await work.devices.get("d1")
        having = await work.identities.with_key("k1")
    assert device is not None
    assert device.credentials == Credentials()
    assert device.use_of("any") is Use.ORDINARY
    assert having == [device]


async def test_twenty_clients_that_come_at_once_use_a_token_no_more_often_than_it_may_be(database_url: str) -> None:
    async with device_database(database_url) as database:
        await keep(SqlStore(database), a_token(text="epmenr_x", quota=QUOTA))
    asked = [an_enrolment("epmenr_x", f"ws-{number}") for number in range(CLIENTS)]
    ready, installation = threading.Barrier(CLIENTS, timeout=60), an_installation()

    async def come(number: int, enrolment: Enrolment) -> bool:
        database = await Database.connect(database_url, service="device", pool_size=2)
        ready.wait()
        try:
            await enrol(SqlStore(database), enrolment, installation, bounds=some_bounds(), now=NOW, new_id=f"d{number}")
        except UnauthenticatedError:
            return False
        finally:
            await database.close()
        return True

    with ThreadPoolExecutor(CLIENTS) as clients:
        waiting = [clients.submit(asyncio.run, come(number, each)) for number, each in enumerate(asked)]
        let_in = await asyncio.to_thread(lambda: [each.result(timeout=120) for each in waiting])
    assert sum(let_in) == QUOTA
    async with device_database(database_url) as database, SqlStore(database).read() as work:
        token, page = await work.tokens.get("t1"), await work.devices.page(PageRequest(50), None)
    assert token is not None
    assert token.used == len(page.items) == QUOTA
