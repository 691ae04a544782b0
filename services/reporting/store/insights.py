"""Answer in SQL what draws conclusions, each question in one state of the data."""

from services._chassis.db import Database
from services._chassis.paging import Page, PageRequest
from services.reporting.model.insights import Fate, Period, Tiles, UserApplicationCount
from services.reporting.model.reports import Question
from services.reporting.store.overview import tiles
from services.reporting.store.survey import Survey
from services.reporting.store.trend import fates
from services.reporting.store.userapplications import user_applications


class SqlInsights:
    """Answer questions on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def tiles(self, question: Question, top: int) -> Tiles:
        """Return what an overview is made of, with so many applications of each kind."""
        async with self._database.read() as tx:
            return await tiles(tx, question, top)

    async def fates(self, question: Question) -> tuple[Fate, ...]:
        """Count attempts by day and by what became of them."""
        async with self._database.read() as tx:
            return await fates(Survey(tx, question))

    async def user_applications(
        self, question: Question, period: Period, page: PageRequest
    ) -> Page[UserApplicationCount]:
        """Count attempts by user, device and application: newest period first."""
        async with self._database.read() as tx:
            return await user_applications(tx, question, period, page)
