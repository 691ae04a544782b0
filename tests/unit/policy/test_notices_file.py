"""The notices file: what it says, and all that is wrong with it at once."""

import base64
import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from services._chassis.errors import InvalidError
from services.policy.model.notices import ALL_EVENTS, Interest, NoticeEvent
from services.policy.notices.channels import MailSettings, NoticeSettings, Tls, WebhookSettings
from services.policy.notices.reading import MAILED, read_notices
from tests.builders.doors import authority

SECRET = bytes(range(32))
GOOD = """\
reviewLink: https://epm.example.com/requests/{id}
remindAfter: PT4H
sendAgainGivenUpBefore: 2026-11-26T08:00:00Z
allowedAddresses: [10.1.2.0/24, 127.0.0.1]
webhooks:
  - name: chat
    url: https://chat.example.com/hooks/epm?room=7
    secretFile: secrets/chat
    scopeTags: [emea]
    events: [submitted, expired]
  - name: local
    url: http://127.0.0.1:8080
    secretFile: secrets/chat
mail:
  host: mail.example.com
  port: 587
  tls: starttls
  userFile: secrets/user
  passwordFile: secrets/password
  from: epm@example.com
  caFile: ca.pem
  to:
    - address: support@example.com
    - address: emea@example.com
      scopeTags: [emea]
      events: [denied]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    secrets = tmp_path / "secrets"
    secrets.mkdir(mode=0o700)
    texts = {"chat": "whsec_" + base64.b64encode(SECRET).decode(), "user": "epm", "password": "hunter2 hunter2"}
    for name, text in texts.items():
        (secrets / name).touch(mode=0o600)
        (secrets / name).write_text(text + "\n")
    (tmp_path / "ca.pem").write_bytes(authority().pem)
    return tmp_path


def written(folder: Path, text: str) -> Path:
    path = folder / "notices.yaml"
    path.write_text(text)
    return path


def problems_of(folder: Path, text: str) -> dict[str, str]:
    with pytest.raises(InvalidError) as refused:
        read_notices(written(folder, text))
    assert refused.value.reason == "NOTICES_INVALID"
    return {problem.field.removeprefix("notices_file: "): problem.message for problem in refused.value.problems}


def test_without_a_file_nobody_is_told() -> None:
    assert read_notices(None) == NoticeSettings()


def test_the_file_says_who_is_told_of_what(folder: Path) -> None:
    read = read_notices(written(folder, GOOD))
    chat = Interest(
        channel="webhook:chat",
        scope_tags=frozenset({"emea"}),
        events=frozenset({NoticeEvent.SUBMITTED, NoticeEvent.EXPIRED}),
    )
    local = Interest(channel="webhook:local", events=ALL_EVENTS)
    mails = (
        Interest(channel="mail:support@example.com", events=MAILED),
        Interest(
            channel="mail:emea@example.com", scope_tags=frozenset({"emea"}), events=frozenset({NoticeEvent.DENIED})
        ),
    )
    assert read == NoticeSettings(
        webhooks=(
            WebhookSettings(
                interest=chat, host="chat.example.com", port=443, target="/hooks/epm?room=7", secret=SECRET
            ),
            WebhookSettings(interest=local, host="127.0.0.1", port=8080, target="/", secure=False, secret=SECRET),
        ),
        mail=MailSettings(
            host="mail.example.com",
            port=587,
            tls=Tls.STARTTLS,
            sender="epm@example.com",
            user="epm",
            password="hunter2 hunter2",
            ca_file=folder / "ca.pem",
        ),
        recipients=mails,
        review_link="https://epm.example.com/requests/{id}",
        allowed=(ipaddress.ip_network("10.1.2.0/24"), ipaddress.ip_network("127.0.0.1")),
        remind_after=timedelta(hours=4),
        send_again=datetime(2026, 11, 26, 8, tzinfo=UTC),
    )
    assert read.interests == (chat, local, *mails)


def test_everything_that_is_wrong_is_said_at_once(folder: Path) -> None:
    (folder / "secrets" / "open").write_text("whsec_x")
    (folder / "secrets" / "open").chmod(0o644)
    (folder / "secrets" / "short").touch(mode=0o600)
    (folder / "secrets" / "short").write_text("whsec_QUJD")
    found = problems_of(
        folder,
        """\
reviewlink: https://epm.example.com/{id}
reviewLink: http://epm.example.com/{id}
remindAfter: P2M
sendAgainGivenUpBefore: 2026-11-26
allowedAddresses: [10.1.2.3/24]
webhooks:
  - name: chat room
    url: http://chat.example.com/hook
    secretFile: secrets/open
    events: [approve]
  - name: two
    url: https://user:secret@chat.example.com/
    secretFile: secrets/short
  - name: two
    url: ftp://chat.example.com/
    secretFile: secrets/none
    scopeTags: []
mail:
  host: mail.example.com
  port: 70000
  tls: none
  userFile: secrets/user
  from: EPM <epm@example.com>
  to: [{address: nobody}]
""",
    )
    assert found.keys() == {
        "reviewlink",
        "reviewLink",
        "remindAfter",
        "sendAgainGivenUpBefore",
        "allowedAddresses",
        "webhooks",
        "webhooks[0].name",
        "webhooks[0].url",
        "webhooks[0].secretFile",
        "webhooks[0].events",
        "webhooks[1].url",
        "webhooks[1].secretFile",
        "webhooks[2].url",
        "webhooks[2].secretFile",
        "webhooks[2].scopeTags",
        "mail.port",
        "mail.tls",
        "mail.userFile",
        "mail.from",
        "mail.to[0].address",
    }
    assert "chmod 600" in found["webhooks[0].secretFile"]
    assert "approve" in found["webhooks[0].events"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[1, 2]", "must hold a mapping"),
        ("1: 2", "must hold a mapping"),
        ("a: [", "is not YAML"),
        ("mail: {}\nmail: {}", "stands twice"),
        ("x: !!python/object:os.system y", "is not YAML"),
        ("a: " + "[" * 5000, "is not YAML"),
        ("#" * 300_000, "is longer than"),
    ],
)
def test_what_is_no_notices_file_is_refused(folder: Path, text: str, word: str) -> None:
    assert word in problems_of(folder, text)["notices_file"]


def test_a_file_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(InvalidError, match="cannot be read"):
        read_notices(folder / "none.yaml")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://localhost/",
        "http://10.1.2.3/",
        "https://chat.example.com/#part",
        "https:///hook",
        "https://chat.example.com:0/",
        "https://chät.example.com/",
        "https://chat.example.com/a b",
        "file:///etc/passwd",
        "https://[::1/",
        "https://-/",
    ],
)
def test_an_address_that_no_webhook_may_have_is_refused(folder: Path, url: str) -> None:
    text = f"webhooks: [{{name: chat, url: '{url}', secretFile: secrets/chat}}]"
    assert problems_of(folder, text).keys() == {"webhooks[0].url"}


def test_no_message_and_no_representation_shows_a_secret(folder: Path) -> None:
    read = read_notices(written(folder, GOOD))
    assert "hunter2" not in repr(read)
    assert repr(SECRET) not in repr(read)
    (folder / "secrets" / "chat").write_text("hunter2")
    assert "hunter2" not in str(problems_of(folder, GOOD))


def test_plain_http_is_for_loopback_even_where_an_address_inside_is_listed(folder: Path) -> None:
    text = "allowedAddresses: [10.0.0.0/8]\nwebhooks: [{name: chat, url: 'http://10.1.2.3/', secretFile: secrets/chat}]"
    assert problems_of(folder, text).keys() == {"webhooks[0].url"}
