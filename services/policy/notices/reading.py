"""The notices file: channels, who hears of what, and where they may be; it is refused with all that is wrong with it."""

import ipaddress
import re
import ssl
import urllib.parse
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from services._chassis.errors import InvalidError, Problem
from services.policy.model.notices import ALL_EVENTS, Interest, NoticeEvent
from services.policy.notices.channels import (
    MAIL,
    WEBHOOK,
    MailSettings,
    Network,
    NoticeSettings,
    Tls,
    WebhookSettings,
)
from services.policy.notices.fields import Section, load
from services.policy.notices.signing import read_secret
from services.policy.notices.texts import ID

LATEST_REMINDER = timedelta(days=30)
MAILED = frozenset({NoticeEvent.SUBMITTED, NoticeEvent.REMINDER, NoticeEvent.EXPIRED})
"""What mails tell of unless the file says otherwise: what somebody may have to do, and what nobody did."""
_EVENTS = [event.value for event in NoticeEvent]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_USUAL = {"https": 443, "http": 80}


def read_notices(path: Path | None) -> NoticeSettings:
    """Read the file; without one, nobody is told. Raises InvalidError with all problems, each with the path of its field."""
    if path is None:
        return NoticeSettings()
    try:
        document = load(path)
    except ValueError as error:
        raise InvalidError([Problem("notices_file", str(error))], reason="NOTICES_INVALID") from error
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise InvalidError([Problem("notices_file", f"{path} must hold a mapping")], reason="NOTICES_INVALID")
    problems: list[Problem] = []
    whole = Section("", document, path.parent, problems)
    settings = _settings(whole)
    whole.end()
    if problems:
        named = [Problem(f"notices_file: {one.field}", one.message) for one in problems]
        raise InvalidError(named, reason="NOTICES_INVALID")
    return settings


def _settings(whole: Section) -> NoticeSettings:
    allowed = tuple(_networks(whole))
    webhooks = [_webhook(section, allowed) for section in whole.sections("webhooks")]
    mail: MailSettings | None = None
    recipients: list[Interest] = []
    for section in whole.section("mail"):
        mail = _mail(section)
        recipients = [_recipient(one) for one in section.sections("to", required=True)]
    _refuse_doubles(whole, [webhook.interest.channel for webhook in webhooks] + [to.channel for to in recipients])
    return NoticeSettings(
        webhooks=tuple(webhooks),
        mail=mail,
        recipients=tuple(recipients),
        review_link=_review_link(whole),
        allowed=allowed,
        remind_after=whole.duration("remindAfter", most=LATEST_REMINDER),
        send_again=whole.time("sendAgainGivenUpBefore"),
    )


def _networks(whole: Section) -> Iterator[Network]:
    for text in sorted(whole.texts("allowedAddresses")):
        try:
            yield ipaddress.ip_network(text)
        except ValueError:
            whole.bad("allowedAddresses", f"must be addresses or networks such as 10.1.2.0/24, not {text!r}")


def _webhook(section: Section, allowed: tuple[Network, ...]) -> WebhookSettings:
    name = section.text("name")
    if name and not _NAME.fullmatch(name):
        section.bad("name", "must be up to 63 letters, digits, dots, hyphens and underscores")
    secure, host, port, target = _place(section, allowed)
    return WebhookSettings(
        interest=_interest(section, WEBHOOK + name, ALL_EVENTS),
        host=host,
        port=port,
        target=target,
        secure=secure,
        secret=_signing_secret(section),
        ca_file=_ca_file(section),
    )


def _place(section: Section, allowed: tuple[Network, ...]) -> tuple[bool, str, int, str]:
    """Take an address apart: whether it is HTTPS, host, port, and what is asked for there."""
    nowhere = (True, "", 0, "/")
    url = section.text("url")
    if not url:
        return nowhere
    try:
        parts = urllib.parse.urlsplit(url)
        host, port = parts.hostname or "", _USUAL.get(parts.scheme, 0) if parts.port is None else parts.port
    except ValueError:
        host, port, parts = "", 0, urllib.parse.urlsplit("")
    whole = url.isascii() and " " not in url and not parts.username and not parts.password and not parts.fragment
    if not (whole and port and parts.scheme in _USUAL and _is_host(host)):
        section.bad("url", "must be an https address such as https://chat.example.com/hook, without user and fragment")
        return nowhere
    if parts.scheme == "http" and not _is_listed_loopback(host, allowed):
        section.bad("url", "must be https; http is for a loopback address that allowedAddresses lists")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.scheme == "https", host, port, target


def _is_listed_loopback(host: str, allowed: tuple[Network, ...]) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback and any(address in network for network in allowed)


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return _HOST.fullmatch(host) is not None
    return True


def _signing_secret(section: Section) -> bytes:
    text = section.secret("secretFile")
    if not text:
        return b""
    try:
        return read_secret(text)
    except ValueError as error:
        section.bad("secretFile", str(error))
        return b""


def _mail(section: Section) -> MailSettings:
    host, port = section.text("host"), section.port("port")
    if host and not _is_host(host):
        section.bad("host", "must be a host name or an address")
    tls = section.choice("tls", [each.value for each in Tls])
    if tls == Tls.NONE.value and not _is_loopback(host):
        section.bad("tls", "must be starttls or implicit; none is for a loopback address such as 127.0.0.1")
    user, password = section.secret("userFile", required=False), section.secret("passwordFile", required=False)
    if bool(section.values.get("userFile")) != bool(section.values.get("passwordFile")):
        section.bad("userFile", "and passwordFile go together; give both or neither")
    return MailSettings(
        host=host,
        port=port,
        tls=Tls(tls) if tls else Tls.STARTTLS,
        sender=_mail_address(section, "from"),
        user=user,
        password=password,
        ca_file=_ca_file(section),
    )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _recipient(section: Section) -> Interest:
    return _interest(section, MAIL + _mail_address(section, "address"), MAILED)


def _mail_address(section: Section, name: str) -> str:
    text = section.text(name)
    if text and not _ADDRESS.fullmatch(text):
        section.bad(name, "must be a mail address such as support@example.com, without a name")
    return text


def _interest(section: Section, channel: str, usual: frozenset[NoticeEvent]) -> Interest:
    events = section.texts("events", _EVENTS)
    return Interest(
        channel=channel,
        scope_tags=section.texts("scopeTags"),
        events=frozenset(NoticeEvent(each) for each in events if each in _EVENTS) if events else usual,
    )


def _ca_file(section: Section) -> Path | None:
    path = section.file("caFile")
    if path is None:
        return None
    try:
        ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError) as error:
        section.bad("caFile", f"{path} holds no certificates in PEM: {error.strerror or error}")
    return path


def _review_link(whole: Section) -> str:
    link = whole.text("reviewLink", required=False)
    if link and not (link.isascii() and " " not in link and link.startswith("https://") and link.count(ID) == 1):
        whole.bad("reviewLink", f"must be an https address that holds {ID} once")
    return link


def _refuse_doubles(whole: Section, channels: list[str]) -> None:
    for channel in sorted({one for one in channels if channels.count(one) > 1}):
        field = "webhooks" if channel.startswith(WEBHOOK) else "mail.to"
        whole.bad(field, f"holds {channel.partition(':')[2]!r} twice")
