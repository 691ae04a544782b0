"""List the users that are known."""

from services._chassis.errors import DeniedError
from services._chassis.paging import Page, page_request
from services._chassis.permits import Permit
from services.device.model.users import KnownUser
from services.device.ports import Store
from services.device.usecases.visibility import Standing


async def list_users(
    store: Store, *, permit: Permit, standing: Standing, page_size: int, page_token: str
) -> Page[KnownUser]:
    """Return a page of the users that are known from devices and groups that the caller may see, by name."""
    request = page_request(page_size=page_size, page_token=page_token, question="users")
    try:
        groups = standing.check("groups.read")
    except DeniedError:
        groups = Permit()
    async with store.read() as work:
        return await work.users.page(request, devices=permit.visible_tags(), groups=groups.visible_tags())
