"""The limit that distribution is measured against: a bare grpc.aio server that pushes the same bytes and decides nothing.

It has the doors' options, certificates and event loop, and says what the policy service says, always with the same bytes.
It obeys a pipe: ("push",) sends everybody the document again; ("acked",) tells how many acknowledgements came in.
"""

import asyncio
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import grpc
import grpc.aio
import uvloop

from benchmarks.distributing.fleet import METHOD, allow_many_connections
from epm.policy.v1 import agent_pb2
from services._chassis.server import OPTIONS

WINDOW = 50
"""How many pushes are under way at once; the best of those that were tried."""


@dataclass(frozen=True, slots=True)
class Words:
    """Hold what the server says, as bytes."""

    welcome: bytes
    offer: bytes
    up_to_date: bytes


@dataclass(frozen=True, slots=True)
class Files:
    """Hold what the door shows and believes."""

    key: bytes
    certificate: bytes
    roots: bytes


class BareServer(grpc.GenericRpcHandler):
    """Answer each stream; count what comes back."""

    def __init__(self, words: Words) -> None:
        self.acks = 0
        self._words = words
        self._contexts: set[Any] = set()

    def service(self, details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """Know one method."""
        return grpc.stream_stream_rpc_method_handler(self._stream) if details.method == METHOD else None

    async def push(self) -> None:
        """Send the document to everybody, a few at a time."""
        waiting = iter(list(self._contexts))
        await asyncio.gather(*(self._push_in_turn(waiting) for _ in range(WINDOW)))

    async def _push_in_turn(self, waiting: Any) -> None:
        for context in waiting:
            await context.write(self._words.offer)

    async def _stream(self, _incoming: Any, context: Any) -> None:
        hello = agent_pb2.StreamPolicyRequest.FromString(await context.read()).hello
        await context.write(self._words.welcome)
        await context.write(self._words.up_to_date if hello.revision else self._words.offer)
        self._contexts.add(context)
        try:
            while await context.read() is not grpc.aio.EOF:
                self.acks += 1
        finally:
            self._contexts.discard(context)


async def _serve(pipe: Connection, words: Words, files: Files) -> None:
    server = grpc.aio.server(options=OPTIONS)
    handler = BareServer(words)
    server.add_generic_rpc_handlers([handler])
    credentials = grpc.ssl_server_credentials([(files.key, files.certificate)], files.roots, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    pipe.send(f"127.0.0.1:{port}")
    while (command := await asyncio.to_thread(pipe.recv))[0] != "end":
        if command[0] == "push":
            await handler.push()
        pipe.send(handler.acks)
    await server.stop(0)


def run_bare(pipe: Connection, words: Words, files: Files) -> None:
    """Be the bare server, in a process of its own."""
    allow_many_connections()
    uvloop.run(_serve(pipe, words, files))
