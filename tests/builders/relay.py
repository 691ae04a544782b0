"""A TCP relay between agents and a server, which can hold back what either of them says."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import tenacity

from tests.builders.installation import PATIENCE

CHUNK = 64 * 1024
UP, DOWN = "up", "down"
"""From agents to the server, and back."""


class Relay:
    """Passes bytes on. What is held back is passed on when it is let go, or is lost with its connection.

    Agents are kept waiting while the server is away: how long they would wait by themselves is left to chance.
    """

    def __init__(self, listener: socket.socket, server: tuple[str, int]) -> None:
        self.address = "{}:{}".format(*listener.getsockname())
        self._listener = listener
        self._server = server
        self._ways = {UP: threading.Event(), DOWN: threading.Event()}
        for way in self._ways.values():
            way.set()
        self._ends: list[socket.socket] = []
        self._closed = threading.Event()

    def hold(self, way: str) -> None:
        """Pass nothing on in this direction until `let_go`."""
        self._ways[way].clear()

    def let_go(self, way: str) -> None:
        """Pass on what was held back, and what comes."""
        self._ways[way].set()

    def close(self) -> None:
        """End all connections, and take no more."""
        self._closed.set()
        for way in self._ways.values():
            way.set()
        for end in (self._listener, *self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def serve(self) -> None:
        """Take connections until closed."""
        with contextlib.suppress(OSError):
            while True:
                agent, _ = self._listener.accept()
                self._ends.append(agent)
                threading.Thread(target=self._join, args=(agent,), daemon=True).start()

    def _join(self, agent: socket.socket) -> None:
        reaching = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(OSError),
            wait=tenacity.wait_fixed(0.05),
            stop=tenacity.stop_after_delay(PATIENCE) | tenacity.stop_when_event_set(self._closed),
            reraise=True,
        )
        try:
            server = reaching(socket.create_connection, self._server)
        except OSError:
            agent.close()
            return
        self._ends.append(server)
        self._start(agent, server, UP)
        self._start(server, agent, DOWN)

    def _start(self, source: socket.socket, target: socket.socket, way: str) -> None:
        threading.Thread(target=self._copy, args=(source, target, way), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket, way: str) -> None:
        with contextlib.suppress(OSError):
            while content := source.recv(CHUNK):
                self._ways[way].wait()
                target.sendall(content)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def relay_to(port: int) -> Iterator[Relay]:
    """Relay to a port of this machine, on which a server may listen later."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        relay = Relay(listener, ("127.0.0.1", port))
        stack.callback(relay.close)
        threading.Thread(target=relay.serve, daemon=True).start()
        yield relay
