"""Look at how far the policy of each device has come."""

from services._chassis.paging import Page, page_request
from services._chassis.permits import Permit
from services.policy.model.states import DevicePolicyState
from services.policy.ports import DeviceStates


async def list_device_states(
    states: DeviceStates, *, permit: Permit, page_size: int, page_token: str
) -> Page[DevicePolicyState]:
    """Return a page of the states of devices that the caller may see, by device name."""
    request = page_request(
        page_size=page_size, page_token=page_token, question="device_policy_states", shape=(str, str)
    )
    return await states.page(request, permit.visible_tags())
