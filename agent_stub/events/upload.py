"""Bring the journals to the server: attempts first, never more in flight than the server's credit.

Of the diagnostics one batch is in flight at most, and a part of the credit is not theirs: an attempt that is made meanwhile
goes up at once.
"""

import asyncio
from typing import TypeAlias

import grpc.aio
import structlog

from agent_stub.events.journal import SpoolError
from agent_stub.events.spool import Spool
from agent_stub.links import End, Link, SessionError, greeting
from epm.reporting.v1 import agent_pb2, agent_pb2_grpc

log = structlog.get_logger()

# Quoted, because the class takes parameters only in its stubs.
EventCall: TypeAlias = "grpc.aio.StreamStreamCall[agent_pb2.StreamEventsRequest, agent_pb2.StreamEventsResponse]"

BATCH_BYTES = 1024 * 1024
BATCH_EVENTS = 100
"""A message costs the server as much as some thirty events do: larger ones save little, and are acknowledged later."""
DRAIN_SECONDS = 5.0


class Uploader:
    """The device's side of `StreamEvents`."""

    def __init__(
        self, stub: "agent_pb2_grpc.EventStreamServiceAsyncStub", spool: Spool, hello: agent_pb2.EventsHello
    ) -> None:
        self._stub = stub
        self._spool = spool
        self._hello = hello
        self._wake = asyncio.Event()
        spool.on_change(self._wake.set)

    async def session(self, link: Link) -> End:
        """Hold one stream until it ends."""
        self._spool.report_damage()
        call = self._stub.StreamEvents()
        try:
            async with greeting():
                await call.write(agent_pb2.StreamEventsRequest(hello=self._hello))
                credit = _credit(await call.read())
            link.answered()
            return await self._converse(call, credit)
        except SpoolError as error:
            raise SessionError(str(error)) from error
        finally:
            call.cancel()

    async def _converse(self, call: EventCall, credit: int) -> End:
        flight = _Flight(self._spool, credit)
        sender = asyncio.create_task(self._send(call, flight))
        receiver = asyncio.create_task(self._receive(call, flight))
        try:
            done, _ = await asyncio.wait({sender, receiver}, return_when=asyncio.FIRST_COMPLETED)
            # The receiver knows why a stream ended; the sender only that it did.
            return await receiver if receiver in done else await _first(sender, receiver)
        finally:
            for task in (sender, receiver):
                task.cancel()
            await asyncio.gather(sender, receiver, return_exceptions=True)

    async def _send(self, call: EventCall, flight: "_Flight") -> None:
        while True:
            self._wake.clear()
            batch = flight.next_batch()
            if batch is None:
                await self._wake.wait()
            else:
                await call.write(agent_pb2.StreamEventsRequest(batch=batch))

    async def _receive(self, call: EventCall, flight: "_Flight") -> End:
        while isinstance(response := await call.read(), agent_pb2.StreamEventsResponse):
            match response.WhichOneof("message"):
                case "ack":
                    flight.acknowledge(response.ack)
                    self._wake.set()
                case "credit":
                    flight.credit = max(1, response.credit.credit)
                    self._wake.set()
                case "go_away":
                    return End(response.go_away.reason, come_back_within=DRAIN_SECONDS)
                case other:
                    raise SessionError(f"the server sent {other or 'nothing'} where an acknowledgement was due")
        raise SessionError(f"the server ended the stream: {await call.details() or 'without a reason'}")


class _Flight:
    """What was sent on this stream and is not acknowledged yet."""

    def __init__(self, spool: Spool, credit: int) -> None:
        self._journals = {journal.id: journal for journal in spool.journals}
        self._diagnostic = spool.journals[-1].id
        self._sent = dict.fromkeys(self._journals, 0)
        self._in_flight = dict.fromkeys(self._journals, 0)
        self.credit = credit
        """The server's last word: what is in flight beyond a lowered one is waited for."""

    def next_batch(self) -> agent_pb2.EventBatch | None:
        """Take the next entries in order; None where nothing waits or the credit is used up."""
        for name, journal in self._journals.items():
            room = min(self._room(name), BATCH_EVENTS)
            if room > 0 and (entries := journal.entries(self._sent[name], room, BATCH_BYTES)):
                self._sent[name] = entries[-1].seq
                self._in_flight[name] += len(entries)
                return agent_pb2.EventBatch(journal_id=name, entries=entries, priority=self._priority(name))
        return None

    def _room(self, name: str) -> int:
        room = self.credit - sum(self._in_flight.values())
        if name != self._diagnostic:
            return room
        return 0 if self._in_flight[name] else room - self.credit // 4

    def _priority(self, name: str) -> "agent_pb2.EventPriority.ValueType":
        return agent_pb2.EVENT_PRIORITY_DIAGNOSTIC if name == self._diagnostic else agent_pb2.EVENT_PRIORITY_SECURITY

    def acknowledge(self, ack: agent_pb2.EventsAck) -> None:
        """Let go of what is committed, and of nothing that was not sent."""
        journal = self._journals.get(ack.journal_id)
        if journal is None:
            log.warning("unknown_journal_acknowledged", journal_id=ack.journal_id)
            return
        for rejected in ack.rejected:
            log.warning("event_rejected", journal_id=ack.journal_id, seq=rejected.seq, reason=rejected.reason)
        through = min(ack.committed_through, self._sent[ack.journal_id])
        journal.acknowledge(through)
        self._in_flight[ack.journal_id] = min(self._in_flight[ack.journal_id], self._sent[ack.journal_id] - through)


async def _first(sender: "asyncio.Task[None]", receiver: "asyncio.Task[End]") -> End:
    """Give the receiver the word on why the sender could not go on, for a moment; not where the spool is the reason."""
    if isinstance(fault := sender.exception(), SpoolError):
        raise fault
    done, _ = await asyncio.wait({receiver}, timeout=DRAIN_SECONDS)
    if receiver in done:
        return await receiver
    await sender
    raise SessionError("the stream ended")


def _credit(response: object) -> int:
    if not isinstance(response, agent_pb2.StreamEventsResponse) or not response.HasField("welcome"):
        raise SessionError("the server did not answer the hello with a welcome")
    return max(1, response.welcome.credit)
