"""List what is authored, narrowed by a filter, in the order that is asked for."""

from services._chassis.errors import Problem
from services._chassis.paging import Page, page_request
from services._chassis.permits import Permit
from services.policy.model.listing import BY_NAME, Wanted, read_filter, read_order
from services.policy.model.objects import Content, Stored, kind_of
from services.policy.ports import Selection, Store


async def list_objects(store: Store, kind: type[Content], wanted: Wanted, *, permit: Permit) -> Page[Stored[Content]]:
    """Return a page of the objects that the caller may see. Raises InvalidError with all problems of the call."""
    matches, order = read_filter(kind, wanted.filter), read_order(wanted.order_by)
    problems = [read for read in (matches, order) if isinstance(read, Problem)]
    kept_order = BY_NAME if isinstance(order, Problem) else order
    request = page_request(
        page_size=wanted.page_size,
        page_token=wanted.page_token,
        question=f"{kind_of(kind).many}\n{wanted.filter}\n{wanted.order_by}".rstrip("\n"),
        shape=kept_order.shape,
        beside=problems,
    )
    selection = Selection(permit.visible_tags(), None if isinstance(matches, Problem) else matches, kept_order)
    async with store.reading() as work:
        return await work.page(kind, request, selection)
