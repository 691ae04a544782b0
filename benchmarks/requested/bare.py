"""The limit that requests are measured against: a bare grpc.aio server that passes as many bytes on and does nothing else.

It has the doors' options, certificates and event loop. A call of a device becomes a message to whoever watches, a call of an
approver becomes a message on the device's stream; nothing is checked, decided, signed or stored.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any

import grpc
import grpc.aio
import uvloop

from benchmarks.distributing.bare import Files
from benchmarks.distributing.fleet import METHOD, Member, allow_many_connections
from benchmarks.distributing.fleet import OPTIONS as AGENT_OPTIONS
from benchmarks.requested.crew import Asked, Crew, Notes
from epm.policy.v1 import agent_pb2
from services._chassis.server import OPTIONS

SUBMIT, WATCH, APPROVE = "/bare.Desk/Submit", "/bare.Desk/Watch", "/bare.Desk/Approve"
ACK_BYTES = 40
SMALL = b"."
WELCOME = agent_pb2.StreamPolicyResponse(welcome=agent_pb2.Welcome()).SerializeToString()
SETTLED = agent_pb2.StreamPolicyResponse(up_to_date=agent_pb2.UpToDate()).SerializeToString()


@dataclass(frozen=True, slots=True)
class Sizes:
    """Hold how large the messages of the policy service are."""

    submitted: int
    told: int
    offer: int


def sized(*words: str, size: int) -> bytes:
    """Make a message of words that has a size."""
    return " ".join((*words, "")).encode().ljust(size, SMALL)


def words_of(message: bytes) -> list[str]:
    """Return the words of a message."""
    return message.decode().split(" ")[:-1]


class BareServer(grpc.GenericRpcHandler):
    """Pass on."""

    def __init__(self, sizes: Sizes) -> None:
        self._sizes = sizes
        self._streams: dict[str, Any] = {}
        self._device_of: dict[str, str] = {}
        self._told: asyncio.Queue[bytes] = asyncio.Queue()
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            METHOD: grpc.stream_stream_rpc_method_handler(self._stream),
            WATCH: grpc.unary_stream_rpc_method_handler(self._watch),
            SUBMIT: grpc.unary_unary_rpc_method_handler(self._submit),
            APPROVE: grpc.unary_unary_rpc_method_handler(self._approve),
        }

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Know four methods."""
        return self._handlers.get(str(details.method))

    async def _stream(self, _incoming: Any, context: Any) -> None:
        hello = agent_pb2.StreamPolicyRequest.FromString(await context.read()).hello
        await context.write(WELCOME)
        await context.write(SETTLED)
        self._streams[hello.device_id] = context
        while await context.read() is not grpc.aio.EOF:
            pass

    async def _watch(self, _request: bytes, context: Any) -> None:
        while True:
            await context.write(await self._told.get())

    async def _submit(self, request: bytes, _context: Any) -> bytes:
        key, device_id = words_of(request)
        self._device_of[key] = device_id
        told = sized(key, size=self._sizes.told)
        self._told.put_nowait(told)
        return told

    async def _approve(self, request: bytes, _context: Any) -> bytes:
        [key] = words_of(request)
        await self._streams[self._device_of[key]].write(sized(key, size=self._sizes.offer))
        return sized(key, size=self._sizes.told)


class BareDevice:
    """Ask, and acknowledge what comes."""

    def __init__(self, member: Member, roots: bytes, sizes: Sizes, notes: Notes) -> None:
        self._credentials = grpc.ssl_channel_credentials(roots, member.key, member.certificate)
        self._device_id = member.device_id
        self._sizes = sizes
        self._notes = notes
        self._channel: grpc.aio.Channel | None = None
        self._running: asyncio.Task[None] | None = None

    async def connect(self, address: str) -> None:
        """Open the stream."""
        self._channel = grpc.aio.secure_channel(address, self._credentials, options=AGENT_OPTIONS)
        call: Any = self._channel.stream_stream(METHOD, None, None)()
        hello = agent_pb2.StreamPolicyRequest(hello=agent_pb2.Hello(device_id=self._device_id))
        await call.write(hello.SerializeToString())
        while await call.read() != SETTLED:
            pass
        self._running = asyncio.create_task(self._hear(call))

    async def _hear(self, call: Any) -> None:
        while (message := await call.read()) is not grpc.aio.EOF:
            offered = monotonic()
            await call.write(SMALL * ACK_BYTES)
            self._notes.is_usable(words_of(message)[0], offered)

    async def ask(self, key: str) -> Asked:
        """Ask."""
        assert self._channel is not None
        message = sized(key, self._device_id, size=self._sizes.submitted)
        submit: Any = self._channel.unary_unary(SUBMIT, None, None)
        called = monotonic()
        await submit(message)
        return Asked(called, monotonic())

    async def close(self) -> None:
        """Drop the connection."""
        if self._running is not None and self._channel is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            await self._channel.close()


class BareDesk:
    """Be shown what devices send, and answer."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    async def requests(self) -> AsyncIterator[str]:
        """Watch."""
        watch: Any = self._channel.unary_stream(WATCH, None, None)
        async for told in watch(SMALL):
            yield words_of(told)[0]

    async def approve(self, key: str) -> None:
        """Answer."""
        approve: Any = self._channel.unary_unary(APPROVE, None, None)
        await approve(sized(key, size=len(key) + 1))


async def _serve(pipe: Connection, sizes: Sizes, files: Files) -> None:
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers([BareServer(sizes)])
    pair = [(files.key, files.certificate)]
    mutual = grpc.ssl_server_credentials(pair, files.roots, require_client_auth=True)
    mesh = server.add_secure_port("127.0.0.1:0", mutual)
    public = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials(pair))
    await server.start()
    pipe.send((f"127.0.0.1:{mesh}", f"127.0.0.1:{public}"))
    await asyncio.to_thread(pipe.recv)
    await server.stop(0)


def run_bare(pipe: Connection, sizes: Sizes, files: Files) -> None:
    """Be the bare server, in a process of its own."""
    allow_many_connections()
    uvloop.run(_serve(pipe, sizes, files))


def run_bare_devices(pipe: Connection, members: list[Member], roots: bytes, sizes: Sizes) -> None:
    """Be devices of the bare server, in a process of their own."""
    allow_many_connections()
    uvloop.run(_devices(pipe, members, roots, sizes))


async def _devices(pipe: Connection, members: list[Member], roots: bytes, sizes: Sizes) -> None:
    notes = Notes()
    await Crew([BareDevice(member, roots, sizes, notes) for member in members], notes).serve(pipe)
