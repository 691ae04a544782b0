"""The verbs of reporting: admit a device, answer a question."""

from collections.abc import Iterator
from dataclasses import dataclass

from services._chassis.certificates import replaced
from services._chassis.errors import DeniedError, InvalidError, NotFoundError, Problem, UnavailableError
from services._chassis.ordering import Order, read_order
from services._chassis.paging import Page, PageRequest, page_request
from services.reporting.model.devices import Device, Directory
from services.reporting.model.events import microseconds
from services.reporting.model.reports import (
    ALTERNATIVES,
    MEASURES,
    ORDERS,
    ApplicationCount,
    Elevation,
    PublisherCount,
    Question,
    Summary,
    UserCount,
)
from services.reporting.ports import Reports


def is_settled(directory: Directory, device_id: str, serial: str) -> bool:
    """Tell whether there is no point in waiting for a newer directory, to let the device in with this certificate."""
    device = directory.devices.get(device_id)
    return device_id in directory.deleted if device is None else not device.enrolled or device.counts(serial)


def admit(directory: Directory, device_id: str, serial: str) -> Device:
    """Return the device whose certificate opened the stream.

    A directory that has lost touch with the device service still admits whom it knew: events are evidence, which gives
    nobody a right, and refusing them would only fill the device's disk. Raises UnavailableError where the device is not
    known (yet), DeniedError where it is retired, banned or deleted, and where the certificate was replaced.
    """
    device = directory.devices.get(device_id)
    if device is None:
        if device_id in directory.deleted:
            raise deleted()
        raise UnavailableError("the directory does not show this device yet; try again", reason="DEVICE_NOT_KNOWN_YET")
    if not device.enrolled:
        raise not_enrolled(device)
    if not device.counts(serial):
        raise replaced()
    return device


def not_enrolled(device: Device) -> DeniedError:
    """Return the refusal of a device without credentials: what has to be done depends on how it lost them."""
    if device.deleted:
        return deleted()
    if device.banned:
        return DeniedError("the device is banned; ask for its ban to be lifted", reason="DEVICE_BANNED")
    return DeniedError("the device is retired; enrol it again with a new token", reason="DEVICE_NOT_ENROLLED")


def deleted() -> DeniedError:
    """Return the refusal of a device that is no more."""
    return DeniedError("the device was deleted; enrol it again", reason="DEVICE_UNKNOWN")


async def list_elevations(
    reports: Reports, question: Question, *, page_size: int, page_token: str, order_by: str = ""
) -> Page[Elevation]:
    """Return a page of attempts, newest first where no order is asked for."""
    asked = Asked("elevations", page_size, page_token, order_by)
    return await reports.elevations(question, *_page(asked, question))


async def get_elevation(reports: Reports, attempt_id: str, tags: frozenset[str] | None) -> Elevation:
    """Return one attempt. Raises NotFoundError where there is none, and where the caller may not see it."""
    found = await reports.elevation(attempt_id, tags) if attempt_id and "\0" not in attempt_id else None
    if found is None:
        raise NotFoundError("there is no attempt of this id; list the elevations for those there are")
    return found


async def summarize(reports: Reports, question: Question) -> Summary:
    """Count attempts by what became of them."""
    if problems := list(problems_of(question)):
        raise InvalidError(problems)
    return await reports.summary(question)


async def list_applications(
    reports: Reports, question: Question, *, page_size: int, page_token: str, order_by: str = ""
) -> Page[ApplicationCount]:
    """Return a page of applications, most attempts first where no order is asked for."""
    asked = Asked("applications", page_size, page_token, order_by)
    return await reports.applications(question, *_page(asked, question))


async def list_publishers(
    reports: Reports, question: Question, *, page_size: int, page_token: str, order_by: str = ""
) -> Page[PublisherCount]:
    """Return a page of publishers, most attempts first where no order is asked for."""
    asked = Asked("publishers", page_size, page_token, order_by)
    return await reports.publishers(question, *_page(asked, question))


async def list_users(
    reports: Reports, question: Question, *, page_size: int, page_token: str, order_by: str = ""
) -> Page[UserCount]:
    """Return a page of users, most attempts first where no order is asked for."""
    asked = Asked("users", page_size, page_token, order_by)
    return await reports.users(question, *_page(asked, question))


@dataclass(frozen=True, slots=True)
class Asked:
    """What a call asks of a list, as it came."""

    report: str
    page_size: int
    page_token: str
    order_by: str


_MEMBERS = {"applications": 7, "publishers": 2, "users": 1}
"""By how many texts the rows of each count are told apart."""


def _page(asked: Asked, question: Question) -> tuple[PageRequest, Order]:
    problems = list(problems_of(question))
    order = read_order(asked.order_by, ORDERS[asked.report])
    if isinstance(order, Problem):
        problems.append(order)
    wanted = order if isinstance(order, Order) else Order(ORDERS[asked.report][0], descending=True)
    request = page_request(
        page_size=asked.page_size,
        page_token=asked.page_token,
        question=f"{asked.report} {question.filters!r} {wanted!r}",
        shape=_shape(asked.report, wanted),
        beside=problems,
    )
    return request, wanted


def _shape(report: str, order: Order) -> tuple[type, ...]:
    """Return what the pages of a list are continued by; those of a count begin with the time when the walk began."""
    if report == "elevations":
        return (int, str)
    return (int, int if order.by in MEASURES else str, *(str,) * _MEMBERS[report])


def problems_of(question: Question) -> Iterator[Problem]:
    """Say everything that is wrong with a question."""
    yield from question.unreadable
    for path, asked in question.filters.items():
        for name in ALTERNATIVES:
            values: tuple[str, ...] = getattr(asked, name)
            if len(values) > (most := asked.most(name)):
                yield Problem(f"{path}.{name}", f"must have at most {most} values; ask several times")
            if any("\0" in value for value in values):
                yield Problem(f"{path}.{name}", "must not hold NUL")
        start, end = asked.occurred_from, asked.occurred_before
        if start is not None and end is not None and microseconds(start) >= microseconds(end):
            yield Problem(f"{path}.occurred_before", "must be later than occurred_from")
