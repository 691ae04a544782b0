"""Mails, handed to a mail server in a process of its own."""

import email
import ipaddress
from email import policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from services.policy.model.notices import NoticeEvent
from services.policy.notices.addresses import Guard
from services.policy.notices.channels import MailSettings, Tls, UndeliveredError
from services.policy.notices.mail import Mail
from tests.builders.notices import notice
from tests.builders.receivers import Receiver, mail_server
from tests.fakes.clock import NOW

LINK = "https://epm.example.com/requests/{id}"
LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]


def mail(
    server: Receiver,
    tls: Tls = Tls.NONE,
    *,
    to: str = "support@example.com",
    user: str = "",
    password: str = "",
    patience: float = 30.0,
    trusted: bool = True,
) -> Mail:
    settings = MailSettings(
        host="127.0.0.1",
        port=server.port,
        tls=tls,
        sender="epm@example.com",
        user=user,
        password=password,
        ca_file=server.ca_file if trusted else None,
    )
    return Mail(f"mail:{to}", settings, Guard(LOOPBACK), LINK, patience=patience)


def parsed(server: Receiver) -> EmailMessage:
    (received,) = server.received()
    return email.message_from_string(received["content"], policy=policy.default)


def body_of(message: EmailMessage) -> str:
    content: str = message.get_content()
    return content.replace("\r\n", "\n")


async def test_an_approver_gets_a_mail_with_the_command_and_the_link(tmp_path: Path) -> None:
    with mail_server(tmp_path, "plain") as server:
        await mail(server).send(notice(), NOW)
        (received,) = server.received()
        message = parsed(server)
    assert (received["from"], received["to"]) == ("epm@example.com", ["support@example.com"])
    assert message["Subject"] == "Approval requested: alice on LAPTOP-7"
    assert (message["Message-ID"], message["X-OpenEPM-Notice"]) == (
        "<01890000-0000-7000-8000-000000000001-submitted@example.com>",
        "01890000-0000-7000-8000-000000000001-submitted",
    )
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "text/plain"
    assert "epm requests show 01890000-0000-7000-8000-000000000001\n" in body_of(message)
    assert "https://epm.example.com/requests/01890000-0000-7000-8000-000000000001\n" in body_of(message)
    assert "needs the new driver" in body_of(message)


@pytest.mark.parametrize(("mode", "tls"), [("starttls", Tls.STARTTLS), ("implicit", Tls.IMPLICIT)])
async def test_the_connection_is_kept_from_others_before_the_password_is_said(
    tmp_path: Path, mode: str, tls: Tls
) -> None:
    with mail_server(tmp_path, mode) as server:
        await mail(server, tls, user="epm", password="secret").send(notice(), NOW)
        (received,) = server.received()
    assert (received["tls"], received["authenticated"]) == (True, True)


async def test_a_server_without_starttls_gets_no_mail_where_it_is_wanted(tmp_path: Path) -> None:
    with mail_server(tmp_path, "bare") as server:
        with pytest.raises(UndeliveredError):
            await mail(server, Tls.STARTTLS).send(notice(), NOW)
        assert server.received() == []


@pytest.mark.parametrize(("mode", "tls"), [("starttls", Tls.STARTTLS), ("implicit", Tls.IMPLICIT)])
async def test_a_server_whose_certificate_nobody_vouches_for_gets_no_mail(tmp_path: Path, mode: str, tls: Tls) -> None:
    with mail_server(tmp_path, mode) as server:
        with pytest.raises(UndeliveredError):
            await mail(server, tls, trusted=False).send(notice(), NOW)
        assert server.received() == []


async def test_a_wrong_password_is_a_failure_that_the_operator_may_mend(tmp_path: Path) -> None:
    with mail_server(tmp_path, "starttls") as server:
        with pytest.raises(UndeliveredError, match="refused user and password") as refused:
            await mail(server, Tls.STARTTLS, user="epm", password="guess").send(notice(), NOW)
        assert (refused.value.final, server.received()) == (False, [])


@pytest.mark.parametrize(("to", "final"), [("unknown@example.com", True), ("busy@example.com", False)])
async def test_a_recipient_who_is_refused_for_good_is_given_up(tmp_path: Path, to: str, *, final: bool) -> None:
    with mail_server(tmp_path, "plain") as server:
        with pytest.raises(UndeliveredError, match="refused the recipient") as refused:
            await mail(server, to=to).send(notice(), NOW)
        assert (refused.value.final, server.received()) == (final, [])


async def test_a_mail_server_that_hangs_is_left_after_a_while(tmp_path: Path) -> None:
    with mail_server(tmp_path, "plain") as server, pytest.raises(UndeliveredError, match="did not answer within"):
        await mail(server, to="silent@example.com", patience=0.5).send(notice(), NOW)


async def test_a_mail_server_inside_is_called_only_if_the_operator_lists_it(tmp_path: Path) -> None:
    with mail_server(tmp_path, "plain") as server:
        settings = MailSettings(host="127.0.0.1", port=server.port, tls=Tls.NONE, sender="epm@example.com")
        with pytest.raises(UndeliveredError, match="is not public"):
            await Mail("mail:a@example.com", settings, Guard([]), LINK).send(notice(), NOW)
        assert server.received() == []


async def test_texts_of_devices_make_no_headers_no_lines_and_no_links(tmp_path: Path) -> None:
    wild = "x\r\nBcc: victim@example.com\r\n\r\nApprove: https://evil.example/approve?www.evil.example \u202egnp.exe\u2028.\r\n"
    with mail_server(tmp_path, "plain") as server:
        await mail(server).send(
            notice(user=wild, device_name=wild, justification=wild, file_path=wild, publisher=wild), NOW
        )
        (received,) = server.received()
        message = parsed(server)
    assert received["to"] == ["support@example.com"]
    assert (message["Bcc"], message["To"], message.is_multipart()) == (None, "support@example.com", False)
    lines = body_of(message).splitlines()
    assert [line for line in lines if "://" in line or line.startswith("Bcc")] == [
        "  https://epm.example.com/requests/01890000-0000-7000-8000-000000000001"
    ]
    assert not any(character in body_of(message) for character in "\u202e\u2028\r\x00")
    assert "www.evil" not in body_of(message)


@pytest.mark.parametrize(
    "hidden",
    [
        "=?utf-8?q?x=0d=0aBcc:_evil@example.com?=",
        "=?utf-8?b?DQpCY2M6IHg=?=",
        "=?utf-8?q?=0a=0a<a href=3dx>?=",
        "=??= =?us-ascii?q?=00?=",
    ],
)
async def test_encoded_words_of_devices_are_not_decoded_into_headers(tmp_path: Path, hidden: str) -> None:
    with mail_server(tmp_path, "plain") as server:
        await mail(server).send(notice(user=hidden, device_name=hidden), NOW)
        message = parsed(server)
    spelt = hidden.replace("=?", "= ?")
    assert (message["Bcc"], message["Subject"].split()) == (None, f"Approval requested: {spelt} on {spelt}".split())
    assert "needs the new driver" in body_of(message)


async def test_a_decision_that_is_told_says_who_and_why(tmp_path: Path) -> None:
    with mail_server(tmp_path, "plain") as server:
        await mail(server).send(
            notice(event=NoticeEvent.DENIED, reviewer="user:bob", reason="kein Bedarf, schöne Grüße"), NOW
        )
        message = parsed(server)
    assert message["Subject"] == "Request denied: alice on LAPTOP-7"
    assert "> user:bob" in body_of(message)
    assert "> kein Bedarf, schöne Grüße" in body_of(message)
    assert "can be decided" not in body_of(message)


async def test_names_in_any_script_arrive_as_they_are(tmp_path: Path) -> None:
    with mail_server(tmp_path, "plain") as server:
        await mail(server).send(notice(user="jürgen 山田", device_name="Bü" * 200), NOW)
        message = parsed(server)
    assert message["Subject"].startswith("Approval requested: jürgen 山田 on BüBü")
    assert message["Subject"].endswith("…")
