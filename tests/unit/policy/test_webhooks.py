"""Webhooks, sent to a receiver in a process of its own."""

import base64
import hashlib
import hmac
import ipaddress
import json
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from services.policy.model.notices import Interest
from services.policy.notices.addresses import Guard
from services.policy.notices.channels import LONGEST_MESSAGE, UndeliveredError, WebhookSettings
from services.policy.notices.webhook import Webhook
from tests.builders.notices import notice
from tests.builders.receivers import ROOT, Receiver, webhook_receiver
from tests.fakes.clock import NOW

SECRET = bytes(range(32))
LINK = "https://epm.example.com/requests/{id}"
LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with webhook_receiver(tmp_path) as running:
        yield running


def webhook(receiver: Receiver, path: str, *, host: str = "127.0.0.1", patience: float = 15.0) -> Webhook:
    settings = WebhookSettings(
        interest=Interest(channel="webhook:chat"),
        host=host,
        port=receiver.port,
        target=path,
        secret=SECRET,
        ca_file=receiver.ca_file,
    )
    return Webhook(settings, Guard(LOOPBACK), LINK, patience=patience)


async def test_a_receiver_gets_the_notice_with_the_command_and_the_link(receiver: Receiver) -> None:
    await webhook(receiver, "/200?room=a").send(notice(), NOW)
    (request,) = receiver.received()
    body = json.loads(request["body"])
    assert (request["method"], request["path"]) == ("POST", "/200?room=a")
    assert (body["id"], body["type"]) == (
        "01890000-0000-7000-8000-000000000001-submitted",
        "elevation_request.submitted",
    )
    assert body["data"]["command"] == "epm requests show 01890000-0000-7000-8000-000000000001"
    assert body["data"]["link"] == "https://epm.example.com/requests/01890000-0000-7000-8000-000000000001"
    assert body["data"]["file"]["path"] == r"C:\Users\alice\setup.exe"


async def test_the_signature_is_what_the_documents_tell_receivers_to_work_out(receiver: Receiver) -> None:
    await webhook(receiver, "/200").send(notice(), NOW)
    (request,) = receiver.received()
    headers = {name.lower(): value for name, value in request["headers"].items()}
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{request['body']}".encode()
    expected = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert (headers["webhook-id"], int(headers["webhook-timestamp"])) == (
        "01890000-0000-7000-8000-000000000001-submitted",
        NOW.timestamp(),
    )


async def test_texts_of_devices_are_data(receiver: Receiver) -> None:
    wild = 'a"},"link":"https://evil.example\r\nX-Evil: 1\x00\u2028</script>'
    await webhook(receiver, "/200").send(notice(justification=wild, file_path=wild, user=wild), NOW)
    (request,) = receiver.received()
    data = json.loads(request["body"])["data"]
    assert (data["justification"], data["file"]["path"], data["user"]) == (wild, wild, wild)
    assert data["link"].startswith("https://epm.example.com/")
    assert "X-Evil" not in request["headers"]


@pytest.mark.parametrize("status", [400, 404, 410, 429, 500, 503])
async def test_another_answer_than_success_is_a_failure(receiver: Receiver, status: int) -> None:
    with pytest.raises(UndeliveredError, match=f"it answered {status}"):
        await webhook(receiver, f"/{status}").send(notice(), NOW)


async def test_what_failed_is_sent_again_under_the_same_identifier(receiver: Receiver) -> None:
    flaky = webhook(receiver, "/flaky")
    with pytest.raises(UndeliveredError, match="it answered 500"):
        await flaky.send(notice(), NOW)
    await flaky.send(notice(), NOW + timedelta(seconds=5))
    first, second = receiver.received()
    assert first["headers"]["webhook-id"] == second["headers"]["webhook-id"]
    assert first["headers"]["webhook-timestamp"] != second["headers"]["webhook-timestamp"]
    assert first["body"] == second["body"]


async def test_a_redirect_inward_is_not_followed(receiver: Receiver) -> None:
    with pytest.raises(UndeliveredError, match="it answered 302, and is not followed"):
        await webhook(receiver, "/inward").send(notice(), NOW)
    assert [request["path"] for request in receiver.received()] == ["/inward"]


async def test_a_receiver_that_hangs_is_left_after_a_while(receiver: Receiver) -> None:
    begun = time.monotonic()
    with pytest.raises(UndeliveredError, match="it did not answer within"):
        await webhook(receiver, "/hang", patience=0.5).send(notice(), NOW)
    assert time.monotonic() - begun < 5
    assert [request["path"] for request in receiver.received()] == ["/hang"]


async def test_a_huge_answer_is_not_read(receiver: Receiver) -> None:
    await webhook(receiver, "/huge").send(notice(), NOW)


@pytest.mark.parametrize("path", ["/headers", "/again", "/nonsense", "/close"])
async def test_an_answer_that_is_none_is_a_failure(receiver: Receiver, path: str) -> None:
    with pytest.raises(UndeliveredError, match="it could not be asked"):
        await webhook(receiver, path).send(notice(), NOW)


async def test_little_is_kept_of_what_a_receiver_answers(receiver: Receiver) -> None:
    with pytest.raises(UndeliveredError, match="could not be asked: RemoteProtocolError") as failed:
        await webhook(receiver, "/quoted").send(notice(), NOW)
    assert len(str(failed.value)) == LONGEST_MESSAGE


async def test_a_receiver_whose_certificate_nobody_vouches_for_gets_nothing(receiver: Receiver) -> None:
    settings = WebhookSettings(
        interest=Interest(channel="webhook:chat"), host="127.0.0.1", port=receiver.port, target="/200", secret=SECRET
    )
    with pytest.raises(UndeliveredError, match="CERTIFICATE_VERIFY_FAILED"):
        await Webhook(settings, Guard(LOOPBACK), LINK).send(notice(), NOW)
    assert receiver.received() == []


async def test_a_certificate_for_another_name_does_not_do(receiver: Receiver) -> None:
    async def here(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    settings = WebhookSettings(
        interest=Interest(channel="webhook:chat"),
        host="chat.example.com",
        port=receiver.port,
        target="/200",
        secret=SECRET,
        ca_file=receiver.ca_file,
    )
    with pytest.raises(UndeliveredError, match="CERTIFICATE_VERIFY_FAILED"):
        await Webhook(settings, Guard(LOOPBACK, here), LINK).send(notice(), NOW)
    assert receiver.received() == []


async def test_nobody_is_called_inside_unless_the_operator_lists_it(receiver: Receiver) -> None:
    settings = WebhookSettings(
        interest=Interest(channel="webhook:chat"),
        host="localhost",
        port=receiver.port,
        target="/200",
        secret=SECRET,
        ca_file=receiver.ca_file,
    )
    with pytest.raises(UndeliveredError, match="which is not public; add it to allowedAddresses"):
        await Webhook(settings, Guard([]), LINK).send(notice(), NOW)
    assert receiver.received() == []


async def test_the_name_is_resolved_once_and_the_connection_goes_where_was_checked(receiver: Receiver) -> None:
    asked: list[str] = []

    async def changing(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    settings = WebhookSettings(
        interest=Interest(channel="webhook:chat"),
        host="localhost",
        port=receiver.port,
        target="/200",
        secret=SECRET,
        ca_file=receiver.ca_file,
    )
    await Webhook(settings, Guard(LOOPBACK, changing), LINK).send(notice(), NOW)
    assert (asked, len(receiver.received())) == (["localhost"], 1)


async def test_a_receiver_that_is_away_is_a_failure(receiver: Receiver) -> None:
    receiver.process.kill()
    receiver.process.wait()
    with pytest.raises(UndeliveredError, match="it could not be asked"):
        await webhook(receiver, "/200").send(notice(), NOW)


async def test_what_the_documents_show_receivers_tells_genuine_messages_from_others(receiver: Receiver) -> None:
    await webhook(receiver, "/200").send(notice(), NOW)
    (request,) = receiver.received()
    headers = {name.lower(): value for name, value in request["headers"].items()}
    code = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8").partition("```python\n")[2].partition("```")[0]
    shown: dict[str, Any] = {"base64": base64, "hashlib": hashlib, "hmac": hmac}
    exec(code, shown)  # noqa: S102 - our own document
    is_genuine, body, now = shown["is_genuine"], request["body"].encode(), NOW.timestamp()
    secret = "whsec_" + base64.b64encode(SECRET).decode()
    other = "whsec_" + base64.b64encode(bytes(32)).decode()
    assert is_genuine(headers, body, secret, now + 1)
    assert not is_genuine(headers, body + b" ", secret, now + 1)
    assert not is_genuine(headers, body, other, now + 1)
    assert not is_genuine(headers, body, secret, now + 301)
    assert not is_genuine({**headers, "webhook-id": "another"}, body, secret, now + 1)
