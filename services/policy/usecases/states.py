"""Look at how far the policy of each device has come."""

from services._chassis.paging import Page, page_request
from services._chassis.permits import Permit
from services.policy.model.states import DevicePolicyState, StatesWanted
from services.policy.ports import DeviceStates

QUESTION = "device_policy_states"


async def list_device_states(
    states: DeviceStates,
    *,
    permit: Permit,
    page_size: int,
    page_token: str,
    device: str = "",
    conflicting_only: bool = False,
) -> Page[DevicePolicyState]:
    """Return a page of the states of devices that the caller may see, by device name."""
    narrowed = f"{QUESTION} {conflicting_only} {device}" if device or conflicting_only else QUESTION
    request = page_request(page_size=page_size, page_token=page_token, question=narrowed, shape=(str, str))
    wanted = StatesWanted(visible=permit.visible_tags(), device=device, conflicting_only=conflicting_only)
    return await states.page(request, wanted)
