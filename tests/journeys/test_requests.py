"""A user asks the support; approvers see it, answer it by the command line, and the user hears what they said."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.builders.installation import Done, Installation, installation

DOCUMENTS = """
apiVersion: openepm/v1
kind: ElevationSettingsPolicy
metadata: {name: workstations}
spec:
  defaultResponse: SUPPORT_APPROVED
  assignments: {include: [{group: all-devices}]}
---
apiVersion: openepm/v1
kind: RoleAssignment
metadata: {name: approvers}
spec: {role: Elevation Approver, members: ["user:alice", "user:carol", "user:dave"]}
---
apiVersion: openepm/v1
kind: Principal
metadata: {name: carol}
spec: {endpointUsers: [ALICE]}
"""
pytestmark = pytest.mark.xdist_group("requests")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("house")) as built:
        built.apply(DOCUMENTS)
        built.enrol("lx", "alice", "bob")
        built.run_agent("lx")
        built.wait_for("the policy", lambda: built.is_ready("lx"))
        yield built


@pytest.fixture(scope="module")
def tokens(house: Installation) -> dict[str, str]:
    """Give tokens of the approvers, which the policy service has heard of."""
    made = {
        name: house.must("epm", "token", "create", "--principal", f"user:{name}", "--output", "json").json()["secret"]
        for name in ("alice", "carol", "dave")
    }
    house.wait_for("the rights", lambda: all(answers(house, token, "list").code == 0 for token in made.values()))
    return made


def asks(house: Installation, path: str, user: str = "alice") -> str:
    """Ask the support to elevate a file, and return the request as an approver sees it."""
    known = {found["id"] for found in listed(house)}
    house.elevate("lx", user, path, "-n", options=("--justification", "for the printer", "--answer-confirm"))

    def find() -> str:
        return next((found["id"] for found in listed(house) if found["id"] not in known), "")

    return house.wait_for("the request", find)


def listed(house: Installation, *options: str) -> list[Any]:
    found: list[Any] = house.must("epm", "requests", "list", *options, "--output", "json").json()
    return found


def answers(house: Installation, token: str, *words: str) -> Done:
    """Answer as somebody else than the Owner."""
    return house.run("epm", "requests", *words, EPM_SERVER=house.server, EPM_CA=str(house.ca), EPM_TOKEN=token)


def shown(house: Installation, request: str) -> Any:
    return house.must("epm", "requests", "show", request, "--output", "json").json()["request"]


def told(house: Installation, request: str, state: str, user: str = "alice") -> Any:
    """Return what the user is told, once the device has heard that the request stands so."""

    def find() -> Any:
        words = ("--as", user, "--state-dir", house.state("lx"), "--output", "json")
        mine = house.must("epm-agent", "requests", *words).json()
        return next((each for each in mine if (each["id"], each["state"]) == (request, state)), None)

    return house.wait_for(f"that the device hears of {state}", find)


def test_an_approval_lets_the_user_elevate_and_everybody_sees_what_became_of_it(
    house: Installation, tokens: dict[str, str]
) -> None:
    request = asks(house, "/usr/bin/env")
    before = shown(house, request)
    assert (before["state"], before["user"], before["deviceName"]) == ("PENDING", "alice", "lx")
    assert (before["justification"], before["arguments"]) == ("for the printer", ["-n"])
    assert before["file"]["sha256"]
    approval = ("--for", "8h", "--uses", "1", "--reason", "ticket 7")
    approved = answers(house, tokens["dave"], "approve", request, *approval)
    assert (approved.code, approved.output.startswith("approved  alice on lx: /usr/bin/env\n")) == (0, True)
    assert told(house, request, "APPROVED")["reason"] == "ticket 7"
    assert house.elevate("lx", "alice", "/usr/bin/env", "-n")["decision"]["source"] == "GRANT"
    house.wait_for("the use", lambda: shown(house, request)["state"] == "COMPLETED")
    after = shown(house, request)
    assert (after["review"]["reviewer"], after["review"]["reason"]) == ("user:dave", "ticket 7")
    assert (after["access"]["maxUses"], after["access"]["uses"]) == (1, 1)
    text = house.must("epm", "requests", "show", request).output
    assert "1 of 1" in text
    in_the_report(house, request)
    recorded = house.must("epm", "audit", "list", "--target", request, "--output", "json").json()
    actions = {record["action"].removeprefix("elevation_request_") for record in recorded}
    assert actions == {"submitted", "approved", "completed"}
    assert request in house.must("epm", "requests", "list").output


def in_the_report(house: Installation, request: str) -> None:
    """Find what the request is about in the report: the attempt that led to it, and the one that used it."""
    shown_uses = house.must("epm", "requests", "show", request, "--output", "json").json()
    asking = shown_uses["request"]["attemptId"]
    [use] = shown_uses["uses"]
    command = ("epm", "report", "elevations", "--request", request)

    def both() -> list[Any]:
        found: list[Any] = house.must(*command, "--output", "json").json()
        return found if len(found) > 1 else []

    used, asked = house.wait_for("both attempts", both)
    assert (used["attemptId"], used["decided"]["result"]) == (use["attemptId"], "ELEVATED")
    assert used["decided"]["grantId"] == request
    assert request in used["decided"]["reason"]
    assert (asked["attemptId"], asked["decided"]["result"]) == (asking, "APPROVAL_REQUIRED")
    text = house.must("epm", "requests", "show", request).output
    assert f"by attempt {use['attemptId']}" in text
    assert " ".join(command) in text
    rows = house.must(*command, "--output", "csv").output.splitlines()[1:]
    assert [asking in row for row in rows] == [False, True]
    summary = house.must("epm", "report", "summary", "--request", request, "--output", "json").json()
    assert summary["total"] == 2


def test_a_denial_tells_the_user_why_and_comes_once(house: Installation, tokens: dict[str, str]) -> None:
    request = asks(house, "/usr/bin/sort")
    assert answers(house, tokens["dave"], "deny", request).code == 2
    assert answers(house, tokens["dave"], "deny", request, "--reason", "ask on Monday").code == 0
    assert "ask on Monday" in told(house, request, "DENIED")["message"]
    late = house.run("epm", "requests", "approve", request)
    assert late.code == 1
    assert "user:dave" in late.errors
    assert [found["id"] for found in listed(house, "--state", "DENIED", "--filter", 'user = "alice"')] == [request]


@pytest.mark.parametrize("approver", ["alice", "carol"])
def test_nobody_answers_their_own_be_it_by_name_or_by_record(
    house: Installation, tokens: dict[str, str], approver: str
) -> None:
    request = asks(house, f"/usr/bin/{'head' if approver == 'alice' else 'tail'}")
    refused = answers(house, tokens[approver], "approve", request)
    assert (refused.code, refused.output) == (1, "")
    assert "their own request" in refused.errors
    assert answers(house, tokens[approver], "deny", request, "--reason", "no").code == 1
    assert shown(house, request)["state"] == "PENDING"
    other = asks(house, f"/usr/bin/{'head' if approver == 'alice' else 'tail'}", user="bob")
    assert answers(house, tokens[approver], "approve", other).code == 0


def test_an_approval_is_taken_back_while_somebody_watches(house: Installation, tokens: dict[str, str]) -> None:
    watching = house.start("watch", "epm", "requests", "watch", "--output", "json")
    request = asks(house, "/usr/bin/uniq")

    def states() -> list[str]:
        whole = watching.output.read_text(encoding="utf-8").rpartition("\n")[0]
        seen = map(json.loads, whole.splitlines())
        return [each["state"] for each in seen if each["id"] == request]

    def seen(state: str) -> None:
        house.wait_for(f"a line of {state}", lambda: states()[-1:] == [state])

    seen("PENDING")
    assert answers(house, tokens["dave"], "approve", request).code == 0
    seen("APPROVED")
    told(house, request, "APPROVED")
    assert answers(house, tokens["dave"], "revoke", request, "--reason", "a mistake").code == 0
    seen("REVOKED")
    assert "a mistake" in told(house, request, "REVOKED")["message"]
    watching.kill()
    house.programs.pop("watch")


def test_a_request_becomes_a_rule(house: Installation) -> None:
    request = asks(house, "/usr/bin/cut")
    command = ("epm", "rule", "propose", "--request", request, "--elevation-type", "DENY", "--output", "json")
    proposed = house.must(*command).json()
    assert proposed["rule"]["elevationType"] == "DENY"
    assert proposed["rule"]["detection"]["fileHash"] == shown(house, request)["file"]["sha256"]
    assert f"request {request}" in proposed["rule"]["description"]


def test_what_is_approved_again_and_again_is_offered_as_a_rule(house: Installation, tokens: dict[str, str]) -> None:
    asked = [asks(house, "/usr/bin/fold", user) for user in ("alice", "bob")]
    for request in asked:
        assert answers(house, tokens["dave"], "approve", request).code == 0
    request = asked[-1]
    file = shown(house, request)["file"]
    found = house.must("epm", "requests", "candidates", "--output", "json").json()
    [offered] = [each for each in found if each["file"]["sha256"] == file["sha256"]]
    assert (offered["approvals"], offered["users"], offered["requestId"]) == (2, 2, request)
    proposed = house.must(*offered["command"].split(), "--output", "json").json()
    assert proposed["rule"]["detection"]["fileHash"] == offered["rule"]["detection"]["fileHash"] == file["sha256"]
    assert [each["id"] for each in offered["findings"]] == [each["id"] for each in proposed["findings"]]
    line = next(line for line in house.must("epm", "requests", "candidates").output.splitlines() if request in line)
    assert offered["command"] in line
