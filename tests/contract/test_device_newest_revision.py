"""The newest revision of the policy service that devices rest on, in every store."""

from dataclasses import replace

from services.device.model.devices import EnrolmentState
from services.device.model.lifecycle import Lifecycle
from services.device.ports import Store
from tests.builders.device_database import keep
from tests.builders.devices import a_device


async def test_the_newest_policy_revision_is_that_of_any_device(device_store: Store) -> None:
    async with device_store.read() as work:
        assert await work.devices.newest_policy_revision() == 0
    states = ((EnrolmentState.ENROLLED, 3), (EnrolmentState.RETIRED, 9), (EnrolmentState.ENROLLED, 5))
    await keep(
        device_store,
        *(
            replace(a_device(f"d{number}"), enrolment=state, lifecycle=Lifecycle(policy_revision=revision))
            for number, (state, revision) in enumerate(states)
        ),
    )
    async with device_store.read() as work:
        assert await work.devices.newest_policy_revision() == 9
