"""Measure the agent: the memory of one that is connected and holds a policy, and the time from `elevate` to the result.

The agent is the real command, enrolled and connected by mutual TLS to servers on loopback. Beside it, in the same run, a
bare grpc.aio client that holds the same stream, with structlog and cryptography loaded: what any Python agent costs. Memory
is that of the processes that stay, so the short-lived child that reads a file is not in it; RSS counts every page, PSS
shares those that other processes map too. Run by `make bench` or `python benchmarks/agent.py [--rules N] [--attempts N]`.
Writes results/agent.json.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter

import pip

from agent_stub.control.client import ask
from elevation.document import PolicyDocument
from elevation.model import (
    ChildProcesses,
    DefaultResponse,
    Detection,
    ElevationType,
    Platform,
    Rule,
    RulesPolicy,
    Settings,
)
from tests.fakes.agent import document
from tests.fakes.agent_servers import FakeServers

RESULTS = Path(__file__).resolve().parent / "results" / "agent.json"
AIM_MB = 70
RULES_A_POLICY = 100
PATIENCE = 60.0
AGENT = str(Path(sys.executable).parent / "epm-agent")
WINDOWS_PROGRAM = Path(pip.__file__).parent / "_vendor" / "distlib" / "t64.exe"
BARE = """
import asyncio, sys
from pathlib import Path
import cryptography.x509, grpc.aio, structlog
from cryptography.hazmat.primitives import serialization
from epm.policy.v1 import agent_pb2, agent_pb2_grpc

async def main(address, folder):
    key, certificate, ca = ((folder / name).read_bytes() for name in ("key.pem", "certificate.pem", "ca.pem"))
    credentials = grpc.ssl_channel_credentials(ca, key, certificate)
    async with grpc.aio.secure_channel(address, credentials) as channel:
        call = agent_pb2_grpc.PolicyStreamServiceStub(channel).StreamPolicy()
        await call.write(agent_pb2.StreamPolicyRequest(hello=agent_pb2.Hello()))
        await call.read()
        structlog.get_logger().info("connected")
        await call.read()

asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
"""


def big_document(rules: int) -> PolicyDocument:
    """Make a policy of many rules, each with a hash, a folder and argument lists, and a default response that elevates."""
    made = [
        Rule(
            name=f"rule-{number}",
            elevation_type=ElevationType.USER_CONFIRMED,
            detection=Detection(file_name=f"tool{number}", file_path="/opt/tools", file_hash=f"{number:064x}"),
            arguments=("--quiet", "--quiet --norestart"),
            child_processes=ChildProcesses.REQUIRE_RULE,
        )
        for number in range(rules)
    ]
    policies = [
        RulesPolicy(f"policy-{start}", Platform.LINUX, tuple(made[start : start + RULES_A_POLICY]))
        for start in range(0, rules, RULES_A_POLICY)
    ]
    return document(*policies, settings=Settings(default_response=DefaultResponse.USER_CONFIRMED))


@asynccontextmanager
async def started(*command: str, says: str) -> AsyncIterator[int]:
    """Run a command, wait for a line of its log, and give its process id."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EPM_")}
    process = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment | {"EPM_AGENT_UNSAFE": "1"},
    )
    try:
        await wait_for_line(process, says)
        yield process.pid
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()


async def wait_for_line(process: asyncio.subprocess.Process, says: str) -> None:
    """Read what a process says until the words come; raise RuntimeError if it ends first."""
    if process.stdout is None:
        raise RuntimeError("the process has no output")
    said = []
    async with asyncio.timeout(PATIENCE):
        while line := (await process.stdout.readline()).decode():
            said.append(line)
            if says in line:
                return
    raise RuntimeError(f"the process ended without saying {says!r}: {''.join(said)}")


async def run(*command: str, typed: str = "") -> None:
    """Run a command to its end; raise RuntimeError where it fails."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate(typed.encode())
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed: {output.decode()}")


def memory(pid: int) -> dict[str, float]:
    """Give the megabytes of a process and of all below it."""
    total = {"rss": 0.0, "pss": 0.0}
    for one in (pid, *descendants(pid)):
        for line in Path(f"/proc/{one}/smaps_rollup").read_text(encoding="ascii").splitlines():
            name = line.partition(":")[0].lower()
            if name in total:
                total[name] += int(line.split()[1]) / 1024
    return total


def descendants(pid: int) -> Iterator[int]:
    """Find all processes below one."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text(encoding="ascii").split()):
            yield child
            yield from descendants(child)


async def timings(state: Path, file: Path, attempts: int) -> dict[str, float]:
    """Time attempts at the whole command and at the socket alone, in turns; give the medians in milliseconds."""
    options = ["--state-dir", str(state), "--as", "alice", "--answer-confirm"]
    request = {"do": "elevate", "file": str(file), "arguments": [], "stated": {"user": "alice"}}
    command, at_socket = [], []
    for _ in range(attempts):
        start = perf_counter()
        await run(AGENT, "elevate", *options, str(file))
        command.append(perf_counter() - start)
        start = perf_counter()
        answer = await asyncio.to_thread(ask, state / "agent.sock", request, Yes())
        at_socket.append(perf_counter() - start)
        if answer["result"] != "ELEVATED":
            raise RuntimeError(f"{file} was not elevated: {answer['message']}")
    return {
        "command_ms": statistics.median(command) * 1000,
        "socket_ms": statistics.median(at_socket) * 1000,
    }


class Yes:
    """Somebody who says yes at once."""

    def confirm(self, file: str, reason: str) -> bool:
        """Agree."""
        del file, reason
        return True

    def justification(self, problem: str) -> str:
        """Give a reason."""
        return problem or "to work"

    def approval(self, file: str, reason: str) -> bool:
        """Agree."""
        return self.confirm(file, reason)


async def measure(folder: Path, *, rules: int, attempts: int) -> dict[str, object]:
    """Measure an agent and a bare client against the same servers."""
    state = folder / "state"
    script = folder / "script"
    script.write_text("#!/bin/sh\n", encoding="utf-8")
    program = folder / "t64.exe"
    program.write_bytes(WINDOWS_PROGRAM.read_bytes())
    async with FakeServers().running() as servers:
        (folder / "ca.pem").write_bytes(servers.installation.authority.pem)
        where = ["--server", servers.public_address, "--ca", str(folder / "ca.pem"), "--state-dir", str(state)]
        await run(AGENT, "enroll", *where, "--name", "bench", "--token-file", "-", typed=servers.device.token)
        now = datetime.now(UTC)
        servers.policy.offer(
            servers.installation.offer(big_document(rules), issued=now, expires=now + timedelta(days=1))
        )
        agent = [AGENT, "run", "--state-dir", str(state), "--unsafe-stated-identity"]
        async with started(*agent, says="component_provisioned") as pid:
            before = memory(pid)
            times = {
                "program of the system, remembered": await timings(state, Path("/usr/bin/env"), attempts),
                "script of a user, read each time": await timings(state, script, attempts),
                "Windows program, parsed each time": await timings(state, program, attempts),
            }
            after = memory(pid)
        bare = [sys.executable, "-c", BARE, servers.mesh_address, str(state)]
        async with started(*bare, says="connected") as pid:
            alone = memory(pid)
    return {
        "rules": rules,
        "attempts": attempts,
        "aim_mb": AIM_MB,
        "bare_client_mb": alone,
        "agent_with_policy_mb": before,
        "agent_after_attempts_mb": after,
        "elevate": times,
    }


def show(found: dict[str, object]) -> None:
    """Print the tables."""
    print(f"{'memory of what stays, MB':<44}{'RSS':>8}{'PSS':>8}")
    rows = {
        "bare_client_mb": "bare grpc.aio, structlog, cryptography",
        "agent_with_policy_mb": f"agent with {found['rules']} rules (aim: {AIM_MB})",
        "agent_after_attempts_mb": "the same after its attempts",
    }
    for key, name in rows.items():
        figures = found[key]
        if isinstance(figures, dict):
            print(f"{name:<44}{figures['rss']:>8.1f}{figures['pss']:>8.1f}")
    print(f"\n{'from `elevate` to the result, ms (median)':<44}{'command':>8}{'socket':>8}")
    times = found["elevate"]
    if isinstance(times, dict):
        for name, figures in times.items():
            print(f"{name:<44}{figures['command_ms']:>8.0f}{figures['socket_ms']:>8.1f}")


def main() -> None:
    """Measure, print the tables, keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rules", type=int, default=1_000)
    parser.add_argument("--attempts", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(measure(Path(folder), rules=options.rules, attempts=options.attempts))
    show(found)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
