"""Agents that report over mutual TLS: as fast as they may, at a pace, or on a connection for each event."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from time import perf_counter
from typing import Any

import grpc.aio

from benchmarks.ingesting.loads import Journal, Load
from epm.reporting.v1 import agent_pb2
from tests.builders.doors import authority, device_identity

METHOD = "/epm.reporting.v1.EventStreamService/StreamEvents"
AT_ONCE = 50
"""Connections that are opened at once."""


class Agent:
    """Stream a journal and note how long each batch waits for its acknowledgement."""

    def __init__(self, journal: Journal, load: Load, call: Any) -> None:
        self._journal = journal
        self._load = load
        self._call = call
        self._credit = 0
        self.waits: list[float] = []

    async def greet(self) -> None:
        """Open the stream."""
        hello = agent_pb2.StreamEventsRequest(hello=agent_pb2.EventsHello(agent_version="0.1.0"))
        await self._call.write(hello.SerializeToString())
        self._credit = (await self._call.read()).welcome.credit

    async def report(self) -> None:
        """Send everything, and return once everything is acknowledged."""
        sent_at: list[float] = []
        acknowledged = 0
        while acknowledged < len(self._journal):
            window = min(self._load.window, max(self._credit // self._load.batch, 1))
            while len(sent_at) < min(acknowledged + window, len(self._journal)):
                sent_at.append(perf_counter())
                await self._call.write(self._journal[len(sent_at) - 1])
            response = await self._call.read()
            if response.HasField("credit"):
                self._credit = response.credit.credit
            through = response.ack.committed_through
            while (acknowledged + 1) * self._load.batch <= through:
                self.waits.append(perf_counter() - sent_at[acknowledged])
                acknowledged += 1

    async def send(self, body: bytes, *, through: int) -> None:
        """Send a batch, and return once it is acknowledged."""
        await self._call.write(body)
        while (await self._call.read()).ack.committed_through < through:
            pass

    async def report_at(self, times: Sequence[float]) -> None:
        """Send each batch at its time. It waits from then on, whenever it could really be sent."""
        for number, (body, due) in enumerate(zip(self._journal, times, strict=True), 1):
            await asyncio.sleep(due - perf_counter())
            await self.send(body, through=number * self._load.batch)
            self.waits.append(perf_counter() - due)


async def streamed(address: str, load: Load, sent: Sequence[Journal]) -> tuple[float, list[float]]:
    """Let all agents report at once; return the seconds that it takes, and how long each batch waited."""
    async with _greeted(address, load, sent) as agents:
        start = perf_counter()
        await asyncio.gather(*(agent.report() for agent in agents))
        return perf_counter() - start, _waits_of(agents)


async def paced(address: str, load: Load, sent: Sequence[Journal], rate: float) -> list[float]:
    """Let the agents report so many events a second together, evenly; return how long each batch waited."""
    between = load.streams * load.batch / rate
    async with _greeted(address, load, sent) as agents:
        start = perf_counter() + 1
        firsts = [start + between * number / load.streams for number in range(load.streams)]
        times = [[first + between * turn for turn in range(len(sent[0]))] for first in firsts]
        await asyncio.gather(*(agent.report_at(due) for agent, due in zip(agents, times, strict=True)))
        return _waits_of(agents)


async def connected_anew(address: str, load: Load, sent: Sequence[Journal]) -> float:
    """Let the agents open a connection for each batch, one after the other; return the seconds that it takes."""
    credentials = [_credentials(number) for number in range(len(sent))]

    async def report(journal: Journal, shown: grpc.ChannelCredentials) -> None:
        for number, body in enumerate(journal, 1):
            async with grpc.aio.secure_channel(address, shown, options=_OWN) as channel:
                agent = Agent((body,), load, _call_on(channel))
                await agent.greet()
                await agent.send(body, through=number * load.batch)

    start = perf_counter()
    await asyncio.gather(*map(report, sent, credentials))
    return perf_counter() - start


@asynccontextmanager
async def _greeted(address: str, load: Load, sent: Sequence[Journal]) -> AsyncIterator[list[Agent]]:
    async with AsyncExitStack() as held:
        channels = [
            await held.enter_async_context(grpc.aio.secure_channel(address, _credentials(number), options=_OWN))
            for number in range(len(sent))
        ]
        agents = [Agent(journal, load, _call_on(channel)) for journal, channel in zip(sent, channels, strict=True)]
        for first in range(0, len(agents), AT_ONCE):
            await asyncio.gather(*(agent.greet() for agent in agents[first : first + AT_ONCE]))
        yield agents


def _waits_of(agents: Sequence[Agent]) -> list[float]:
    return [wait for agent in agents for wait in agent.waits]


def _call_on(channel: grpc.aio.Channel) -> Any:
    return channel.stream_stream(METHOD, None, agent_pb2.StreamEventsResponse.FromString)()


_OWN = (("grpc.use_local_subchannel_pool", 1),)
"""Connections are not shared between channels."""


@cache
def _credentials(number: int) -> grpc.ChannelCredentials:
    identity = device_identity(f"device-{number}")
    return grpc.ssl_channel_credentials(authority().pem, identity.key, identity.certificate)
