"""Tell in SQL what rules are used for; counts alone are read."""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from services._chassis.db import Database, Transaction
from services.reporting.model.events import datetime_of
from services.reporting.model.reports import ElevationFilter, Question
from services.reporting.model.rollups import DAY
from services.reporting.model.usage import MOST_FILES, MOST_RULES, ApprovedFile, RuleUsage, Usage
from services.reporting.store.counted import facts

_ATTEMPTS = sa.cast(sa.func.sum(sa.column("attempts")), sa.BigInteger)
_APPROVED: dict[str, Any] = {"sources": ("GRANT",), "results": ("ELEVATED",)}


class SqlUsage:
    """Tell on SQLite or PostgreSQL."""

    def __init__(self, database: Database, *, most_rules: int = MOST_RULES, most_files: int = MOST_FILES) -> None:
        self._database = database
        self._most_rules = most_rules
        self._most_files = most_files

    async def usage(self, first: int) -> Usage:
        """Return what rules were used for from a day, since 1970, on."""
        async with self._database.read() as tx:
            counted_from = await _counted_from(tx, first)
            if counted_from is None:
                return Usage(counted_from=None)
            rules = await _rules(tx, first, self._most_rules + 1)
            files = await _approved_files(tx, first, self._most_files)
        return Usage(
            counted_from=counted_from,
            rules=tuple(rules[: self._most_rules]),
            more_rules=len(rules) > self._most_rules,
            approved_files=tuple(files),
        )


def _question(first: int | None, **values: Any) -> Question:
    start = None if first is None else datetime_of(first * DAY)
    return Question(ElevationFilter(occurred_from=start, **values), None)


async def _counted_from(tx: Transaction, first: int) -> int | None:
    """Return the first day from which on everything is counted by rule; None where nothing ever came in."""
    found = await facts(tx, _question(None), ("day",), None)
    oldest: int | None = (await tx.execute(sa.select(sa.func.min(found.c.day)))).scalar()
    if oldest is None:
        return None
    # Counts of before rules were counted by know that one decided, and not which.
    nameless = await facts(tx, _question(first, sources=("RULE",), rules=("",)), ("day",), None)
    last: int | None = (await tx.execute(sa.select(sa.func.max(nameless.c.day)))).scalar()
    return max(first, oldest, first if last is None else last + 1)


async def _rules(tx: Transaction, first: int, most: int) -> Sequence[RuleUsage]:
    """Return the rules that decided, those that decided most."""
    found = await facts(tx, _question(first), ("policy", "rule", "day"), None)
    rule = (found.c.policy, found.c.rule)
    used = (
        sa.select(*rule, _ATTEMPTS.label("attempts"), sa.func.max(found.c.day).label("last_day"))
        .where(found.c.rule != "")
        .group_by(*rule)
        .order_by(sa.desc("attempts"), *rule)
        .limit(most)
    )
    return [RuleUsage(**row) for row in (await tx.execute(used)).mappings()]


async def _approved_files(tx: Transaction, first: int, most: int) -> Sequence[ApprovedFile]:
    """Return the files that were elevated under an approval more than once, those with most approvals."""
    found = await facts(tx, _question(first, **_APPROVED), ("sha256", "file_name"), None)
    often = (
        sa.select(found.c.sha256, sa.func.min(found.c.file_name).label("file_name"), _ATTEMPTS.label("attempts"))
        .where(found.c.sha256 != "")
        .group_by(found.c.sha256)
        .having(_ATTEMPTS > 1)
        .order_by(sa.desc("attempts"), found.c.sha256)
        .limit(most)
    )
    rows = (await tx.execute(often)).mappings().all()
    users = await _users(tx, first, tuple(row["sha256"] for row in rows))
    return [ApprovedFile(**row, users=users[row["sha256"]]) for row in rows]


async def _users(tx: Transaction, first: int, hashes: Sequence[str]) -> Mapping[str, int]:
    """Count who elevated each of these files under an approval: that takes the longest counts, so only where there are any."""
    if not hashes:
        return {}
    found = await facts(tx, _question(first, sha256s=tuple(hashes), **_APPROVED), ("sha256", "user_name"), None)
    users = sa.func.count(sa.distinct(found.c.user_name)).label("users")
    counted = await tx.execute(sa.select(found.c.sha256, users).group_by(found.c.sha256))
    return {row["sha256"]: row["users"] for row in counted.mappings()}
