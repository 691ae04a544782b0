"""What the faults have in common: policies to give out, and what is told of devices and rollouts."""

import signal
from typing import Any

from agent_stub.policy.keeper import POLICY
from epm.policy.v1 import agent_pb2
from tests.builders.installation import PATIENCE, Installation
from tests.faults.hooks import wrap

NAME = "ws-1"
SETTINGS = """
apiVersion: openepm/v1
kind: ElevationSettingsPolicy
metadata: {name: workstations}
spec: {defaultResponse: %s, staleAfter: P30D, assignments: {include: [{group: all-devices}]}}
"""
FILE = "/usr/bin/env"


def settings(response: str) -> str:
    """Give a policy by which every attempt that no rule knows is answered so."""
    return SETTINGS % response


def rollout(house: Installation) -> Any:
    """Give the counts of the policy's newest revision."""
    return house.must("epm", "rollout", "status", "workstations", "--output", "json").json()


def arrive(house: Installation) -> None:
    """Wait until every device applied the policy's newest revision."""
    house.wait_for("the policy", lambda: house.rolled_out("workstations"))
    house.wait_for("the agent", lambda: house.is_ready(NAME))


def delivery(house: Installation) -> Any:
    """Give what the server knows of the device's policy."""
    (found,) = house.must("epm", "rollout", "devices", "workstations", "--output", "json").json()
    return found


def refused(house: Installation) -> str:
    """Wait until the device refused its policy, and give why."""
    found = house.wait_for("the refusal", lambda: (told := delivery(house))["state"] == "REJECTED" and told)
    (reason,) = found["rejections"]
    return str(reason)


def device(house: Installation, name: str = NAME) -> Any:
    """Give what the server knows of a device."""
    return house.must("epm", "devices", "show", name, "--output", "json").json()


def held(house: Installation) -> int:
    """Give the revision that the agent has in force; 0 for none."""
    return house.status(NAME)["policy"]["revision"] or 0


def stored(house: Installation) -> bytes:
    """Return the document that the agent's disk holds."""
    return agent_pb2.Offer.FromString((house.state(NAME) / POLICY).read_bytes()).document


def decided(house: Installation) -> str:
    """Give what the agent decides by its policy."""
    return str(house.elevate(NAME, "alice", FILE, options=["--answer-confirm"])["result"])


def answers(house: Installation) -> bool:
    """Tell whether the agent answers."""
    return house.run("epm-agent", "status", "--state-dir", house.state(NAME)).code == 0


def said(house: Installation, words: str, name: str = NAME) -> int:
    """Count the lines of a program's log with these words; the log goes on when the program is started again."""
    return (house.folder / f"{name}.log").read_text(encoding="utf-8").count(words)


def killed(house: Installation, name: str) -> None:
    """Wait until a program has killed itself."""
    program = house.programs.pop(name)
    assert program.process.wait(PATIENCE) == -signal.SIGKILL, program.log.read_text(encoding="utf-8")


def serve_to_die(house: Installation, *point: str) -> None:
    """Serve until the point is reached."""
    if server := house.programs.pop("server", None):
        server.kill()
    house.wraps["server"] = wrap("die_in", *point)
    house.serve()


def serve_again(house: Installation) -> None:
    """Serve as ever."""
    del house.wraps["server"]
    house.serve()
