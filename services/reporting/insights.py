"""The verbs that draw conclusions: an overview, a trend, counts by user and application."""

from collections.abc import Sequence
from datetime import datetime

from services._chassis.errors import InvalidError, Problem
from services._chassis.paging import Page, page_request
from services.reporting.model.insights import (
    DEFAULT_TOP,
    LARGEST_OVERVIEW_TREND,
    LARGEST_TOP,
    LARGEST_TREND,
    Overview,
    Period,
    TrendPoint,
    UserApplicationCount,
    is_day,
    summed,
    trend,
)
from services.reporting.model.reports import Question
from services.reporting.ports import Insights
from services.reporting.usecases import problems_of

_USER_APPLICATIONS = (int, int, *(str,) * 10)
"""What pages are continued by: when the walk began, the period's first day, then user, device and application."""


async def get_overview(insights: Insights, question: Question, *, top: int, period: Period, now: datetime) -> Overview:
    """Return what a console shows first, with `top` applications of each kind (0: five)."""
    negative = Problem("top", f"must not be negative; leave it 0 for {DEFAULT_TOP}")
    _check([*problems_of(question), *([negative] if top < 0 else [])])
    tiles = await insights.tiles(question, min(top or DEFAULT_TOP, LARGEST_TOP))
    points = trend(tiles.fates, period, question.filter, now=now, most=LARGEST_OVERVIEW_TREND)
    return Overview(summed(tiles.fates), tiles, points)


async def get_trend(insights: Insights, question: Question, *, period: Period, now: datetime) -> tuple[TrendPoint, ...]:
    """Count attempts by period, oldest first."""
    _check(list(problems_of(question)))
    return trend(await insights.fates(question), period, question.filter, now=now, most=LARGEST_TREND)


async def list_user_applications(
    insights: Insights, question: Question, *, period: Period, page_size: int, page_token: str
) -> Page[UserApplicationCount]:
    """Return a page of counts, newest period first, in it by user, device and application."""
    page = page_request(
        page_size=page_size,
        page_token=page_token,
        question=f"user applications {period} {question.filter!r}",
        shape=_USER_APPLICATIONS,
        beside=list(problems_of(question)),
        may_be=lambda key: is_day(int(key[1])),
    )
    return await insights.user_applications(question, period, page)


def _check(problems: Sequence[Problem]) -> None:
    if problems:
        raise InvalidError(problems)
