"""A mail server, as a process of its own: `python -m tests.fakes.mail_server LOG MODE [PEM]`.

Prints its port. Each mail is a line of JSON in the log, written before the answer. MODE is plain, starttls, implicit, or bare: without
STARTTLS. Recipients `unknown@` are refused for good, `busy@` for now; `silent@` hears nothing. The user is epm, the password secret.
"""

import asyncio
import json
import ssl
import sys
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


class Keep:
    """Write mails down."""

    def __init__(self, log: Path) -> None:
        self._log = log

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        """Take a recipient, or not."""
        if address.startswith("unknown@"):
            return "550 5.1.1 nobody of this name"
        if address.startswith("busy@"):
            return "451 4.7.1 come back later"
        if address.startswith("silent@"):
            await asyncio.Event().wait()
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Take a mail."""
        content = envelope.content or b""
        raw = content if isinstance(content, bytes) else content.encode()
        line = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "content": raw.decode("ascii"),
            "tls": server.transport is not None and server.transport.get_extra_info("sslcontext") is not None,
            "authenticated": session.authenticated,
        }
        with self._log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        return "250 OK"


def authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, shown: Any) -> AuthResult:
    """Know one user."""
    known = isinstance(shown, LoginPassword) and (shown.login, shown.password) == (b"epm", b"secret")
    return AuthResult(success=known, handled=False)


async def serve() -> None:
    """Serve until the process is ended."""
    log, mode = Path(sys.argv[1]), sys.argv[2]
    context: ssl.SSLContext | None = None
    if mode in ("starttls", "implicit"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[3])

    def session() -> SMTP:
        starttls = mode == "starttls"
        return SMTP(
            Keep(log),
            hostname="mail.example.com",
            tls_context=context if starttls else None,
            require_starttls=starttls,
            auth_require_tls=starttls,
            authenticator=authenticate,
        )

    server = await asyncio.get_running_loop().create_server(
        session, "127.0.0.1", 0, ssl=context if mode == "implicit" else None
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
