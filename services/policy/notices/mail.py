"""Mail: one message in plain text for each recipient, handed to the operator's mail server."""

import asyncio
import socket
import ssl
from contextlib import ExitStack, suppress
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP as SMTP_LINES
from email.utils import format_datetime

import aiosmtplib

from services.policy.model.notices import Notice
from services.policy.notices.addresses import Guard
from services.policy.notices.channels import MAIL, MailSettings, Tls, UndeliveredError
from services.policy.notices.texts import mail_body, subject

CONNECTING = 5.0
"""Seconds for one address to take a connection."""
SILENCE = 10.0
"""Seconds that the mail server may say nothing."""
PATIENCE = 30.0
"""Seconds that the mail server may take altogether."""
_PERMANENT = 500


class Mail:
    """Mail notices to one recipient."""

    def __init__(
        self, name: str, settings: MailSettings, guard: Guard, review_link: str, *, patience: float = PATIENCE
    ) -> None:
        self._name = name
        self._settings = settings
        self._guard = guard
        self._review_link = review_link
        self._patience = patience
        self._tls = None if settings.tls is Tls.NONE else ssl.create_default_context(cafile=settings.ca_file)

    @property
    def name(self) -> str:
        """Return the name of the channel."""
        return self._name

    async def send(self, notice: Notice, now: datetime) -> None:
        """Hand a mail to the server. Raises UndeliveredError unless the server says that it has it."""
        message = self.message(notice, now)
        try:
            async with asyncio.timeout(self._patience):
                await self._hand_over(message)
        except TimeoutError as error:
            raise UndeliveredError(f"the mail server did not answer within {self._patience:.0f} seconds") from error
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = [refused.code for refused in error.recipients]
            raise UndeliveredError(
                f"the mail server refused the recipient: {codes}", final=_for_good(*codes)
            ) from error
        except aiosmtplib.SMTPAuthenticationError as error:
            raise UndeliveredError(f"the mail server refused user and password: {error.code}") from error
        except aiosmtplib.SMTPResponseException as error:
            raise UndeliveredError(f"the mail server answered {error.code}", final=_for_good(error.code)) from error
        except (OSError, aiosmtplib.SMTPException) as error:
            raise UndeliveredError(f"the mail server could not be asked: {type(error).__name__}: {error}") from error

    def message(self, notice: Notice, now: datetime) -> EmailMessage:
        """Return the mail that tells of a notice; its identifier is the same whenever it is sent."""
        domain = self._settings.sender.rpartition("@")[2]
        message = EmailMessage(policy=SMTP_LINES)
        message["From"] = self._settings.sender
        message["To"] = self._name.removeprefix(MAIL)
        message["Subject"] = subject(notice)
        message["Date"] = format_datetime(now)
        message["Message-ID"] = f"<{notice.id}@{domain}>"
        message["Auto-Submitted"] = "auto-generated"
        message["X-OpenEPM-Notice"] = notice.id
        message.set_content(mail_body(notice, self._review_link), cte="quoted-printable")
        return message

    async def _hand_over(self, message: EmailMessage) -> None:
        settings = self._settings
        client = aiosmtplib.SMTP(
            hostname=settings.host,
            sock=await self._connected(),
            # Otherwise the name of this machine is looked up.
            local_hostname=settings.sender.rpartition("@")[2],
            use_tls=settings.tls is Tls.IMPLICIT,
            start_tls=settings.tls is Tls.STARTTLS,
            tls_context=self._tls,
            username=settings.user or None,
            password=settings.password or None,
            timeout=SILENCE,
        )
        try:
            await client.connect()
            await client.send_message(message)
            # It has the mail, whatever it says to the farewell.
            with suppress(aiosmtplib.SMTPException, OSError):
                await client.quit()
        finally:
            client.close()

    async def _connected(self) -> socket.socket:
        """Connect to the first address that answers."""
        loop, failed = asyncio.get_running_loop(), OSError("nobody answers")
        for address in await self._guard.addresses_of(self._settings.host, self._settings.port):
            version = socket.AF_INET6 if ":" in address else socket.AF_INET
            connection = socket.socket(version, socket.SOCK_STREAM)
            connection.settimeout(0)
            with ExitStack() as unfinished:
                unfinished.callback(connection.close)
                try:
                    async with asyncio.timeout(CONNECTING):
                        await loop.sock_connect(connection, (address, self._settings.port))
                except OSError as error:
                    failed = error
                else:
                    unfinished.pop_all()
                    return connection
        raise failed


def _for_good(*codes: int) -> bool:
    return all(code >= _PERMANENT for code in codes)
