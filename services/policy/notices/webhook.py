"""Webhooks: one signed POST to an address that was checked; the status alone counts, and nothing else is read or followed."""

import asyncio
import ssl
from contextlib import suppress
from datetime import datetime

import h11

from services.policy.model.notices import Notice
from services.policy.notices.addresses import Guard
from services.policy.notices.channels import UndeliveredError, WebhookSettings
from services.policy.notices.signing import sign
from services.policy.notices.texts import webhook_body

CONNECTING = 5.0
"""Seconds for one address to take a connection."""
PATIENCE = 15.0
"""Seconds that a receiver may take altogether."""
MOST_READ = 64 * 1024
"""Bytes that are read until the status is known."""
_CHUNK = 4096
_SUCCESS = range(200, 300)


class Webhook:
    """Post notices to one address."""

    def __init__(
        self, settings: WebhookSettings, guard: Guard, review_link: str, *, patience: float = PATIENCE
    ) -> None:
        self._settings = settings
        self._guard = guard
        self._review_link = review_link
        self._patience = patience
        self._tls = ssl.create_default_context(cafile=settings.ca_file) if settings.secure else None

    @property
    def name(self) -> str:
        """Return the name of the channel."""
        return self._settings.interest.channel

    async def send(self, notice: Notice, now: datetime) -> None:
        """Post a notice. Raises UndeliveredError unless the receiver answers that it has it."""
        body = webhook_body(notice, self._review_link)
        try:
            async with asyncio.timeout(self._patience):
                status = await self._post(notice.id, body, int(now.timestamp()))
        except TimeoutError as error:
            raise UndeliveredError(f"it did not answer within {self._patience:.0f} seconds") from error
        except (OSError, EOFError, h11.ProtocolError) as error:
            raise UndeliveredError(f"it could not be asked: {type(error).__name__}: {error}") from error
        if status not in _SUCCESS:
            raise UndeliveredError(f"it answered {status}" + (", and is not followed" if 300 <= status < 400 else ""))  # noqa: PLR2004

    async def _post(self, notice_id: str, body: bytes, timestamp: int) -> int:
        reader, writer = await self._connected()
        try:
            connection = h11.Connection(h11.CLIENT)
            for event in (
                h11.Request(
                    method="POST", target=self._settings.target, headers=self._headers(notice_id, body, timestamp)
                ),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                writer.write(connection.send(event) or b"")
            # Who answers before all was read may have closed; what was answered counts.
            with suppress(ConnectionError):
                await writer.drain()
            return await _status(connection, reader)
        finally:
            writer.transport.abort()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the first address that answers."""
        host, port = self._settings.host, self._settings.port
        failed = OSError("nobody answers")
        for address in await self._guard.addresses_of(host, port):
            try:
                async with asyncio.timeout(CONNECTING):
                    return await asyncio.open_connection(
                        address, port, ssl=self._tls, server_hostname=host if self._tls else None
                    )
            except OSError as error:
                failed = error
        raise failed

    def _headers(self, notice_id: str, body: bytes, timestamp: int) -> list[tuple[str, str]]:
        settings = self._settings
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        usual = settings.port == (443 if settings.secure else 80)
        return [
            ("Host", host if usual else f"{host}:{settings.port}"),
            ("User-Agent", "openepm"),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(body))),
            ("Connection", "close"),
            ("webhook-id", notice_id),
            ("webhook-timestamp", str(timestamp)),
            ("webhook-signature", sign(settings.secret, notice_id, timestamp, body)),
        ]


async def _status(connection: h11.Connection, reader: asyncio.StreamReader) -> int:
    """Read until the receiver has said what became of the request. Raises h11.ProtocolError, EOFError."""
    left = MOST_READ
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Response):
            return event.status_code
        if event is not h11.NEED_DATA:
            continue  # 100 and the like
        data = await reader.read(_CHUNK)
        left -= len(data)
        if not data or left < 0:
            raise EOFError("it closed without an answer" if not data else "its answer has no end")
        connection.receive_data(data)
