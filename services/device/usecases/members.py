"""List who is in a group, and say which groups a device is in.

A filter is asked of so many devices in one call, so that a page costs about the same however few it finds: it may hold
fewer members than were asked for, also none, and there is another after it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from elevation.model import GroupType
from services._chassis.paging import Page, PageRequest, page_request
from services._chassis.permits import Permit
from services.device.model.devices import Device
from services.device.model.members import Member, Whole, foremost, has
from services.device.ports import Memberships, Store, Tags, Work
from services.device.usecases.reach import seeing_groups
from services.device.usecases.visibility import Standing, visible_group

MOST_ASKED = 2000
"""Devices of which one page asks a filter."""

BATCH = 250
"""Devices that are read at once; the process does something else in between."""


async def list_members(
    store: Store, name: str, *, permit: Permit, standing: Standing, page_size: int, page_token: str
) -> Page[Member]:
    """Return a page of the members of a group, by name; of devices, those that the caller may see.

    Raises NotFoundError, InvalidError, and DeniedError for a group of devices if the caller may not see any.
    """
    request = page_request(page_size=page_size, page_token=page_token, question=f"members of {name}")
    async with store.read() as work:
        group = visible_group((await work.groups.many([name])).get(name), permit)
        nested = await work.groups.many(group.groups)
        whole = Whole(group, tuple(nested[name] for name in sorted(nested)))
        if group.type is GroupType.USER:
            return _page(_listed(whole, request), request)
        return await _devices(work.memberships, whole, request, standing.check("devices.read"))


async def groups_of(work: Work, device: Device, *, standing: Standing) -> tuple[str, ...]:
    """Name the groups that an enrolled device is in and that the caller may see, sorted."""
    if not device.is_enrolled:
        return ()
    own = {group.name: group for group in await work.memberships.concerning(device.name) if has(group, device)}
    parents = frozenset[str]().union(*(await work.memberships.nesting(own)).values())
    found = {**own, **await work.groups.many(parents - own.keys())}
    sees = seeing_groups(standing)
    return tuple(sorted(name for name, group in found.items() if sees(group)))


@dataclass(slots=True)
class _Search:
    """Hold what filters found, and the name at which the search stopped; None: it came to the end."""

    found: dict[str, Member] = field(default_factory=dict)
    end: str | None = None


async def _devices(memberships: Memberships, whole: Whole, request: PageRequest, permit: Permit) -> Page[Member]:
    """Put what filters find and what is listed together, as far as both are known."""
    tags = permit.visible_tags()
    search = await _search(memberships, whole, request, tags) if whole.finds else _Search()
    listed = _listed(whole, request, end=search.end)
    merged = dict(listed)
    for name, member in search.found.items():
        merged[name] = foremost(member, listed.get(name))
    page = _page(merged, request, end=search.end)
    devices = await memberships.enrolled(member.name for member in page.items if not member.device_id)
    return Page(tuple(_visible(page.items, devices, permit)), page.next_token)


async def _search(memberships: Memberships, whole: Whole, request: PageRequest, tags: Tags) -> _Search:
    """Ask the filters of visible devices until there are enough for the page, or enough were asked."""
    search = _Search()
    last, asked = _start(request), 0
    while True:
        devices = await memberships.enrolled_after(last, tags, limit=BATCH)
        for device in devices:
            if member := whole.found(device):
                search.found[device.name] = member
        if len(devices) < BATCH:
            return search
        last, asked = devices[-1].name, asked + len(devices)
        if asked >= MOST_ASKED or len(search.found) > request.size:
            search.end = last
            return search


def _start(request: PageRequest) -> str:
    return str(request.after[0]) if request.after else ""


def _listed(whole: Whole, request: PageRequest, *, end: str | None = None) -> Mapping[str, Member]:
    """Return at least as many listed members as the page and one more take, as far as the end."""
    listed = whole.listed(after=_start(request), most=request.size + 1)
    return {name: member for name, member in listed.items() if end is None or name <= end}


def _page(members: Mapping[str, Member], request: PageRequest, *, end: str | None = None) -> Page[Member]:
    """Cut a page from the members up to the end; None: there are no others."""
    names = sorted(members)
    items = tuple(members[name] for name in names[: request.size])
    if len(names) > request.size:
        end = items[-1].name
    return Page(items, request.next_token((end,)) if end is not None else "")


def _visible(members: Sequence[Member], devices: Mapping[str, Device], permit: Permit) -> Iterator[Member]:
    """Name the devices of listed members, and leave out those that the caller may not see."""
    for member in members:
        device = devices.get(member.name)
        if device is None:
            yield member
        elif permit.sees(device.attested.scope_tags):
            yield replace(member, device_id=device.device_id)
