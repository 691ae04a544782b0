"""What the child that reads hostile files gives up, seen from inside of it."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent_stub.inspection.lockdown import CPU_SECONDS, MEMORY_BASE, MEMORY_PER_BYTE, NOBODY

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, who alone has something to give up")
INSIDE = """
import json, os, resource, socket, sys
from agent_stub.inspection.lockdown import lock_down
lock_down(1000)
def tries(action):
    try:
        action()
    except (OSError, MemoryError, ValueError) as error:
        return type(error).__name__
    return "done"
def network():
    with socket.socket() as probe:
        probe.connect(("127.0.0.1", int(sys.argv[1])))
print(json.dumps({
    "users": [*os.getresuid(), *os.getresgid()], "groups": os.getgroups(),
    "limits": [resource.getrlimit(kind)[1] for kind in (resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_FSIZE)],
    "root": tries(lambda: os.setuid(0)), "secret": tries(lambda: open("/etc/shadow")),
    "raise": tries(lambda: resource.setrlimit(resource.RLIMIT_CPU, (60, 60))),
    "first_to_go": open("/proc/self/oom_score_adj").read(),
    "memory": tries(lambda: bytearray(2 << 30)), "network": tries(network),
    "privileges": [line.split()[1] for line in open("/proc/self/status") if line.startswith("NoNewPrivs")],
}))
"""
UNREADABLE = """
import os, sys
from agent_stub.inspection.opened import EvidenceError, opened
from agent_stub.model import Rights
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    with opened(sys.argv[1], Rights(os.geteuid(), os.getegid())):
        print("opened")
except EvidenceError as error:
    print(error)
"""


def inside(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def found(listening_port: int) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(inside(INSIDE, str(listening_port)))
    return result


@pytest.fixture
def listening_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_time_memory_and_writing_are_limited_for_good(found: dict[str, Any]) -> None:
    assert found["limits"] == [CPU_SECONDS, MEMORY_BASE + MEMORY_PER_BYTE * 1000, 0]
    assert (found["memory"], found["raise"], found["privileges"]) == ("MemoryError", "ValueError", ["1"])


def test_a_machine_that_runs_out_of_memory_ends_the_child_first(found: dict[str, Any]) -> None:
    assert found["first_to_go"] == "1000\n"


@as_root
def test_a_child_of_root_is_nobody_without_a_network_and_cannot_go_back(found: dict[str, Any]) -> None:
    assert (found["users"], found["groups"]) == ([NOBODY] * 6, [])
    assert (found["root"], found["secret"]) == ("PermissionError", "PermissionError")
    assert found["network"] == "OSError"


def test_a_file_that_the_agent_may_not_read_is_refused_as_that(tmp_path: Path) -> None:
    (tmp_path / "secret").touch(mode=0)
    assert inside(UNREADABLE, str(tmp_path / "secret")) == "its user or the agent may not read it\n"
