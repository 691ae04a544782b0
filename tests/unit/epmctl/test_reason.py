"""`--reason` goes with every call of a command that changes something, and is checked before there is one."""

import pytest

from services._chassis.call_reason import LONGEST_REASON
from tests.builders.console import Console
from tests.builders.documents import GROUP, RULES, document, write_documents
from tests.fakes.server import FakeServer

COMMANDS = (
    ("apply", "-f", "-"),
    ("token", "create", "--principal", "user:carol"),
    ("token", "revoke", "t1"),
    ("enrolment-token", "create"),
    ("enrolment-token", "revoke", "e1"),
)
REASON = "Prüfung 4711"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_says_why_in_every_call(console: Console, server: FakeServer, command: tuple[str, ...]) -> None:
    outcome = console.run(*command, "--reason", REASON, stdin=GROUP)

    assert outcome.code == 0
    assert server.reasons
    assert set(server.reasons) == {REASON}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_without_a_reason_sends_none(console: Console, server: FakeServer, command: tuple[str, ...]) -> None:
    console.run(*command, stdin=GROUP)

    assert server.reasons
    assert set(server.reasons) == {None}


def test_all_services_are_told_why_documents_are_applied(console: Console, server: FakeServer) -> None:
    write_documents(console.folder / "documents", GROUP, RULES, document("ScopeTag", "emea", "{}"))

    console.run("apply", "-f", console.folder / "documents", "--reason", REASON)

    assert set(server.reasons) == {REASON}
    asked = [type(request).__name__ for request in server.asked]
    assert [asked.count(f"Apply{part}Request") for part in ("Access", "Groups", "Policies")] == [2, 2, 2]


@pytest.mark.parametrize("reason", ["x" * (LONGEST_REASON + 1), "two\nlines", "latin \udcfc"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_reason_that_no_server_takes_is_refused_here(
    console: Console, server: FakeServer, command: tuple[str, ...], reason: str
) -> None:
    outcome = console.run(*command, "--reason", reason, stdin=GROUP)

    assert (outcome.code, outcome.out) == (2, "")
    assert "must be at most 256 printable characters, in one line" in outcome.err
    assert server.asked == []


def test_the_longest_reason_that_a_server_takes_is_sent(console: Console, server: FakeServer) -> None:
    console.run("token", "revoke", "t1", "--reason", "ü" * LONGEST_REASON)

    assert server.reasons == ["ü" * LONGEST_REASON]
