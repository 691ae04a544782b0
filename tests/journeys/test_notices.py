"""Approvers are told of a request that a user makes: by webhook and by mail, though another receiver hangs."""

import base64
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.builders.installation import Installation, installation
from tests.builders.receivers import Receiver, mail_server, webhook_receiver

DOCUMENTS = """
apiVersion: openepm/v1
kind: ElevationSettingsPolicy
metadata: {name: workstations}
spec:
  defaultResponse: SUPPORT_APPROVED
  assignments: {include: [{group: all-devices}]}
"""
FILE = """\
reviewLink: https://tickets.example.com/epm/{id}
allowedAddresses: [127.0.0.1]
webhooks:
  - {name: hangs, url: "https://127.0.0.1:%(port)d/hang", secretFile: secret, caFile: ca.pem}
  - {name: inward, url: "https://127.0.0.1:%(port)d/inward", secretFile: secret, caFile: ca.pem}
  - {name: chat, url: "https://127.0.0.1:%(port)d/200?to=chat", secretFile: secret, caFile: ca.pem}
  - {name: apac, url: "https://127.0.0.1:%(port)d/200?to=apac", secretFile: secret, caFile: ca.pem, scopeTags: [apac]}
mail:
  host: 127.0.0.1
  port: %(mail)d
  tls: none
  from: epm@example.com
  to:
    - {address: support@example.com, scopeTags: [default]}
    - {address: apac@example.com, scopeTags: [apac]}
"""
pytestmark = pytest.mark.xdist_group("notices")


@dataclass(frozen=True, slots=True)
class Told:
    """An installation, and who is told of its requests."""

    house: Installation
    webhooks: Receiver
    mails: Receiver

    def chat(self) -> list[dict[str, Any]]:
        """Return what the chat was told."""
        sent = [each for each in self.webhooks.received() if each["path"] == "/200?to=chat"]
        return [json.loads(each["body"]) for each in sent]

    def paths(self) -> set[str]:
        """Return where webhooks went."""
        return {each["path"] for each in self.webhooks.received()}

    def ask(self, file: str) -> str:
        """Ask for approval as a user does, and return the request."""
        words = ("--answer-confirm", "--justification", "to work")
        answer = self.house.elevate("lx", "alice", file, "-n", options=words)
        assert answer["result"] == "APPROVAL_REQUIRED", answer["message"]
        return str(answer["requestId"])

    def hear(self, request: str, event: str) -> dict[str, Any]:
        """Wait until the chat was told."""

        def find() -> dict[str, Any]:
            return next((each for each in self.chat() if each["id"] == f"{request}-{event}"), {})

        return self.house.wait_for(f"the notice {event}", find)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    folder = tmp_path_factory.mktemp("receivers")
    with ExitStack() as held:
        webhooks = held.enter_context(webhook_receiver(folder))
        mails = held.enter_context(mail_server(folder, "plain"))
        file = notices_file(folder, webhooks, mails)
        house = held.enter_context(installation(tmp_path_factory.mktemp("house"), EPM_NOTICES_FILE=str(file)))
        house.apply(DOCUMENTS)
        house.enrol("lx", "alice")
        house.run_agent("lx")
        house.wait_for("the policy", lambda: house.is_ready("lx"))
        yield Told(house, webhooks, mails)


def notices_file(folder: Path, webhooks: Receiver, mails: Receiver) -> Path:
    secret, file = folder / "secret", folder / "notices.yaml"
    secret.touch(mode=0o600)
    secret.write_text("whsec_" + base64.b64encode(bytes(32)).decode())
    file.write_text(FILE % {"port": webhooks.port, "mail": mails.port})
    return file


def test_approvers_hear_of_a_request_and_of_what_becomes_of_it(told: Told) -> None:
    request = told.ask("/usr/bin/tty")
    data = told.hear(request, "submitted")["data"]
    assert (data["user"], data["device"]["name"], data["justification"]) == ("alice", "lx", "to work")
    assert data["link"] == f"https://tickets.example.com/epm/{request}"
    shown = told.house.must(*data["command"].split(), "--output", "json").json()["request"]
    assert (shown["id"], shown["file"]["sha256"]) == (request, data["file"]["sha256"])
    told.house.must("epm", "requests", "deny", request, "--reason", "ask on Monday")
    denied = told.hear(request, "denied")["data"]
    assert (denied["reviewer"], denied["reason"]) == ("user:owner", "ask on Monday")


def test_approvers_get_a_mail_if_their_scope_covers_the_device_and_no_others_do(told: Told) -> None:
    request = told.ask("/usr/bin/nproc")
    told.hear(request, "submitted")
    mail = told.house.wait_for(
        "the mail", lambda: [each for each in told.mails.received() if request in each["content"]]
    )
    assert [each["to"] for each in mail] == [["support@example.com"]]
    meant = {"/hang", "/inward", "/200?to=chat"}
    assert told.house.wait_for("every receiver meant", lambda: meant <= told.paths() and told.paths()) == meant


def test_an_approval_is_told_with_its_end(told: Told) -> None:
    request = told.ask("/usr/bin/uname")
    told.house.must("epm", "requests", "approve", request, "--uses", "1")
    approved = told.hear(request, "approved")["data"]
    assert (approved["reviewer"], bool(approved["accessUntil"])) == ("user:owner", True)
