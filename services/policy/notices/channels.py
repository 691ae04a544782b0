"""What a courier needs: a channel that carries a notice, the outbox, and what the notices file says of both."""

import enum
import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol, TypeAlias

from services.policy.model.notices import Interest, Notice, Parcel, Route

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


LONGEST_MESSAGE = 300
"""Characters of why a receiver does not have a notice: libraries quote what it answered, and logs and the audit log keep that."""


class UndeliveredError(Exception):
    """Say why a receiver does not have a notice; `final` where trying again would not help."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message if len(message) <= LONGEST_MESSAGE else f"{message[: LONGEST_MESSAGE - 1]}…")
        self.final = final


class Channel(Protocol):
    """Carry notices to one receiver."""

    @property
    def name(self) -> str:
        """Return the name under which the outbox keeps its messages."""
        ...

    async def send(self, notice: Notice, now: datetime) -> None:
        """Send a notice, and return when the receiver has it. Raises UndeliveredError; takes a bounded time."""
        ...


class Outbox(Protocol):
    """Keep notices until they are told."""

    async def route(self, find: Callable[[Notice], Route], now: datetime, *, most: int) -> int:
        """Make the messages of notices that are due; return how many notices that were."""
        ...

    async def take(self, channel: str, lease: str, *, now: datetime, until: datetime, most: int) -> Sequence[Parcel]:
        """Take messages of a channel that are due, for as long as the lease lasts."""
        ...

    async def sent(self, parcel: Parcel) -> None:
        """Forget a message that its receiver has."""
        ...

    async def put_back(self, parcel: Parcel, error: str, due: datetime) -> None:
        """Have a message sent again later."""
        ...

    async def give_up(self, parcel: Parcel, error: str, now: datetime) -> None:
        """Keep a message that cannot be told."""
        ...

    async def send_again(self, before: datetime, now: datetime) -> int:
        """Have what was given up before a time be sent again; return how many messages that are."""
        ...

    async def next_due(self, channel: str, now: datetime) -> datetime | None:
        """Return when the next message of a channel is due, or the next notice that has none; None: there is none."""
        ...


class Tls(enum.Enum):
    """Say how the connection to the mail server is kept from others."""

    STARTTLS = "starttls"
    IMPLICIT = "implicit"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """Say where a webhook is, and what it is signed with."""

    interest: Interest
    host: str
    port: int
    target: str = field(repr=False)
    """Path and query, as the request line has them; with many receivers they are a secret."""
    secure: bool = True
    secret: bytes = field(repr=False)
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MailSettings:
    """Say how to reach the mail server, and as whom mails are sent."""

    host: str
    port: int
    tls: Tls
    sender: str
    user: str = ""
    password: str = field(default="", repr=False)
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeSettings:
    """Hold what the notices file says; without one, nobody is told."""

    webhooks: tuple[WebhookSettings, ...] = ()
    mail: MailSettings | None = None
    recipients: tuple[Interest, ...] = ()
    """Who gets mails; channels are named `mail:ADDRESS`."""
    review_link: str = ""
    """Holds `{id}` once."""
    allowed: tuple[Network, ...] = ()
    remind_after: timedelta | None = None
    send_again: datetime | None = None
    """What was given up before this time is sent again."""

    @property
    def interests(self) -> tuple[Interest, ...]:
        """Return what all channels want to hear."""
        return (*(webhook.interest for webhook in self.webhooks), *self.recipients)


MAIL = "mail:"
WEBHOOK = "webhook:"
"""How the names of channels begin."""
