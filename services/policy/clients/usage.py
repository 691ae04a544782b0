"""The reporting service: what rules are used for, asked every few minutes and held in memory."""

import asyncio
from datetime import UTC, datetime, timedelta

import grpc.aio

from elevation.lint.findings import ApprovedFile, Usage
from elevation.lint.usage import UNUSED_AFTER
from epm.reporting.v1 import usage_pb2, usage_pb2_grpc
from services._chassis.client import calling
from services._chassis.clock import Clock
from services._chassis.errors import UnavailableError
from services._chassis.logging import get_logger
from services._chassis.times import time_to_proto
from services._chassis.workers import Worker

PERIOD = 300.0
"""Seconds after which it is asked again."""
RETRY = 30.0
"""Seconds after which it is asked again where it did not answer."""
GOOD_FOR = 3600.0
"""Seconds for which an answer counts: what is older would call a rule unused that decided since."""
DEADLINE = 60.0
"""Seconds that an answer may take: millions of attempts are counted, and nobody waits for it."""

log = get_logger("policy.usage")


class UsageWatch:
    """Ask for usage time and again; `usage` is what was told last, None once that is too old.

    INVARIANT: nothing waits for the reporting service, and nothing fails because it is away.
    """

    def __init__(
        self, channel: grpc.aio.Channel, clock: Clock, *, period: float = PERIOD, retry: float = RETRY
    ) -> None:
        self._stub = usage_pb2_grpc.UsageServiceStub(channel)
        self._clock = clock
        self._period = period
        self._retry = retry
        self._usage: Usage | None = None
        self._told = 0.0
        self._reached = True

    def usage(self) -> Usage | None:
        """Return what rules are used for; None where it is not known."""
        return self._usage if self._clock.monotonic() < self._told + GOOD_FOR else None

    def worker(self) -> Worker:
        """Return the worker that asks."""
        return Worker("watch_usage", self.run)

    async def run(self) -> None:
        """Ask again and again."""
        while True:
            reached = await self.look()
            await asyncio.sleep(self._period if reached else self._retry)

    async def look(self) -> bool:
        """Ask once; tell whether there was an answer. Only the first failure in a row is news."""
        try:
            self._usage = await self._ask()
        except UnavailableError as error:
            if self._reached:
                log.warning("usage_not_told", error=str(error))
            self._reached = False
            return False
        self._told, self._reached = self._clock.monotonic(), True
        return True

    async def _ask(self) -> Usage | None:
        start = time_to_proto(self._clock.now() - UNUSED_AFTER)
        with calling("reporting"):
            answer = await self._stub.GetUsage(usage_pb2.GetUsageRequest(occurred_from=start), timeout=DEADLINE)
        return _usage(answer)


def _usage(answer: usage_pb2.GetUsageResponse) -> Usage | None:
    """Read what was told; None where nothing ever came in."""
    if not answer.HasField("counted_from"):
        return None
    return Usage(
        counted_from=answer.counted_from.ToDatetime(tzinfo=UTC),
        last_used={(rule.policy, rule.rule): _end_of(rule) for rule in answer.rules},
        more_rules=answer.more_rules,
        approved=tuple(
            ApprovedFile(sha256=file.sha256, file_name=file.file_name, approvals=file.attempts, users=file.users)
            for file in answer.approved_files
        ),
    )


def _end_of(rule: usage_pb2.RuleUsage) -> datetime:
    """Return the end of the last day on which the rule decided: it did at some time of that day."""
    return rule.last_day.ToDatetime(tzinfo=UTC) + timedelta(days=1)
