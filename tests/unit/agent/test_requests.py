"""Users ask the support, and hear what becomes of it: once, whatever happens in between."""

from datetime import timedelta
from pathlib import Path

import grpc
import grpc.aio
import pytest

from agent_stub.links import SessionError
from agent_stub.model import Result
from agent_stub.requests.book import BOOK, KEPT
from elevation.model import Certificate, ChildProcesses, ElevationType, Parent, Platform, Signer, Trigger
from epm.elevation.v1 import event_pb2
from epm.policy.v1 import requests_pb2
from tests.builders.desk import HASH, Desk
from tests.builders.elevation import policy, rule
from tests.builders.grants import asking, grant
from tests.fakes.agent import NOW, FakePrompter, document
from tests.fakes.agent_requests import (
    APPROVED,
    COMPLETED,
    DENIED,
    EXPIRED,
    REVOKED,
    elevation_request,
)
from tests.unit.agent.asking import hears, news, refusal, restarted, told, willing


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    found = Desk(tmp_path)
    found.holds(asking())
    return found


async def test_the_support_is_asked_with_reason_file_arguments_and_the_rule_that_asks(desk: Desk) -> None:
    answer = await desk.ask("-x", "y", prompter=willing())
    (asked,) = desk.server.submitted
    assert (asked.attempt_id, asked.user, asked.justification) == (answer.attempt_id, "alice", "to work")
    assert (asked.file.path, asked.file.sha256, list(asked.arguments)) == (str(desk.file), HASH, ["-x", "y"])
    assert (asked.policy, asked.rule) == ("p", "r")


async def test_the_user_is_told_the_request_and_what_happens_next(desk: Desk) -> None:
    answer = await desk.ask(prompter=willing())
    assert (answer.result, answer.request_id) == (Result.APPROVAL_REQUIRED, "request-1")
    assert answer.message.endswith(
        "the support is asked: request request-1, to be decided until 2026-11-24 12:00 UTC; "
        "`epm-agent requests` shows what becomes of it"
    )


async def test_the_chain_of_the_first_signature_goes_with_the_request(desk: Desk) -> None:
    leaf, issuer = (Certificate(der, "", "", b"", b"", NOW, NOW) for der in (b"leaf", b"issuer"))
    desk.inspector.facts["signers"] = (Signer(leaf, (issuer,)), Signer(issuer))
    await desk.ask(prompter=willing())
    assert list(desk.server.submitted[0].certificates) == [b"leaf", b"issuer"]


async def test_as_much_of_a_long_chain_goes_as_the_server_takes(desk: Desk) -> None:
    leaf, *issuers = (Certificate(der, "", "", b"", b"", NOW, NOW) for der in (b"leaf", b"x" * 65532, b"y"))
    desk.inspector.facts["signers"] = (Signer(leaf, tuple(issuers)),)
    await desk.ask(prompter=willing())
    assert [len(der) for der in desk.server.submitted[0].certificates] == [4, 65532]


async def test_the_event_is_on_the_disk_before_the_support_is_asked(desk: Desk) -> None:
    written: list[event_pb2.Decided] = []
    desk.server.on_call = lambda: written.extend(desk.events())
    await desk.ask(prompter=willing())
    assert [(event.justification, event.result) for event in written] == [
        ("to work", event_pb2.ATTEMPT_RESULT_APPROVAL_REQUIRED)
    ]


async def test_an_attempt_that_cannot_be_reported_is_not_asked_about(desk: Desk) -> None:
    desk.disk.full = True
    answer = await desk.ask(prompter=willing())
    assert (answer.request_id, desk.server.submitted) == ("", [])
    assert "the support was not asked, because the report of it cannot be kept" in answer.message


async def test_a_reason_is_asked_until_the_server_takes_it(desk: Desk) -> None:
    prompter = willing(" ", "x" * 257, "a\tb", "  y ")
    await desk.ask(prompter=prompter)
    assert prompter.problems[1:] == [
        *["give a reason of 1 to 256 characters"] * 2,
        "give a reason without control characters",
    ]
    assert desk.server.submitted[0].justification == "y"


@pytest.mark.parametrize(
    "prompter", [FakePrompter(confirms=False), FakePrompter(confirms=None), FakePrompter(confirms=True)]
)
async def test_whoever_gives_nothing_asks_for_nothing(desk: Desk, prompter: FakePrompter) -> None:
    answer = await desk.ask(prompter=prompter)
    assert (answer.result, desk.server.submitted) == (Result.APPROVAL_REQUIRED, [])
    assert answer.message.endswith("; the support was not asked")


async def test_a_child_is_not_asked_about_because_no_grant_would_let_it_run(desk: Desk) -> None:
    approved, children = ElevationType.SUPPORT_APPROVED, ChildProcesses.REQUIRE_RULE
    evaluated = rule("r", approved, file_name="tool", file_hash=HASH, children=children)
    desk.holds(document(policy(evaluated, name="p", platform=Platform.LINUX)))
    prompter = willing()
    answer = await desk.ask(prompter=prompter, trigger=Trigger.CHILD, parent=Parent("p", "r"))
    assert (answer.result, prompter.questions, desk.server.submitted) == (Result.APPROVAL_REQUIRED, [], [])


async def test_a_policy_that_changes_while_the_user_writes_is_not_asked_by(desk: Desk) -> None:
    class Slow(FakePrompter):
        async def justification(self, problem: str) -> str | None:
            desk.holds(asking(grant()))
            return await super().justification(problem)

    answer = await desk.ask(prompter=Slow(reasons=["to work"]))
    assert desk.server.submitted == []
    assert answer.message == "not elevated: the support was not asked, because the policy changed meanwhile; try again"


async def test_arguments_that_no_approval_can_name_are_not_asked_about(desk: Desk) -> None:
    answer = await desk.ask("\udcff", prompter=willing())
    assert (answer.request_id, desk.server.submitted) == ("", [])
    assert "an argument is no Unicode" in answer.message


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            refusal(grpc.StatusCode.UNAVAILABLE, "gone"),
            "the server does not answer, and nothing is kept to be sent later; run the command again when the device",
        ),
        (refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "gone"), "the server does not answer"),
        (SessionError("another certificate"), "the server does not answer"),
        (refusal(grpc.StatusCode.UNIMPLEMENTED, "?"), "the server of this installation takes no requests"),
        (refusal(grpc.StatusCode.PERMISSION_DENIED, "user alice is not bound"), "not asked: user alice is not bound"),
        (refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "ask again in 9 s"), "was not asked: ask again in 9 s"),
    ],
)
async def test_where_the_support_cannot_be_asked_the_user_is_told_so(desk: Desk, fault: Exception, words: str) -> None:
    desk.server.fault = fault
    answer = await desk.ask(prompter=willing())
    assert (answer.result, answer.request_id) == (Result.APPROVAL_REQUIRED, "")
    assert words in answer.message
    assert desk.office.counter.listed("alice") == []


OUTCOMES = [
    (
        elevation_request(state=APPROVED, reason="go on", max_uses=1),
        "approved until 2026-11-23 20:00 UTC, once: go on",
    ),
    (elevation_request(state=APPROVED, max_uses=3), "approved until 2026-11-23 20:00 UTC, 3 times"),
    (elevation_request(state=APPROVED), "approved until 2026-11-23 20:00 UTC"),
    (elevation_request(state=DENIED, reason="use {the} other"), "denied: use {the} other"),
    (elevation_request(state=EXPIRED), "expired: nobody decided in time"),
    (
        elevation_request(state=REVOKED, reason="no more"),
        "revoked: no more; the file is not elevated any more",
    ),
    (elevation_request(state=COMPLETED), "completed: all uses are spent"),
    (elevation_request(state=77), "in a state that this agent does not know; ask the support"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("outcome", "words"), OUTCOMES)
def test_the_user_is_told_what_became_of_a_request_once_and_over_a_restart(
    desk: Desk, outcome: requests_pb2.ElevationRequest, words: str
) -> None:
    hears(desk, outcome)
    after = restarted(desk)
    assert told(news(after)) == [words]
    assert (news(after), news(restarted(after))) == ([], [])
    assert told(after.office.counter.listed("alice")) == [words]


def test_an_outcome_that_comes_again_is_no_news(desk: Desk) -> None:
    hears(desk, elevation_request(state=APPROVED))
    news(desk)
    hears(desk, elevation_request(state=APPROVED))
    assert news(desk) == []
    hears(desk, elevation_request(state=REVOKED))
    hears(desk, elevation_request(state=APPROVED))
    assert [request["state"] for request in news(desk)] == ["REVOKED"]


def test_a_state_that_came_after_the_answer_is_still_news(desk: Desk) -> None:
    hears(desk, elevation_request(state=APPROVED))
    found = desk.office.counter.news("alice")
    hears(desk, elevation_request(state=REVOKED))
    desk.office.counter.shown("alice", found)
    assert [request["state"] for request in news(desk)] == ["REVOKED"]


def test_users_see_their_own_requests_alone_newest_first(desk: Desk) -> None:
    hears(desk, elevation_request("1"))
    hears(desk, elevation_request("2", DENIED, submitted=NOW + timedelta(minutes=1)))
    hears(desk, elevation_request("3", DENIED, user="bob", reason="secret"))
    counter = desk.office.counter
    assert [request["id"] for request in news(desk)] == ["2", "1"]
    assert [request["id"] for request in counter.listed("alice")] == ["2", "1"]
    assert [request["id"] for request in counter.listed("bob")] == ["3"]


async def test_a_request_stands_in_the_list_from_when_it_was_made(desk: Desk) -> None:
    await desk.ask("-x", prompter=willing())
    (request,) = desk.office.counter.listed("alice")
    assert (request["id"], request["state"], request["new"]) == ("request-1", "PENDING", False)
    assert request["message"] == "waits for an approver until 2026-11-24 12:00 UTC"
    desk.clock.goes_on(timedelta(days=2))
    assert told(desk.office.counter.listed("alice")) == ["was not decided in time, as far as this device knows"]


async def test_an_approval_that_is_used_up_or_over_is_listed_as_that(desk: Desk) -> None:
    hears(desk, elevation_request(state=APPROVED, max_uses=1))
    desk.holds(asking(grant(uses_left=1)))
    assert [request["usable"] for request in desk.office.counter.listed("alice")] == [True]
    await desk.ask()
    desk.holds(asking())  # the server takes a grant that is used up out of the document
    (request,) = restarted(desk).office.counter.listed("alice")
    assert (request["message"], request["usable"]) == (
        "approved until 2026-11-23 20:00 UTC, once; all uses are spent",
        False,
    )
    hears(desk, elevation_request("request-2", APPROVED, submitted=NOW + timedelta(minutes=1)))
    desk.clock.goes_on(timedelta(days=1))
    assert told(desk.office.counter.listed("alice"))[0] == "approved until 2026-11-23 20:01 UTC; that time is over"


def test_an_outcome_that_cannot_be_kept_is_not_taken(desk: Desk) -> None:
    desk.disk.full = True
    with pytest.raises(OSError, match="No space"):
        hears(desk, elevation_request(state=DENIED))
    assert desk.office.counter.listed("alice") == []


async def test_a_request_that_the_disk_does_not_take_is_known_until_the_agent_stops(desk: Desk) -> None:
    hears(desk, elevation_request(state=DENIED, identifier="0"))
    prompter = willing()
    desk.server.on_call = lambda: setattr(desk.disk, "full", True)
    assert (await desk.ask(prompter=prompter)).request_id == "request-1"
    assert [(request["id"], request["new"]) for request in desk.office.counter.listed("alice")] == [
        ("request-1", False),
        ("0", True),
    ]
    assert len(news(desk)) == 1
    assert news(desk) == []


def test_requests_that_are_over_for_long_are_forgotten(desk: Desk) -> None:
    hears(desk, elevation_request("1", DENIED))
    desk.clock.goes_on(KEPT + timedelta(days=1))
    hears(desk, elevation_request("2", DENIED, submitted=desk.clock.wall))
    assert [request["id"] for request in restarted(desk).office.counter.listed("alice")] == ["2"]


def test_a_damaged_book_is_set_aside_and_said(desk: Desk) -> None:
    hears(desk, elevation_request(state=DENIED, reason="no"))
    path = desk.folder / BOOK
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(path.read_bytes().replace(b"DENIED", b"APPROVED"))
    after = restarted(desk)
    assert after.problems == ["requests.json was damaged; it is kept as requests.json.damaged"]
    assert after.office.counter.listed("alice") == []
    hears(after, elevation_request(state=DENIED, reason="no"))
    assert told(news(after)) == ["denied: no"]
