"""Enrolment on every store, with many devices that come at once."""

import asyncio

from services._chassis.errors import ConflictError, UnauthenticatedError
from services._chassis.paging import PageRequest
from services.device.ports import Store
from services.device.usecases.enrolment import enrol
from tests.builders.device_database import keep
from tests.builders.device_requests import an_enrolment, an_installation
from tests.builders.devices import a_token, some_bounds
from tests.fakes.clock import NOW


async def test_a_token_lets_in_no_more_than_its_quota_however_many_come_at_once(device_store: Store) -> None:
    await keep(device_store, a_token(text="epmenr_x", quota=3))
    installation = an_installation()

    async def come(number: int) -> bool:
        asked = an_enrolment("epmenr_x", f"ws-{number}")
        try:
            await enrol(device_store, asked, installation, bounds=some_bounds(), now=NOW, new_id=f"d{number}")
        except UnauthenticatedError:
            return False
        return True

    let_in = await asyncio.gather(*(come(number) for number in range(12)))
    assert sum(let_in) == 3
    async with device_store.read() as work:
        token = await work.tokens.get("t1")
        devices = (await work.devices.page(PageRequest(20), None)).items
    assert token is not None
    assert token.used == 3
    assert len(devices) == 3


async def test_of_many_devices_that_ask_for_one_name_at_once_one_gets_it(device_store: Store) -> None:
    await keep(device_store, a_token(text="epmenr_x", quota=50))
    installation = an_installation()

    async def come(number: int) -> bool:
        try:
            await enrol(
                device_store,
                an_enrolment("epmenr_x", "ws"),
                installation,
                bounds=some_bounds(),
                now=NOW,
                new_id=f"d{number}",
            )
        except ConflictError:
            return False
        return True

    assert sum(await asyncio.gather(*(come(number) for number in range(8)))) == 1


async def test_one_key_that_asks_many_times_at_once_is_one_device(device_store: Store) -> None:
    await keep(device_store, a_token(text="epmenr_x", quota=1))
    asked, installation = an_enrolment("epmenr_x", "ws"), an_installation()
    come = (
        enrol(device_store, asked, installation, bounds=some_bounds(), now=NOW, new_id=f"d{number}")
        for number in range(8)
    )
    answers = await asyncio.gather(*come)
    assert len({answer.device.device_id for answer in answers}) == 1
