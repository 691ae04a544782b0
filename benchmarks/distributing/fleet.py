"""Light virtual devices in one process: each has its own connection over mutual TLS, and answers what it is sent.

The fleet obeys a pipe: ("open", address) connects all that are not connected and answers once each has acknowledged a
document or had its own confirmed; ("expect", n) answers twice, at once and after the n-th acknowledgement from then on;
("close",) drops all connections; ("end",) ends. Times are of the machine's one monotonic clock.
"""

import asyncio
import random
import resource
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any

import grpc
import grpc.aio
import uvloop

from epm.policy.v1 import agent_pb2

METHOD = "/epm.policy.v1.PolicyStreamService/StreamPolicy"
OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)
RETRY = 1.0


@dataclass(frozen=True, slots=True)
class Member:
    """Know one device by its id and its certificate."""

    device_id: str
    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Opened:
    """Tell how the storm went: when it began, when half and when all were settled, and what was said meanwhile."""

    began: float
    half: float
    settled: float
    refused: int
    throttled: int
    offers: int
    said: dict[str, bytes]
    """The last message of each kind, whole."""


@dataclass(frozen=True, slots=True)
class Acked:
    """Tell when half and when all of the expected acknowledgements were sent."""

    half: float
    last: float


class Tally:
    """Count what happens to all devices."""

    def __init__(self) -> None:
        self.refused = self.throttled = self.offers = 0
        self.said: dict[str, bytes] = {}
        self.settled: list[float] = []
        self.acks: list[float] = []
        self._changed = asyncio.Event()

    def settle(self) -> None:
        """Note that a device holds the newest document."""
        self.settled.append(monotonic())
        self._changed.set()

    def acknowledge(self) -> None:
        """Note that a device acknowledged an offer."""
        self.acks.append(monotonic())
        self._changed.set()

    async def until(self, events: list[float], count: int) -> None:
        """Wait until so many events were noted."""
        while len(events) < count:
            self._changed.clear()
            await self._changed.wait()


class Device:
    """Hold one policy stream, and come back when it breaks."""

    def __init__(self, member: Member, roots: bytes, tally: Tally) -> None:
        self._credentials = grpc.ssl_channel_credentials(roots, member.key, member.certificate)
        self._tally = tally
        self._revision = 0
        self._sha256 = b""
        self._channel: grpc.aio.Channel | None = None
        self._call: Any = None
        self._running: asyncio.Task[None] | None = None
        self._settled = False

    def prepare(self, address: str) -> None:
        """Make the channel, which connects when it is used."""
        self._channel = grpc.aio.secure_channel(address, self._credentials, options=OPTIONS)
        self._settled = False

    def start(self) -> None:
        """Open the stream and stay on it."""
        self._running = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Drop the connection."""
        if self._running is not None and self._channel is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            await self._channel.close()

    async def _run(self) -> None:
        while True:
            pause = await self._talk()
            await asyncio.sleep(pause * (1 + random.random()))

    async def _talk(self) -> float:
        """Talk until the stream ends; return the seconds to wait before the next one."""
        assert self._channel is not None
        self._call = self._channel.stream_stream(METHOD, None, None)()
        hello = agent_pb2.Hello(
            agent_version="0.1.0",
            capabilities=["policy-document/1"],
            revision=self._revision,
            document_sha256=self._sha256,
        )
        try:
            await self._call.write(agent_pb2.StreamPolicyRequest(hello=hello).SerializeToString())
            while (message := await self._call.read()) is not grpc.aio.EOF:
                response = agent_pb2.StreamPolicyResponse.FromString(message)
                self._tally.said[str(response.WhichOneof("message"))] = message
                if response.HasField("throttle"):
                    self._tally.throttled += 1
                    return response.throttle.retry_after.ToTimedelta().total_seconds()
                await self._hear(response)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            pass
        self._tally.refused += 1
        return RETRY

    async def _hear(self, response: agent_pb2.StreamPolicyResponse) -> None:
        if response.HasField("offer"):
            self._tally.offers += 1
            manifest = agent_pb2.Manifest.FromString(response.offer.signed_manifest.manifest)
            ack = agent_pb2.Ack(nonce=response.offer.nonce, revision=manifest.revision)
            await self._call.write(agent_pb2.StreamPolicyRequest(ack=ack).SerializeToString())
            self._revision, self._sha256 = manifest.revision, manifest.document_sha256
            self._tally.acknowledge()
        elif not response.HasField("up_to_date"):
            return
        if not self._settled:
            self._settled = True
            self._tally.settle()


class Fleet:
    """Obey the pipe."""

    def __init__(self, members: Sequence[Member], roots: bytes) -> None:
        self._tally = Tally()
        self._devices = [Device(member, roots, self._tally) for member in members]

    async def serve(self, pipe: Connection) -> None:
        """Do what is asked until the end is."""
        while (command := await asyncio.to_thread(pipe.recv))[0] != "end":
            if command[0] == "open":
                pipe.send(await self._open(command[1]))
            elif command[0] == "expect":
                first = len(self._tally.acks)
                pipe.send("ready")
                await self._tally.until(self._tally.acks, first + command[1])
                heard = self._tally.acks[first:]
                pipe.send(Acked(half=heard[len(heard) // 2], last=heard[-1]))
            else:
                await asyncio.gather(*(device.close() for device in self._devices))
                pipe.send("closed")

    async def _open(self, address: str) -> Opened:
        tally = self._tally
        tally.refused = tally.throttled = tally.offers = 0
        tally.settled.clear()
        for device in self._devices:
            device.prepare(address)
        began = monotonic()
        for device in self._devices:
            device.start()
        await tally.until(tally.settled, len(self._devices))
        return Opened(
            began=began,
            half=tally.settled[len(tally.settled) // 2],
            settled=tally.settled[-1],
            refused=tally.refused,
            throttled=tally.throttled,
            offers=tally.offers,
            said=dict(tally.said),
        )


def run_fleet(pipe: Connection, members: Sequence[Member], roots: bytes) -> None:
    """Be a fleet, in a process of its own."""
    allow_many_connections()
    uvloop.run(Fleet(members, roots).serve(pipe))


def allow_many_connections() -> None:
    """Let the process have as many open files as it may."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
