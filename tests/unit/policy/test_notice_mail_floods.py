"""A mail server that answers without end is left after a few bytes."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.policy.notices.addresses import Guard
from services.policy.notices.channels import LONGEST_MESSAGE, MailSettings, Tls, UndeliveredError
from services.policy.notices.mail import Mail
from tests.builders.notices import notice
from tests.fakes.clock import NOW

LINE = b"250-" + b"x" * 500 + b"\r\n"
BLOCK = LINE * 128
BUFFERED = 32 << 20
"""More than both ends keep of what nobody has read."""


class Flood:
    """Counts what it could write until the client went."""

    def __init__(self, block: bytes) -> None:
        self.block = block
        self.written = 0
        self.gone = asyncio.Event()

    async def serve(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"220 here\r\n")
            while True:
                writer.write(self.block)
                await writer.drain()
                self.written += len(self.block)
        except ConnectionError:
            self.gone.set()
        finally:
            writer.close()


@asynccontextmanager
async def flooding(block: bytes) -> AsyncIterator[tuple[Flood, Mail]]:
    flood = Flood(block)
    server = await asyncio.start_server(flood.serve, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    settings = MailSettings(host=host, port=port, tls=Tls.NONE, sender="epm@example.com")
    async with server:
        yield flood, Mail("mail:a@example.com", settings, Guard([ipaddress.ip_network("127.0.0.0/8")]), "{id}")


@pytest.mark.parametrize("block", [BLOCK, b"2" * 65536], ids=["lines", "one line"])
async def test_an_answer_without_end_is_not_read(block: bytes) -> None:
    async with flooding(block) as (flood, mail):
        with pytest.raises(UndeliveredError) as error:
            await mail.send(notice(), NOW)
        await flood.gone.wait()
    assert flood.written < BUFFERED
    assert len(str(error.value)) <= LONGEST_MESSAGE
