"""A receiver of webhooks, as a process of its own: `python -m tests.fakes.webhook_receiver LOG [PEM]`.

Prints its port. Each request is a line of JSON in the log, written before the answer. The path says what is answered.
"""

import json
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOR_EVER = threading.Event()
RAW = {
    "/huge": (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * (1 << 20)),
    "/headers": (b"HTTP/1.1 200 OK\r\n", b"x-more: " + b"y" * 1000 + b"\r\n"),
    "/again": (b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "/nonsense": (b"220 mail.example.com ESMTP\r\n", b""),
    "/quoted": (b"HTTP/1.1 200 OK\r\nno header " + b"z" * 8000 + b"\r\n\r\n", b""),
    "/close": (b"", b""),
}
"""What is written once, and then for ever."""


class Receiver(BaseHTTPRequestHandler):
    """Answers by path; for each identifier, `/flaky` fails once, and `/late` does not answer once."""

    protocol_version = "HTTP/1.1"
    log_file: Path
    seen: set[str] = set()  # noqa: RUF012 - of the whole process

    def do_GET(self) -> None:
        """Note that somebody followed a redirect."""
        self._note(b"")
        self._answer(200)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._note(body)
        path = self.path.partition("?")[0]
        known = self.headers["webhook-id"] in self.seen
        self.seen.add(self.headers["webhook-id"])
        if path == "/hang" or (path == "/late" and not known):
            FOR_EVER.wait()
        elif path in RAW:
            begun, more = RAW[path]
            self.wfile.write(begun)
            self.close_connection = True
            while more:
                self.wfile.write(more)
        elif path == "/flaky":
            self._answer(200 if known else 500)
        elif path == "/inward":
            _, port, *_ = self.connection.getsockname()
            self._answer(302, Location=f"http://127.0.0.1:{port}/inside")
        elif path == "/late":
            self._answer(200)
        else:
            self._answer(int(path.removeprefix("/")))

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""

    def _answer(self, status: int, **headers: str) -> None:
        self.close_connection = True
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _note(self, body: bytes) -> None:
        line = {"method": self.command, "path": self.path, "headers": dict(self.headers), "body": body.decode()}
        with self.log_file.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of callers who hang up."""


def main() -> None:
    """Serve until the process is ended."""
    Receiver.log_file = Path(sys.argv[1])
    server = _Quiet(("127.0.0.1", 0), Receiver)
    if len(sys.argv) > 2:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2])
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever(poll_interval=0.05)


if __name__ == "__main__":
    main()
