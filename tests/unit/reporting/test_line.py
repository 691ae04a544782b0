import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from services.reporting.store.driver import LostError
from services.reporting.store.line import Line
from services.reporting.store.wire import Group, Verdict, batches_packed, framed, taken_from
from tests.fakes.reporting import batch, decided

GROUPS = [[batch([decided(number)], first=number)] for number in (1, 2, 3)]


class Writer:
    """The other end of a line: it hears groups, and says what the test wants."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = bytearray()

    async def heard(self) -> Group:
        """Return the next group."""
        while not (messages := list(taken_from(self._received))):
            self._received += await asyncio.get_running_loop().sock_recv(self._connection, 100_000)
        (message, *more) = messages
        for later in more:
            self._received += b"".join(framed(bytes(later)))
        group = Group.unpacked(message)
        return replace(group, batches=[replace(one, attempts=tuple(one.attempts)) for one in group.batches])

    def say(self, verdict: Verdict) -> None:
        """Judge."""
        self._connection.sendall(b"".join(framed(verdict.packed())))

    def hang_up(self) -> None:
        """Say nothing any more."""
        self._connection.close()


@asynccontextmanager
async def talking(longest_group: float = 60) -> AsyncIterator[tuple[Line, Writer]]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(0)
    line, writer = Line(longest_group), Writer(theirs)
    await line.connect(ours)
    yield line, writer
    writer.hang_up()
    await line.ended.wait()
    line.break_off()


async def test_a_group_goes_out_before_the_one_ahead_of_it_is_judged() -> None:
    async with talking() as (line, writer):
        answers = [line.ask(batches_packed(group)) for group in GROUPS]
        assert [(await writer.heard()).batches for _ in GROUPS] == GROUPS
        for number in (1, 2, 3):
            writer.say(Verdict(number))
        assert [(await answer).stored for answer in answers] == [1, 2, 3]
        assert line.judges


async def test_a_group_tells_the_failures_that_were_known_when_it_was_sent() -> None:
    async with talking() as (line, writer):
        first, second = (line.ask(batches_packed(group)) for group in GROUPS[:2])
        writer.say(Verdict(failure="full", failures=1))
        writer.say(Verdict(failure="behind it", failures=1))
        assert [(await first).failure, (await second).failure] == ["full", "behind it"]
        line.ask(batches_packed(GROUPS[2])).cancel()
        assert [(await writer.heard()).failures for _ in GROUPS] == [0, 0, 1]


async def test_a_verdict_that_nobody_waits_for_any_more_is_not_taken_for_the_next_one() -> None:
    async with talking() as (line, writer):
        given_up, waited_for = (line.ask(batches_packed(group)) for group in GROUPS[:2])
        given_up.cancel()
        writer.say(Verdict(1))
        writer.say(Verdict(2))
        assert (await waited_for).stored == 2


async def test_whoever_waits_hears_of_the_end_once_the_line_is_broken_off() -> None:
    async with talking() as (line, writer):
        answer = line.ask(batches_packed(GROUPS[0]))
        writer.hang_up()
        await line.ended.wait()
        later = line.ask(batches_packed(GROUPS[1]))
        assert not answer.done()
        line.break_off()
        for lost in (answer, later, line.ask(batches_packed(GROUPS[2]))):
            with pytest.raises(LostError):
                await lost


async def test_a_writer_that_judges_nothing_in_time_is_given_up_however_much_it_judged_before() -> None:
    async with talking(longest_group=0.05) as (line, writer):
        first, second = (line.ask(batches_packed(group)) for group in GROUPS[:2])
        writer.say(Verdict(1))
        assert (await first).stored == 1
        await line.ended.wait()
        assert line.cause == "the writer gave no verdict for 0.05 s"
        assert not second.done()


async def test_a_line_ends_when_everything_is_answered() -> None:
    async with talking() as (line, writer):
        answer = line.ask(batches_packed(GROUPS[0]))
        ending = asyncio.create_task(line.end())
        assert (await writer.heard()).batches == GROUPS[0]
        writer.say(Verdict(1))
        await ending
        assert (await answer).stored == 1
