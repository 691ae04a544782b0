"""What is approved runs as often as it was approved, on a device that is killed, away and waits, over the real server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.builders.installation import PATIENCE, Installation, installation

DOCUMENTS = """
apiVersion: openepm/v1
kind: ElevationSettingsPolicy
metadata: {name: workstations}
spec:
  defaultResponse: SUPPORT_APPROVED
  assignments: {include: [{group: all-devices}]}
"""
FORBIDDEN = """
apiVersion: openepm/v1
kind: ElevationRulesPolicy
metadata: {name: forbidden}
spec:
  platform: LINUX
  rules:
    - {name: logname, elevationType: DENY, detection: {fileName: logname, filePath: /usr/bin}}
  assignments: {include: [{group: all-devices}]}
"""
NO_AGENT = 4
WILLING = ("--answer-confirm", "--justification", "to work")
pytestmark = pytest.mark.xdist_group("grants")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with installation(tmp_path_factory.mktemp("house")) as built:
        built.apply(DOCUMENTS)
        built.enrol("lx", "alice", "bob")
        built.run_agent("lx")
        built.wait_for("the policy", lambda: built.is_ready("lx"))
        yield built


@pytest.fixture(autouse=True)
def settled(house: Installation) -> None:
    """Wait until the device has found the server that another test started again, and has told it of all uses."""

    def found() -> bool:
        status = house.status("lx")
        return all(link["connected"] for link in status["links"].values()) and not status["grantUses"]["waiting"]

    house.wait_for("the links", found)


def told(house: Installation, name: str) -> Any:
    """Return the status of an agent; nothing while it does not answer."""
    done = house.run("epm-agent", "status", "--state-dir", house.state(name), "--output", "json")
    return done.json() if done.code == 0 else {}


def elevates(house: Installation, file: str, user: str = "alice") -> Any:
    return house.elevate("lx", user, file, "-n", options=WILLING)


def asks(house: Installation, file: str) -> str:
    answer = elevates(house, file)
    assert (answer["result"], bool(answer["requestId"])) == ("APPROVAL_REQUIRED", True), answer["message"]
    return str(answer["requestId"])


def own(house: Installation, request: str, user: str = "alice") -> Any:
    words = ("--as", user, "--state-dir", house.state("lx"), "--output", "json")
    mine = house.must("epm-agent", "requests", *words).json()
    return next((each for each in mine if each["id"] == request), None)


def usable(house: Installation, request: str) -> None:
    house.wait_for("the grant", lambda: own(house, request)["usable"])


def state(house: Installation, request: str) -> str:
    shown = house.must("epm", "requests", "show", request, "--output", "json").json()
    return str(shown["request"]["state"])


def launches(house: Installation, file: str) -> int:
    record: Path = house.state("lx") / "launches.jsonl"
    return record.read_text(encoding="utf-8").count(Path(file).resolve().name) if record.exists() else 0


def test_what_is_approved_once_runs_once_and_then_the_support_is_asked_again(house: Installation) -> None:
    request = asks(house, "/usr/bin/tty")
    assert own(house, request)["state"] == "PENDING"
    assert own(house, request, "bob") is None
    house.must("epm", "requests", "approve", request, "--uses", "1")
    usable(house, request)
    used = elevates(house, "/usr/bin/tty")
    assert (used["result"], used["decision"]["source"]) == ("ELEVATED", "GRANT")
    again = elevates(house, "/usr/bin/tty")
    assert (again["result"], again["requestId"] not in {"", None, request}) == ("APPROVAL_REQUIRED", True)
    house.wait_for("the use", lambda: state(house, request) == "COMPLETED")
    assert own(house, request)["message"].endswith(", once; all uses are spent")
    assert launches(house, "/usr/bin/tty") == 1


def test_a_denied_user_reads_the_reason_with_the_next_attempt(house: Installation) -> None:
    request = asks(house, "/usr/bin/nproc")
    house.must("epm", "requests", "deny", request, "--reason", "ask on Monday")
    kept = house.state("lx") / "requests.json"
    house.wait_for("the outcome", lambda: "ask on Monday" in kept.read_text(encoding="utf-8"))
    news = elevates(house, "/usr/bin/nproc")["news"]
    assert [(each["id"], each["message"]) for each in news] == [(request, "denied: ask on Monday")]


def test_whoever_waits_runs_as_soon_as_the_support_says_yes(house: Installation) -> None:
    waiting = house.start(
        "waiting", "epm-agent", "elevate", "--wait", "--as", "alice", *WILLING,
        "--state-dir", house.state("lx"), "/usr/bin/yes", "--", "-n",
    )  # fmt: skip
    house.programs.pop("waiting")  # it ends by itself, and may

    def pending() -> str:
        words = ("list", "--state", "PENDING", "--output", "json")
        found = house.must("epm", "requests", *words).json()
        return next((each["id"] for each in found if each["file"]["path"].endswith("yes")), "")

    house.must("epm", "requests", "approve", house.wait_for("the request", pending))
    assert waiting.process.wait(PATIENCE) == 0
    assert launches(house, "/usr/bin/yes") == 1


def test_a_use_is_counted_once_though_server_and_agent_are_killed(house: Installation) -> None:
    request = asks(house, "/usr/bin/uname")
    house.must("epm", "requests", "approve", request, "--uses", "2")
    usable(house, request)
    house.programs.pop("server").kill()
    assert elevates(house, "/usr/bin/uname")["result"] == "ELEVATED"
    house.programs.pop("lx").kill()
    house.run_agent("lx")
    house.wait_for("the agent", lambda: house.is_ready("lx"))
    assert house.status("lx")["grantUses"]["waiting"] == 1
    assert elevates(house, "/usr/bin/uname")["result"] == "ELEVATED"
    away = elevates(house, "/usr/bin/uname")
    assert (away["result"], away["requestId"]) == ("APPROVAL_REQUIRED", None)
    assert "the support was not asked: the server does not answer" in away["message"]
    house.serve()
    house.wait_for("the uses", lambda: state(house, request) == "COMPLETED")
    house.wait_for("the acknowledgement", lambda: house.status("lx")["grantUses"]["waiting"] == 0)
    assert launches(house, "/usr/bin/uname") == 2


def test_a_revoked_approval_runs_nothing_more(house: Installation) -> None:
    request = asks(house, "/usr/bin/users")
    house.must("epm", "requests", "approve", request)
    usable(house, request)
    assert elevates(house, "/usr/bin/users")["result"] == "ELEVATED"
    house.must("epm", "requests", "revoke", request, "--reason", "a mistake")
    house.wait_for("the word of it", lambda: own(house, request)["state"] == "REVOKED")
    house.wait_for("the end", lambda: elevates(house, "/usr/bin/users")["result"] == "APPROVAL_REQUIRED")
    assert "a mistake" in own(house, request)["message"]


def test_a_rule_that_denies_stops_what_was_approved_and_what_is_asked_afterwards(house: Installation) -> None:
    request = asks(house, "/usr/bin/logname")
    house.must("epm", "requests", "approve", request)
    usable(house, request)
    assert elevates(house, "/usr/bin/logname")["decision"]["source"] == "GRANT"
    house.apply(FORBIDDEN)
    house.must("epm", "rollout", "status", "forbidden", "--watch", "--timeout", "30s")
    denied = elevates(house, "/usr/bin/logname")
    assert (denied["result"], denied["decision"]["source"], denied["requestId"]) == ("DENIED", "RULE", None)
    assert state(house, request) == "APPROVED"
    assert launches(house, "/usr/bin/logname") == 1


def test_a_user_takes_a_request_back_and_nobody_elses(house: Installation) -> None:
    request = asks(house, "/usr/bin/who")
    words = ("requests", "cancel", request, "--state-dir", house.state("lx"), "--as")
    assert house.run("epm-agent", *words, "bob").code == 1
    assert state(house, request) == "PENDING"
    assert house.run("epm-agent", *words, "alice").code == 0
    assert state(house, request) == "CANCELLED"


def test_a_device_that_was_retired_while_it_was_away_elevates_by_no_grant(house: Installation) -> None:
    house.enrol("away", "alice")
    house.run_agent("away")
    house.wait_for("the policy", lambda: house.is_ready("away"))
    attempt = ("alice", "/usr/bin/env", "-i")
    request = house.elevate("away", *attempt, options=WILLING)["requestId"]
    house.must("epm", "requests", "approve", request)
    house.wait_for("the grant", lambda: house.elevate("away", *attempt, options=WILLING)["result"] == "ELEVATED")
    house.programs.pop("away").kill()
    house.must("epm", "devices", "retire", "away", "--reason", "sold")
    house.run_agent("away")
    house.wait_for("the farewell", lambda: "RETIRED" in str(told(house, "away").get("links")))
    house.wait_for("the removal", lambda: not told(house, "away")["component"]["stands"])
    words = ("--state-dir", house.state("away"), "--as", "alice", *WILLING, "/usr/bin/env", "--", "-i")
    assert house.run("epm-agent", "elevate", *words).code == NO_AGENT
    house.programs.pop("away").kill()
    house.programs.pop("server").kill()
    house.run_agent("away")
    house.wait_for("the agent", lambda: told(house, "away"))
    assert not told(house, "away")["policy"]["enabled"]
    assert house.run("epm-agent", "elevate", *words).code == NO_AGENT
    house.serve()
