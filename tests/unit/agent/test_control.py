"""The control socket, by itself: who calls, what they may send, and what they get."""

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent_stub.control import server as control
from agent_stub.control.lines import LINE_LIMIT
from agent_stub.control.server import OWNER_ALONE, ControlServer
from agent_stub.files import StateError
from agent_stub.identity import RefusedError, SystemIdentity, UnsafeStatedIdentity
from agent_stub.model import Answer, Origin, Peer, Question, Result, Stated, Subject
from agent_stub.ports import Identities, Prompter
from elevation.model import Decision, FileEvidence, Outcome, Platform, Source, Trigger
from elevation.reasons import Cause
from tests.fakes.agent import OWN_RIGHTS

PATIENCE = 20
ALICE = Subject("alice", administrator=False)
STATUS = {"device": {"name": "ws-17"}}
REFUSAL = "this agent takes its callers from the operating system and lets nobody state another"
CALL = """
import os, socket, sys
from tests.fakes.agent import OWN_RIGHTS
os.setgroups([]); os.setgid(65534); os.setuid(65534)
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
s.sendall(b'{"do": "elevate", "file": "/x", "arguments": []}\\n'); print(s.makefile().readline())
"""


def elevated(result: Result = Result.ELEVATED, message: str = "done") -> Answer:
    decision = Decision(Outcome.ELEVATE, Source.RULE, Cause.AUTOMATIC)
    return Answer("id-1", decision, result, message, FileEvidence(path="/x"))


class Noting:
    """An identity that takes everybody for alice, and notes who called."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []

    def origin(self, peer: Peer, stated: Stated) -> Origin:
        self.peers.append(peer)
        if stated:
            raise RefusedError("no")
        return Origin(ALICE, Platform.LINUX, OWN_RIGHTS)

    def judged_path(self, path: str, platform: Platform) -> str:
        return path


class Desk:
    """An agent's end of the socket, and what reached it."""

    def __init__(self, path: Path, identities: Identities | None = None) -> None:
        self.path = path
        self.identities = identities or Noting()
        self.asked: list[tuple[str, tuple[str, ...], Origin]] = []
        self.questions: list[Question] = []
        self.replies: list[object] = []
        self.bug: Exception | None = None

    async def elevate(self, file: str, arguments: tuple[str, ...], origin: Origin, prompter: Prompter) -> Answer:
        self.asked.append((file, arguments, origin))
        if self.bug is not None:
            raise self.bug
        for question in self.questions:
            self.replies += [await prompter.confirm(question), await prompter.justification("too short")]
        return elevated()

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Desk"]:
        async with ControlServer(self.elevate, lambda: STATUS, self.identities).listening(self.path):
            yield self

    async def says(self, *lines: bytes) -> list[dict[str, Any]]:
        """Send lines as they are, and give all that comes back."""
        reader, writer = await asyncio.open_unix_connection(self.path, limit=1 << 20)
        try:
            for line in lines:
                writer.write(line)
            await writer.drain()
            if not lines or not lines[-1].endswith(b"\n"):
                writer.write_eof()
            received = await asyncio.wait_for(reader.read(), PATIENCE)
        finally:
            writer.close()
            await writer.wait_closed()
        return [json.loads(line) for line in received.splitlines()]


def request(**fields: object) -> bytes:
    return json.dumps({"do": "elevate", "file": "/x", "arguments": ["-v"]} | fields).encode() + b"\n"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with Desk(tmp_path / "s").open() as found:
        yield found


async def test_the_caller_is_who_the_system_says(desk: Desk) -> None:
    (answer,) = await desk.says(request())
    assert answer["answer"]["result"] == "ELEVATED"
    assert desk.asked == [("/x", ("-v",), Origin(ALICE, Platform.LINUX, OWN_RIGHTS))]
    assert isinstance(desk.identities, Noting)
    assert desk.identities.peers == [Peer(os.getpid(), os.getuid(), os.getgid())]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Give a folder that every user may enter, which those of the tests are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else")
async def test_another_user_may_call_and_is_told_apart(open_folder: Path) -> None:
    async with Desk(open_folder / "s").open() as desk:
        caller = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CALL, str(desk.path), stdout=subprocess.PIPE
        )
        output, _ = await asyncio.wait_for(caller.communicate(), PATIENCE)
        assert isinstance(desk.identities, Noting)
        assert b"ELEVATED" in output
        assert [(peer.pid, peer.uid) for peer in desk.identities.peers] == [(caller.pid, 65534)]


async def test_the_status_is_shown(desk: Desk) -> None:
    assert await desk.says(b'{"do": "status"}\n') == [{"answer": STATUS}]


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        (b"no json\n", "the line is no JSON"),
        (b"[" * 5000 + b"\n", "the line is no JSON"),
        ('{"do": "status"}\n'.encode("utf-16-be"), "the line is no JSON"),
        (b"[]\n", "the line is no JSON object"),
        (b"", "the request is none that this agent knows"),
        (b'{"do": "status"', "the line does not end"),
        (b"x" * (LINE_LIMIT + 10) + b"\n", f"the line is longer than {LINE_LIMIT} bytes"),
        (b'{"do": "dance"}\n', "the request is none that this agent knows"),
        (b'{"do": "status", "more": 1}\n', "the request is none that this agent knows"),
        (request(more=1), "the request is none that this agent knows"),
        (request(file="relative"), "file must be an absolute path"),
        (request(file="/x\0y"), "file must be an absolute path"),
        (request(arguments=[1]), "arguments must be at most 4096 texts"),
        (request(arguments=["x"] * 4097), "arguments must be at most 4096 texts"),
        (request(stated=[]), "stated knows administrator, parent, platform, trigger, user"),
        (request(stated={"uid": 0}), "stated knows administrator, parent, platform, trigger, user"),
        (request(stated={"user": 7}), "stated.user must be a text and stated.administrator true or false"),
        (request(stated={"platform": "PLAN9"}), "stated.platform, trigger or parent is none that this agent knows"),
        (
            request(stated={"parent": {"policy": "p"}}),
            "stated.platform, trigger or parent is none that this agent knows",
        ),
        (request(stated={"parent": {"policy": 1, "rule": 2}}), "stated.parent must name a policy and a rule"),
    ],
)
async def test_what_is_no_request_is_refused_by_what_is_wrong(desk: Desk, sent: bytes, problem: str) -> None:
    assert await desk.says(sent) == [{"error": problem}]
    assert desk.asked == []


async def test_a_bug_costs_one_caller_and_tells_it_nothing(desk: Desk) -> None:
    desk.bug = ZeroDivisionError("secret")
    assert await desk.says(request()) == [{"error": "internal error of the agent; its log says more"}]
    assert await desk.says(b'{"do": "status"}\n') == [{"answer": STATUS}]


QUESTION = Question("/x", (), frozenset(), "because")


async def test_the_user_is_asked_through_the_caller(desk: Desk) -> None:
    desk.questions = [QUESTION]
    found = await desk.says(request(), b'{"answer": true}\n', b'{"answer": "to work"}\n')
    assert found[:2] == [
        {"ask": "confirm", "file": "/x", "reason": "because"},
        {"ask": "justification", "problem": "too short"},
    ]
    assert desk.replies == [True, "to work"]


@pytest.mark.parametrize("reply", [b'{"answer": "yes"}\n', b'{"answer": 1}\n', b'{"yes": true}\n', b"yes\n", b"[]\n"])
async def test_what_is_no_answer_is_no_consent(desk: Desk, reply: bytes) -> None:
    desk.questions = [QUESTION]
    await desk.says(request(), reply, b'{"answer": null}\n')
    assert desk.replies == [None, None]


async def test_a_caller_that_leaves_has_not_consented(desk: Desk) -> None:
    desk.questions = [QUESTION]
    await desk.says(request().rstrip(b"\n") + b"\n ")
    assert desk.replies == [None, None]


async def test_nobody_states_an_identity_to_an_agent_that_is_not_unsafe(tmp_path: Path) -> None:
    async with Desk(tmp_path / "s", SystemIdentity(Platform.LINUX)).open() as desk:
        for stated in ({"user": "root"}, {"administrator": False}, {"trigger": "LAUNCH"}, {"platform": "WINDOWS"}):
            assert await desk.says(request(stated=stated)) == [{"error": REFUSAL}]
        assert desk.asked == []


async def test_an_unsafe_agent_believes_what_is_stated(tmp_path: Path) -> None:
    identities = UnsafeStatedIdentity(SystemIdentity(Platform.LINUX), Platform.LINUX, {})
    async with Desk(tmp_path / "s", identities).open() as desk:
        await desk.says(request(stated={"user": "bob", "platform": "WINDOWS", "trigger": "LAUNCH"}))
        bob = Subject("bob", administrator=False)
        assert desk.asked[0][2] == Origin(
            bob,
            Platform.WINDOWS,
            SystemIdentity(Platform.LINUX).rights(Peer(os.getpid(), os.getuid(), os.getgid())),
            Trigger.LAUNCH,
        )


async def test_one_user_cannot_take_all_places(desk: Desk) -> None:
    held = [await asyncio.open_unix_connection(desk.path) for _ in range(control.CALLERS_OF_A_USER)]
    assert await desk.says() == [{"error": "the agent serves too many callers; try again"}]
    for _, writer in held:
        writer.close()
        await writer.wait_closed()


async def test_every_user_may_reach_the_component_and_only_its_own_user_the_agent(tmp_path: Path) -> None:
    server = ControlServer(None, lambda: STATUS, Noting())
    async with Desk(tmp_path / "s").open(), server.listening(tmp_path / "own", OWNER_ALONE):
        assert [stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in ("s", "own")] == [0o666, 0o600]  # noqa: PTH116
    assert os.listdir(tmp_path) == []  # noqa: PTH208


async def test_the_agent_s_own_socket_elevates_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "own")
    async with ControlServer(None, lambda: STATUS, Noting()).listening(desk.path):
        assert await desk.says(request()) == [{"error": "this socket shows the status alone"}]
        assert await desk.says(b'{"do": "status"}\n') == [{"answer": STATUS}]


def refused(path: Path) -> str:
    with pytest.raises(StateError) as refusal:
        control.prepare(path)
    return str(refusal.value)


def test_a_socket_that_a_crash_left_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "s"))
    control.prepare(tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


def test_a_socket_that_is_in_use_and_a_file_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious", encoding="utf-8")
    with socket.socket(socket.AF_UNIX) as used:
        used.bind(str(tmp_path / "s"))
        used.listen()
        assert "another agent or file is there; choose another with --socket" in refused(tmp_path / "s")
    assert "another agent or file is there" in refused(tmp_path / "file")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "precious"


def test_a_place_where_no_socket_can_be_is_named(tmp_path: Path) -> None:
    assert "longer than 107 bytes; choose another with --socket" in refused(tmp_path / ("x" * 120))
    (tmp_path / "file").touch()
    assert "cannot be opened" in refused(tmp_path / "file" / "s")
