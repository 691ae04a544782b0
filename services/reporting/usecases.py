"""The verbs of reporting: admit a device, answer a question."""

from collections.abc import Iterator

from services._chassis.certificates import replaced
from services._chassis.errors import DeniedError, InvalidError, NotFoundError, Problem, UnavailableError
from services._chassis.paging import Page, PageRequest, page_request
from services.reporting.model.devices import Device, Directory
from services.reporting.model.events import microseconds
from services.reporting.model.reports import (
    ALTERNATIVES,
    MOST_VALUES,
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


async def list_elevations(reports: Reports, question: Question, *, page_size: int, page_token: str) -> Page[Elevation]:
    """Return a page of attempts, newest first."""
    return await reports.elevations(question, _page("elevations", question, page_size, page_token))


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
    reports: Reports, question: Question, *, page_size: int, page_token: str
) -> Page[ApplicationCount]:
    """Return a page of applications, most attempts first."""
    return await reports.applications(question, _page("applications", question, page_size, page_token))


async def list_publishers(
    reports: Reports, question: Question, *, page_size: int, page_token: str
) -> Page[PublisherCount]:
    """Return a page of publishers, most attempts first."""
    return await reports.publishers(question, _page("publishers", question, page_size, page_token))


async def list_users(reports: Reports, question: Question, *, page_size: int, page_token: str) -> Page[UserCount]:
    """Return a page of users, most attempts first."""
    return await reports.users(question, _page("users", question, page_size, page_token))


_SHAPES: dict[str, tuple[type, ...]] = {
    "elevations": (int, str),
    "applications": (int, int, str, str, str, str, str, str),
    "publishers": (int, int, str, str),
    "users": (int, int, str),
}
"""What the pages of each list are continued by; those of a count begin with the time when the walk began."""


def _page(report: str, question: Question, page_size: int, page_token: str) -> PageRequest:
    return page_request(
        page_size=page_size,
        page_token=page_token,
        question=f"{report} {question.filter!r}",
        shape=_SHAPES[report],
        beside=list(problems_of(question)),
    )


def problems_of(question: Question) -> Iterator[Problem]:
    """Say everything that is wrong with a question."""
    yield from question.unreadable
    asked = question.filter
    for name in ALTERNATIVES:
        values: tuple[str, ...] = getattr(asked, name)
        if len(values) > MOST_VALUES:
            yield Problem(f"filter.{name}", f"must have at most {MOST_VALUES} values; ask several times")
        if any("\0" in value for value in values):
            yield Problem(f"filter.{name}", "must not hold NUL")
    start, end = asked.occurred_from, asked.occurred_before
    if start is not None and end is not None and microseconds(start) >= microseconds(end):
        yield Problem("filter.occurred_before", "must be later than occurred_from")
