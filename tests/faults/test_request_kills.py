"""`kill -9` of the server while it approves and while it counts a use: what was committed holds, and comes once; the rest never was."""

from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import grpc
import pytest

from epm.elevation.v1 import document_pb2
from epm.policy.v1 import requests_pb2, requests_pb2_grpc
from services.policy.store import elevation_requests, request_outcomes
from tests.builders.approvals import APPROVED, COMPLETED, PENDING
from tests.builders.doors import bearer
from tests.builders.installation import PATIENCE, Installation, free_ports
from tests.builders.relay import relay_to
from tests.faults.hooks import wrap
from tests.faults.house import NAME, arrive, killed, said, serve_again, serve_to_die, settings, stored

pytestmark = pytest.mark.xdist_group("faults-requests")
FILE = "/usr/bin/tty"
BEFORE_THE_COMMIT = (elevation_requests.__name__, "write_change")
AFTER_THE_COMMIT = (elevation_requests.__name__, "SqlElevationRequests.change")
AFTER_THE_COUNT = (request_outcomes.__name__, "SqlGrantUses.take_in")


@pytest.fixture
def house(tmp_path: Path, empty_database_url: str) -> Iterator[Installation]:
    """Serve an installation that dies before it commits an approval; its agent waits behind a relay until it is back."""
    on_postgresql = empty_database_url.startswith("postgresql")
    (port,) = free_ports(1)
    with relay_to(port) as relay:
        told = {"EPM_ADVERTISED_POLICY": relay.address} | (
            {"EPM_DATABASE_URL": empty_database_url} if on_postgresql else {}
        )
        deadly = {"server": wrap("die_in", *BEFORE_THE_COMMIT)}
        with closing(Installation(tmp_path, mesh=f"127.0.0.1:{port}", settings=told, wraps=deadly)) as house:
            house.serve()
            house.log_in()
            house.apply(settings("SUPPORT_APPROVED"))
            house.enrol(NAME, "alice")
            house.run_agent(NAME)
            arrive(house)
            yield house


def elevates(house: Installation) -> Any:
    return house.elevate(NAME, "alice", FILE, "-n", options=("--answer-confirm", "--justification", "to work"))


def call(house: Installation, rpc: str, **fields: Any) -> Any:
    """Call as the first Owner, over a connection of its own."""
    owner = bearer((house.data_dir / "owner-token").read_text(encoding="utf-8").strip())
    with grpc.secure_channel(house.server, grpc.ssl_channel_credentials(house.ca.read_bytes())) as channel:
        stub: Any = requests_pb2_grpc.ElevationRequestServiceStub(channel)
        asked = getattr(requests_pb2, f"{rpc}Request")(**fields)
        return getattr(stub, rpc)(asked, metadata=owner, timeout=PATIENCE, wait_for_ready=True).request


def shown(house: Installation, request: str) -> Any:
    """Give a request once the server knows its devices."""

    def find() -> Any:
        with suppress(grpc.RpcError):
            return call(house, "GetElevationRequest", id=request)
        return None

    return house.wait_for("the request", find)


def dies_of_approving(house: Installation, request: str, reason: str) -> None:
    with pytest.raises(grpc.RpcError):
        call(house, "ApproveElevationRequest", id=request, max_uses=1, reason=reason)
    killed(house, "server")


def told(house: Installation) -> list[tuple[str, str]]:
    """Give states and reasons that the agent keeps for its user, newest request first."""
    words = ("--as", "alice", "--state-dir", house.state(NAME), "--output", "json")
    return [(each["state"], each["reason"]) for each in house.must("epm-agent", "requests", *words).json()]


def grants(house: Installation) -> list[str]:
    """Give the grants of the document that is on the agent's disk."""
    return [grant.id for grant in document_pb2.PolicyDocument.FromString(stored(house)).grants]


def test_an_approval_holds_from_its_commit_on_and_is_given_told_and_counted_once(house: Installation) -> None:
    request = elevates(house)["requestId"]
    applied = said(house, "policy_applied")
    dies_of_approving(house, request, "lost")

    serve_to_die(house, *AFTER_THE_COMMIT)
    before = shown(house, request)
    assert (before.state, before.HasField("review"), before.HasField("access")) == (PENDING, False, False)
    dies_of_approving(house, request, "ticket 7")
    assert (told(house), grants(house)) == ([("PENDING", "")], [])

    serve_to_die(house, *AFTER_THE_COUNT)
    house.wait_for("the outcome, behind the grant", lambda: said(house, "request_outcome_kept"))
    approved = shown(house, request)
    assert (approved.state, approved.review.reason) == (APPROVED, "ticket 7")
    assert (told(house), grants(house)) == ([("APPROVED", "ticket 7")], [request])
    assert elevates(house)["decision"]["source"] == "GRANT"
    killed(house, "server")

    serve_again(house)
    house.wait_for("that the use is taken in", lambda: house.status(NAME)["grantUses"]["waiting"] == 0)
    after = shown(house, request)
    assert (after.state, after.access.uses) == (COMPLETED, 1)
    house.wait_for("the document without the grant", lambda: said(house, "policy_applied") == applied + 2)
    assert said(house, "request_outcome_kept") == 1
    assert elevates(house)["requestId"] not in {None, request}
