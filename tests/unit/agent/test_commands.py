"""`epm-agent` as its users meet it: what it prints and how it ends."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agent_stub import main as program
from agent_stub.control.lines import LINE_LIMIT
from agent_stub.control.server import ControlServer
from agent_stub.identity import SystemIdentity, UnsafeStatedIdentity
from agent_stub.model import Answer, Origin, Question, Result
from agent_stub.ports import Prompter
from agent_stub.system import VERSION
from elevation.model import Decision, FileEvidence, Outcome, Platform, Source
from elevation.reasons import Cause
from tests.fakes.agent import DEVICE_ID
from tests.fakes.agent_servers import FakeServers
from tests.unit.agent.programs import agent, at_a_terminal

STATUS = {
    "device": {"id": "d", "name": "ws-17", "tenant": "epm.test"},
    "policy": {"revision": 3, "sha256": "ab" * 32, "enabled": True, "confirmed": None},
    "component": {"stands": True, "problem": ""},
    "certificate": {
        "expires": "2027-01-01",
        "renewal": "2026-12-01",
        "problem": "the certificate was not renewed: gone",
    },
    "links": {
        "policy": {"connected": False, "problem": "UNAVAILABLE: gone"},
        "events": {"connected": True, "problem": ""},
        "check-in": {"connected": True, "problem": "", "lastAnswered": "2026-11-24T12:00:00+00:00"},
        "lost": {"connected": False, "problem": "gone", "lastAnswered": "2026-11-24T12:00:00+00:00"},
    },
    "eventsWaiting": 2,
    "unsafeStatedIdentity": False,
}
CODES = {Result.ELEVATED: program.ELEVATED, Result.NOT_MANAGED: program.NOT_MANAGED}


class Fake:
    """An agent that answers as told."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "agent.sock"
        self.result = Result.ELEVATED
        self.message = "elevated: because"
        self.asks = False
        self.replies: list[object] = []
        self.asked: list[tuple[str, tuple[str, ...], Origin]] = []

    async def elevate(self, file: str, arguments: tuple[str, ...], origin: Origin, prompter: Prompter) -> Answer:
        self.asked.append((file, arguments, origin))
        if self.asks:
            question = Question(file, arguments, frozenset(), "rule \x1b[2J asks")
            self.replies += [await prompter.confirm(question), await prompter.justification("")]
        decision = Decision(Outcome.ELEVATE, Source.RULE, Cause.AUTOMATIC, policy="p", rule="r")
        return Answer("id-1", decision, self.result, self.message, FileEvidence(path=file))

    def server(self, *, unsafe: bool = False) -> ControlServer:
        system = SystemIdentity(Platform.LINUX)
        identities = UnsafeStatedIdentity(system, Platform.LINUX, {}) if unsafe else system
        return ControlServer(self.elevate, lambda: STATUS, identities)


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[Fake]:
    found = Fake(tmp_path)
    async with found.server().listening(found.socket):
        yield found


@pytest.mark.parametrize("result", list(Result))
async def test_the_exit_status_tells_how_an_attempt_went(fake: Fake, result: Result) -> None:
    fake.result, fake.message = result, "so it went"
    done = await agent("elevate", "--socket", fake.socket, "/x", "--", "-v", "--socket")
    assert done.code == CODES.get(result, program.NOT_ELEVATED)
    assert (done.output if result is Result.ELEVATED else done.errors) == "so it went\n"
    assert [(file, arguments) for file, arguments, _ in fake.asked] == [("/x", ("-v", "--socket"))]


async def test_an_answer_can_be_had_as_json(fake: Fake) -> None:
    done = await agent("elevate", "--socket", fake.socket, "--output", "json", "/x")
    answer = json.loads(done.output)
    assert (answer["attemptId"], answer["result"], answer["decision"]["rule"]) == ("id-1", "ELEVATED", "r")


async def test_a_long_answer_arrives_whole(fake: Fake) -> None:
    fake.message = "x" * (2 * LINE_LIMIT)
    done = await agent("elevate", "--socket", fake.socket, "/x")
    assert (done.code, len(done.output)) == (0, 2 * LINE_LIMIT + 1)


async def test_a_message_does_not_write_on_the_terminal_what_it_wants(fake: Fake) -> None:
    fake.message = "elevated: \x1b[2J \udcff"
    done = await agent("elevate", "--socket", fake.socket, "/x")
    assert (done.code, done.output) == (0, "elevated: \\x1b[2J \\udcff\n")


async def test_a_relative_file_is_meant_from_here(fake: Fake) -> None:
    await agent("elevate", "--socket", fake.socket, "tool")
    assert fake.asked[0][0] == f"{os.getcwd()}/tool"  # noqa: PTH109 - as a text


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--as", "root"], "this agent takes its callers from the operating system"),
        (["--parent", "p"], "--parent: give it as POLICY/RULE"),
        (["--answer-confirm"], "--answer-confirm and --justification are for unsafe agents"),
        (["--trigger", "DREAM"], "Invalid value for '--trigger'"),
        (["--nonsense"], "No such option"),
    ],
)
async def test_bad_input_ends_with_2_and_says_what_is_bad(fake: Fake, options: list[str], problem: str) -> None:
    done = await agent("elevate", "--socket", fake.socket, *options, "/x")
    assert (done.code, fake.asked) == (program.BAD_INPUT, [])
    assert problem in done.errors
    assert "Traceback" not in done.errors


async def test_arguments_that_are_too_long_are_bad_input(fake: Fake) -> None:
    done = await agent("elevate", "--socket", fake.socket, "/x", "--", "x" * 100_000, "x" * 100_000, "x" * 100_000)
    assert (done.code, fake.asked) == (program.BAD_INPUT, [])
    assert "file and arguments are longer than" in done.errors


@pytest.mark.parametrize("command", [["elevate", "/x"], ["status"]])
async def test_without_an_agent_the_status_is_4_and_the_remedy_is_named(tmp_path: Path, command: list[str]) -> None:
    done = await agent(*command, "--state-dir", tmp_path)
    assert done.code == program.NO_AGENT
    assert f"no agent answers at {tmp_path}/agent.sock" in done.errors
    assert "start it by `epm-agent run`" in done.errors


async def test_without_a_terminal_nobody_consents(fake: Fake) -> None:
    fake.asks, fake.result = True, Result.CANCELLED
    done = await agent("elevate", "--socket", fake.socket, "/x", typed="y\nto work\n")
    assert (done.code, fake.replies) == (program.NOT_ELEVATED, [None, None])
    assert "standard input is no terminal" in done.errors


async def test_the_person_at_the_terminal_is_asked(fake: Fake) -> None:
    fake.asks = True
    done = await at_a_terminal("elevate", "--socket", fake.socket, "/x", typed="y\nto work\n")
    assert (done.code, done.output, fake.replies) == (0, "elevated: because\n", [True, "to work"])
    assert "rule \\x1b[2J asks" in done.errors
    assert "Run /x with elevated rights? [y/N]" in done.errors
    assert "Reason (up to 256 characters)" in done.errors


async def test_an_unsafe_agent_is_answered_from_the_command_line(tmp_path: Path) -> None:
    fake = Fake(tmp_path)
    fake.asks = True
    async with fake.server(unsafe=True).listening(fake.socket):
        options = ["--as", "alice", "--no-administrator", "--answer-confirm", "--justification", "to work"]
        await agent("elevate", "--socket", fake.socket, *options, "/x")
    assert fake.replies == [True, "to work"]
    assert fake.asked[0][2].subject.name == "alice"


async def test_the_status_is_shown_to_people_and_to_programs(fake: Fake) -> None:
    text = await agent("status", "--socket", fake.socket)
    assert text.output.splitlines() == [
        "device          ws-17 (d) of epm.test",
        "policy          revision 3, elevation on",
        f"policy SHA-256  {'ab' * 32}",
        "last confirmed  never",
        "component       provisioned",
        "certificate     until 2027-01-01, renewed from 2026-12-01 on; the certificate was not renewed: gone",
        "policy link     not connected: UNAVAILABLE: gone",
        "events link     connected",
        "check-in link   last answered 2026-11-24T12:00:00+00:00",
        "lost link       not connected: gone; last answered 2026-11-24T12:00:00+00:00",
        "events waiting  2",
    ]
    as_json = await agent("status", "--socket", fake.socket, "--output", "json")
    assert (as_json.code, json.loads(as_json.output)) == (0, STATUS)


@pytest.mark.parametrize(("variable", "name"), [("EPM_AGENT_STATE_DIR", ""), ("EPM_AGENT_SOCKET", "agent.sock")])
async def test_the_environment_says_where_the_agent_is(fake: Fake, variable: str, name: str) -> None:
    done = await agent("elevate", "/usr/bin/id", **{variable: str(fake.socket.parent / name)})
    assert (done.code, fake.asked[0][0]) == (program.ELEVATED, "/usr/bin/id")


async def test_an_agent_that_dies_in_the_middle_of_its_answer_is_no_agent(tmp_path: Path) -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b'{"answer": {"res')
        writer.close()

    async with await asyncio.start_unix_server(half, tmp_path / "agent.sock"):
        done = await agent("status", "--socket", tmp_path / "agent.sock")
    assert done.code == program.NO_AGENT
    assert "stopped; start it again" in done.errors


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[FakeServers]:
    async with FakeServers().running() as found:
        (tmp_path / "ca.pem").write_bytes(found.installation.authority.pem)
        yield found


def enrol(folder: Path, servers: FakeServers) -> list[str]:
    server = ["--server", servers.public_address, "--ca", f"{folder}/ca.pem"]
    return ["enroll", *server, "--name", "ws-17", "--state-dir", f"{folder}/state"]


async def test_the_token_comes_from_standard_input_a_file_or_the_environment(
    tmp_path: Path, servers: FakeServers
) -> None:
    (tmp_path / "token").write_text("good-token\n", encoding="utf-8")
    ways: list[tuple[list[str], str, dict[str, str]]] = [
        (["--token-file", "-"], "good-token\n", {}),
        (["--token-file", f"{tmp_path}/token"], "", {}),
        ([], "", {program.TOKEN_VARIABLE: "good-token"}),
    ]
    for number, (options, typed, variables) in enumerate(ways):
        state = ["--state-dir", f"{tmp_path}/state-{number}"]
        done = await agent(*enrol(tmp_path, servers), *options, *state, typed=typed, **variables)
        assert (done.code, done.output) == (0, f"enrolled ws-17 as {DEVICE_ID}; start it by `epm-agent run`\n")


@pytest.mark.parametrize(
    ("options", "code", "problem"),
    [
        ([], program.BAD_INPUT, "no enrolment token; give --token-file or EPM_ENROLMENT_TOKEN"),
        (["--token-file", "-"], program.BAD_INPUT, "no enrolment token"),
        (["--token-file", "/nowhere/token"], program.BAD_INPUT, "/nowhere/token: cannot be read"),
        (["--server", "host"], program.BAD_INPUT, "--server: 'host' is no address; give it as HOST:PORT"),
        (["--server", ""], program.BAD_INPUT, "--server: '' is no address"),
        (["--ca", "/nowhere/ca.pem"], program.BAD_INPUT, "/nowhere/ca.pem: cannot be read"),
        (["--unsafe-platform", "WINDOWS"], program.BAD_INPUT, "it needs EPM_AGENT_UNSAFE=1 in the environment too"),
    ],
)
async def test_an_enrolment_that_lacks_something_ends_with_2(
    tmp_path: Path, servers: FakeServers, options: list[str], *, code: int, problem: str
) -> None:
    done = await agent(*enrol(tmp_path, servers), *options)
    assert (done.code, servers.device.requests) == (code, [])
    assert problem in done.errors


async def test_a_wrong_token_ends_with_1_without_showing_it(tmp_path: Path, servers: FakeServers) -> None:
    done = await agent(*enrol(tmp_path, servers), "--token-file", "-", typed="secret-guess\n")
    assert done.code == program.NOT_ELEVATED
    assert "the enrolment token is not known here; ask for a new one\n" in done.errors
    assert "secret-guess" not in done.errors + done.output
    assert "Traceback" not in done.errors


@pytest.mark.parametrize(
    ("options", "code", "problem"),
    [
        ([], program.NOT_ELEVATED, "holds no enrolled device; run `epm-agent enroll` first"),
        (["--unsafe-stated-identity"], program.BAD_INPUT, "it needs EPM_AGENT_UNSAFE=1 in the environment too"),
        (["--unsafe-platform", "WINDOWS"], program.BAD_INPUT, "need --unsafe-stated-identity"),
        (["--unsafe-drive", "C:=/x"], program.BAD_INPUT, "need --unsafe-stated-identity"),
    ],
)
async def test_a_start_that_cannot_be_is_refused_in_one_line(
    tmp_path: Path, options: list[str], *, code: int, problem: str
) -> None:
    done = await agent("run", "--state-dir", tmp_path / "state", *options)
    assert done.code == code
    assert problem in done.errors
    assert len(done.errors.splitlines()) == 1


async def test_the_version_is_that_of_the_distribution() -> None:
    done = await agent("--version")
    assert done.output.split()[-1] == VERSION


async def test_asking_loads_none_of_the_libraries_that_running_needs() -> None:
    heavy = "{'asyncio', 'grpc', 'cryptography', 'google', 'structlog', 'elevation.model'}"
    code = f"import sys, agent_stub.main, agent_stub.commands; sys.exit(bool({heavy} & set(sys.modules)))"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await process.wait() == 0
