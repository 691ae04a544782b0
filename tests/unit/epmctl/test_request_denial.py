"""An approver is told before they approve that a rule denies the file on the device all the same."""

import pytest

from epm.elevation.v1 import decision_pb2, event_pb2, rules_pb2
from epm.policy.v1 import analysis_pb2, requests_pb2
from epm.rbac.v1 import rbac_pb2
from services._chassis.errors import DeniedError, NotFoundError
from tests.builders.console import Console
from tests.builders.documents import HASH
from tests.builders.elevation import certificate
from tests.fakes.server import Answer, FakeServer

ID = "0198a000-0000-7000-8000-000000000001"
CHAIN = [certificate("vendor").der, certificate("issuing").der]
DENIES = decision_pb2.Decision(elevation_type=rules_pb2.ELEVATION_TYPE_DENY, policy="blocked", rule="malware")
BY_DEFAULT = decision_pb2.Decision(elevation_type=rules_pb2.ELEVATION_TYPE_DENY)
ASKS = decision_pb2.Decision(elevation_type=rules_pb2.ELEVATION_TYPE_SUPPORT_APPROVED, policy="tools", rule="setup")
PENDING, APPROVED, DENIED = (
    requests_pb2.ELEVATION_REQUEST_STATE_PENDING,
    requests_pb2.ELEVATION_REQUEST_STATE_APPROVED,
    requests_pb2.ELEVATION_REQUEST_STATE_DENIED,
)


def holds(
    server: FakeServer,
    answer: Answer,
    state: "requests_pb2.ElevationRequestState.ValueType" = PENDING,
    platform: "rules_pb2.Platform.ValueType" = rules_pb2.PLATFORM_LINUX,
) -> None:
    """Let the server hold a request, and decide the attempt so."""
    file = event_pb2.FileFacts(path="/usr/bin/tool", sha256=HASH, version="1.2", product_name="Tool")
    found = requests_pb2.ElevationRequest(
        id=ID, state=state, device_id="d1", user="alice", platform=platform, file=file, arguments=["-x"]
    )
    for stamp in (found.submitted, found.review_deadline, found.access.until, getattr(found.access, "from")):
        stamp.GetCurrentTime()
    chain = CHAIN if platform == rules_pb2.PLATFORM_WINDOWS else []
    server.on(
        requests_pb2.GetElevationRequestRequest,
        requests_pb2.GetElevationRequestResponse(request=found, certificates=chain),
    )
    server.on(requests_pb2.ApproveElevationRequestRequest, requests_pb2.ApproveElevationRequestResponse(request=found))
    server.on(rbac_pb2.WhoAmIRequest, rbac_pb2.WhoAmIResponse(rights=["policy_authoring.read"]))
    server.on(analysis_pb2.SimulateRequest, answer)


def decides(decision: decision_pb2.Decision) -> analysis_pb2.SimulateResponse:
    """Decide so."""
    return analysis_pb2.SimulateResponse(decision=decision)


@pytest.mark.parametrize(
    ("platform", "where"),
    [
        (rules_pb2.PLATFORM_LINUX, ", where root alone can write the file"),
        (rules_pb2.PLATFORM_WINDOWS, ", where the device trusts the signature"),
        (rules_pb2.PLATFORM_MACOS, ""),
    ],
)
def test_a_rule_that_denies_the_file_is_shown_with_the_request(
    console: Console, server: FakeServer, platform: "rules_pb2.Platform.ValueType", where: str
) -> None:
    holds(server, decides(DENIES), platform=platform)
    outcome = console.run("requests", "show", ID)
    told = dict(line.split("  ", 1) for line in outcome.out.splitlines())
    assert told["DENIED BY"].strip() == f"blocked/malware, whatever is approved{where}"
    [asked] = server.requests(analysis_pb2.SimulateRequest)
    assert (asked.device, asked.user, list(asked.arguments)) == ("d1", "alice", ["-x"])
    assert (asked.file.path, asked.file.sha256, asked.file.product_name) == ("/usr/bin/tool", HASH, "Tool")
    assert asked.file.root_only_path == (platform == rules_pb2.PLATFORM_LINUX)
    signers = [(signer.leaf, list(signer.chain), signer.trusted) for signer in asked.file.signers]
    assert signers == ([(CHAIN[0], CHAIN[1:], True)] if platform == rules_pb2.PLATFORM_WINDOWS else [])


@pytest.mark.parametrize("answer", [decides(ASKS), decides(BY_DEFAULT), DeniedError("no"), NotFoundError("no device")])
def test_where_no_rule_denies_it_or_that_cannot_be_told_nothing_is_said(
    console: Console, server: FakeServer, answer: Answer
) -> None:
    holds(server, answer)
    for command in ("show", "approve"):
        outcome = console.run("requests", command, ID)
        assert (outcome.code, outcome.err, "DENIED BY" in outcome.out) == (0, "", False)


def test_what_is_over_is_not_asked_about(console: Console, server: FakeServer) -> None:
    holds(server, decides(DENIES), state=DENIED)
    assert "DENIED BY" not in console.run("requests", "show", ID).out
    assert server.requests(analysis_pb2.SimulateRequest) == []


def test_whoever_approves_what_a_rule_denies_is_told_so(console: Console, server: FakeServer) -> None:
    holds(server, decides(DENIES), state=APPROVED)
    outcome = console.run("requests", "approve", ID)
    assert outcome.code == 0
    assert outcome.err.startswith("it is denied by blocked/malware, whatever is approved")


def test_whoever_may_not_read_policies_makes_the_server_refuse_nothing(console: Console, server: FakeServer) -> None:
    holds(server, decides(DENIES))
    server.on(rbac_pb2.WhoAmIRequest, rbac_pb2.WhoAmIResponse(rights=["elevation_requests.view"]))
    assert "DENIED BY" not in console.run("requests", "show", ID).out
    assert server.requests(analysis_pb2.SimulateRequest) == []
