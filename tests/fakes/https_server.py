"""An HTTPS server that answers what a test says, in place of an identity provider."""

import json
import ssl
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.builders.doors import server_identity


@dataclass(frozen=True, slots=True)
class Reply:
    """What a request is answered with."""

    body: bytes = b"{}"
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class HttpsServer:
    """Answers by path; of several replies to one path each is given once, and the last for ever."""

    address: str = ""
    replies: dict[str, list[Reply]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Paths and the forms that were posted to them."""

    def on(self, path: str, *replies: Reply | Mapping[str, Any]) -> None:
        """Say what comes of requests to a path."""
        self.replies[path] = [
            reply if isinstance(reply, Reply) else Reply(json.dumps(reply).encode()) for reply in replies
        ]

    def next_reply(self, path: str) -> Reply:
        """Take the next reply of a path."""
        left = self.replies.get(path, [Reply(status=404)])
        return left.pop(0) if len(left) > 1 else left[0]

    def forms(self, path: str) -> list[dict[str, str]]:
        """Give the forms that were posted to a path."""
        return [form for asked, form in self.asked if asked == path]


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of callers who do not like our certificate."""


@contextmanager
def https_server(folder: Path) -> Iterator[HttpsServer]:
    """Run a server on loopback with a certificate of the tests' CA."""
    fake = HttpsServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self._answer(dict(urllib.parse.parse_qsl(text)))

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

        def _answer(self, form: dict[str, str]) -> None:
            fake.asked.append((self.path, form))
            reply = fake.next_reply(self.path)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

    certificate = folder / "https-server.pem"
    certificate.write_bytes(server_identity().key + server_identity().certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = _QuietServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    fake.address = f"https://127.0.0.1:{server.server_address[1]}"
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    serving.start()
    try:
        yield fake
    finally:
        server.shutdown()
        serving.join()
        server.server_close()
