"""The verbs of readiness: who could do without administrator rights, and what stands in the way of the others."""

from collections.abc import Iterator

from services._chassis.errors import Problem
from services._chassis.paging import Page, PageRequest, page_request
from services.reporting.model.readiness import Obstacle, ReadinessPage, ReadinessQuestion
from services.reporting.model.reports import Question
from services.reporting.ports import ReadinessReports
from services.reporting.usecases import problems_of

_READINESS = (int, int, int, str, str)
_OBSTACLES = (int, int, int, str, str, str, str, str, str)
"""What the pages are continued by; both begin with the number of the newest transaction when the walk began."""


async def list_readiness(
    reports: ReadinessReports, asked: ReadinessQuestion, *, page_size: int, page_token: str
) -> ReadinessPage:
    """Return a page of users or devices, fewest unmanaged attempts first."""
    verdicts = sorted(verdict.value for verdict in asked.verdicts)
    name = f"readiness {asked.subject.value} {verdicts} {asked.question.filter!r}"
    return await reports.readiness(asked, _page(name, asked.question, _READINESS, size=page_size, token=page_token))


async def list_obstacles(
    reports: ReadinessReports, question: Question, *, page_size: int, page_token: str
) -> Page[Obstacle]:
    """Return a page of applications, those first that alone keep most users from being ready."""
    name = f"obstacles {question.filter!r}"
    return await reports.obstacles(question, _page(name, question, _OBSTACLES, size=page_size, token=page_token))


def _page(name: str, question: Question, shape: tuple[type, ...], *, size: int, token: str) -> PageRequest:
    problems = [*problems_of(question), *one_sided(question)]
    return page_request(page_size=size, page_token=token, question=name, shape=shape, beside=problems)


def one_sided(question: Question) -> Iterator[Problem]:
    """Say that a question about readiness looks at one side of it alone, where it does."""
    if question.filter.managed is not None:
        message = "must not be set: whether somebody is ready shows in managed and unmanaged attempts together"
        yield Problem("filter.managed", message)
