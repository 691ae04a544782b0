"""`epm token` and `epm enrolment-token` show a secret once, on standard output, and nowhere else."""

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from epm.device.v1 import devices_pb2
from epm.rbac.v1 import rbac_pb2
from services._chassis.errors import InvalidError, NotFoundError, Problem
from tests.builders.console import Console
from tests.fakes.server import FakeServer

NOON = Timestamp(seconds=1_795_435_200)
TOKEN = rbac_pb2.Token(token_id="t1", principal="user:carol", description="for CI", created=NOON, expires=NOON)
ENROLMENT_TOKEN = devices_pb2.EnrolmentToken(token_id="e1", quota=3, used=1, users=["alice"], expires=NOON)
SECRET = "epm_secret"


@pytest.fixture
def issuing(server: FakeServer) -> FakeServer:
    """Give a server that issues tokens."""
    server.on(rbac_pb2.IssueTokenRequest, rbac_pb2.IssueTokenResponse(token=TOKEN, secret=SECRET))
    created = devices_pb2.CreateEnrolmentTokenResponse(enrolment_token=ENROLMENT_TOKEN, secret=SECRET)
    server.on(devices_pb2.CreateEnrolmentTokenRequest, created)
    return server


@pytest.mark.usefixtures("issuing")
def test_the_secret_of_a_token_stands_alone_on_standard_output(console: Console) -> None:
    outcome = console.run("token", "create", "--principal", "user:carol")

    assert (outcome.code, outcome.out) == (0, f"{SECRET}\n")
    assert outcome.err == "token t1 for user:carol, good until 2026-11-23T12:00:00Z; shown this once:\n"


@pytest.mark.usefixtures("issuing")
def test_the_secret_of_an_enrolment_token_stands_alone_on_standard_output(console: Console) -> None:
    outcome = console.run("enrolment-token", "create", "--quota", "3")

    assert (outcome.code, outcome.out) == (0, f"{SECRET}\n")
    assert outcome.err == "enrolment token e1, quota 3, good until 2026-11-23T12:00:00Z; shown this once:\n"


@pytest.mark.usefixtures("issuing")
@pytest.mark.parametrize(
    ("command", "name", "token_id"),
    [
        (("token", "create", "--principal", "user:carol"), "token", "t1"),
        (("enrolment-token", "create"), "enrolmentToken", "e1"),
    ],
)
def test_json_holds_the_secret_and_the_token(
    console: Console, command: tuple[str, ...], name: str, token_id: str
) -> None:
    outcome = console.run(*command, "--output", "json")

    assert outcome.err == ""
    assert outcome.json["secret"] == SECRET
    assert outcome.json[name]["tokenId"] == token_id


def test_a_token_is_issued_as_asked_for(console: Console, issuing: FakeServer) -> None:
    before = datetime.now(UTC)

    arguments = ("--principal", "user:carol", "--description", "for CI", "--expires", "30d")
    console.run("token", "create", *arguments)

    (request,) = issuing.requests(rbac_pb2.IssueTokenRequest)
    assert (request.principal, request.description) == ("user:carol", "for CI")
    expected = before + timedelta(days=30)
    assert timedelta() <= request.expires.ToDatetime(tzinfo=UTC) - expected < timedelta(minutes=1)


def test_a_token_without_an_end_leaves_it_to_the_server(console: Console, issuing: FakeServer) -> None:
    console.run("token", "create", "--principal", "user:carol")
    console.run("enrolment-token", "create")

    assert not issuing.requests(rbac_pb2.IssueTokenRequest)[0].HasField("expires")
    assert not issuing.requests(devices_pb2.CreateEnrolmentTokenRequest)[0].enrolment_token.HasField("expires")


def test_an_enrolment_token_is_created_as_asked_for(console: Console, issuing: FakeServer) -> None:
    arguments = ["--quota", "3", "--description", "laptops", "--expires", "2026-11-23T12:00:00Z", "--user", "alice"]
    arguments += ["--user", "bob", "--allow-reported-users", "--group", "finance", "--tag", "hq", "--scope-tag", "emea"]

    console.run("enrolment-token", "create", *arguments)

    (request,) = issuing.requests(devices_pb2.CreateEnrolmentTokenRequest)
    assert request.enrolment_token == devices_pb2.EnrolmentToken(
        description="laptops",
        quota=3,
        expires=NOON,
        users=["alice", "bob"],
        allow_reported_users=True,
        groups=["finance"],
        tags=["hq"],
        scope_tags=["emea"],
    )


def test_a_token_for_one_device_names_it_by_its_identifier(console: Console, issuing: FakeServer) -> None:
    found = devices_pb2.Device(device_id="d1", name="ws-17")
    issuing.on(devices_pb2.GetDeviceRequest, devices_pb2.GetDeviceResponse(device=found))

    console.run("enrolment-token", "create", "--device", "ws-17")

    (request,) = issuing.requests(devices_pb2.CreateEnrolmentTokenRequest)
    assert request.enrolment_token == devices_pb2.EnrolmentToken(quota=1, device_id="d1")


def test_a_token_for_devices_of_some_names_tells_the_patterns(console: Console, issuing: FakeServer) -> None:
    console.run("enrolment-token", "create", "--quota", "5", "--device-names", "ws-*", "--device-names", "kiosk-?")

    (request,) = issuing.requests(devices_pb2.CreateEnrolmentTokenRequest)
    assert request.enrolment_token == devices_pb2.EnrolmentToken(quota=5, device_names=["ws-*", "kiosk-?"])


def test_what_the_server_finds_wrong_is_bad_input(console: Console, server: FakeServer) -> None:
    problems = [Problem("principal", "must be user:NAME"), Problem("expires", "must be in the future")]
    server.on(rbac_pb2.IssueTokenRequest, InvalidError(problems))

    outcome = console.run("token", "create", "--principal", "carol")

    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "principal: must be user:NAME\nexpires: must be in the future\n"


def test_tokens_are_listed_without_their_text(console: Console, server: FakeServer) -> None:
    used = rbac_pb2.Token(last_used=NOON)
    used.MergeFrom(TOKEN)
    server.on(rbac_pb2.ListTokensRequest, rbac_pb2.ListTokensResponse(tokens=[TOKEN, used]))
    answer = devices_pb2.ListEnrolmentTokensResponse(enrolment_tokens=[ENROLMENT_TOKEN])
    server.on(devices_pb2.ListEnrolmentTokensRequest, answer)

    tokens = console.run("token", "list").out.splitlines()
    enrolment_tokens = console.run("enrolment-token", "list").out.splitlines()

    assert tokens[1].split() == [
        "t1",
        "user:carol",
        "2026-11-23T12:00:00Z",
        "2026-11-23T12:00:00Z",
        "-",
        "-",
        "for",
        "CI",
    ]
    assert tokens[2].split()[4:6] == ["2026-11-23T12:00:00Z", "-"]
    assert enrolment_tokens[1].split() == ["e1", "1", "of", "3", "2026-11-23T12:00:00Z", "-", "alice", "-", "-", "-"]


def test_a_token_is_revoked_by_its_id(console: Console, server: FakeServer) -> None:
    server.on(rbac_pb2.RevokeTokenRequest, rbac_pb2.RevokeTokenResponse(token=TOKEN))

    outcome = console.run("token", "revoke", "t1")

    assert server.requests(rbac_pb2.RevokeTokenRequest)[0].token_id == "t1"
    assert (outcome.code, outcome.out) == (0, "token t1 of user:carol is revoked\n")


def test_an_enrolment_token_is_revoked_by_its_id(console: Console, server: FakeServer) -> None:
    outcome = console.run("enrolment-token", "revoke", "e1")

    assert server.requests(devices_pb2.RevokeEnrolmentTokenRequest)[0].token_id == "e1"
    assert (outcome.code, outcome.out) == (0, "enrolment token e1 is revoked\n")


@pytest.mark.parametrize(
    ("command", "request_type"),
    [("token", rbac_pb2.RevokeTokenRequest), ("enrolment-token", devices_pb2.RevokeEnrolmentTokenRequest)],
)
def test_a_token_that_is_not_there_cannot_be_revoked(
    console: Console, server: FakeServer, command: str, request_type: type[Message]
) -> None:
    server.on(request_type, NotFoundError("there is no such token"))

    outcome = console.run(command, "revoke", "nobody")

    assert (outcome.code, outcome.err) == (1, "there is no such token\n")
