"""What users see of their own requests: over the control socket, and by `epm-agent requests`."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent_stub import main as program
from agent_stub.control.server import OWNER_ALONE, ControlServer
from agent_stub.identity import RefusedError, SystemIdentity, UnsafeStatedIdentity
from agent_stub.model import Answer, Origin, Peer, Question, Result
from agent_stub.ports import Prompter
from elevation.model import Decision, FileEvidence, Outcome, Platform, Source
from elevation.reasons import Cause
from tests.unit.agent.programs import PATIENCE, agent, at_a_terminal, started

ME = SystemIdentity(Platform.LINUX)
NOBODY_ASKED = "an approval can be asked for, and standard input is no terminal"


def shown(
    identifier: str = "r-1", state: str = "DENIED", message: str = "denied: no", **more: object
) -> dict[str, Any]:
    found = {"id": identifier, "state": state, "file": "/x", "arguments": ["-v"], "message": message}
    return found | {"new": True, "usable": False} | more


class Fake:
    """An agent whose users have requests."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "agent.sock"
        self.requests: list[dict[str, Any]] = []
        self.coming: asyncio.Queue[list[dict[str, Any]]] = asyncio.Queue()
        self.waits: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self.left = asyncio.Event()
        self.asked: list[tuple[str, ...]] = []
        self.results = [Result.APPROVAL_REQUIRED]
        self.replies: list[object] = []
        self.seen: list[tuple[str, object]] = []
        self.answered = asyncio.Event()

    def listed(self, user: str) -> list[dict[str, object]]:
        self.asked.append(("requests", user))
        return self.requests

    def news(self, user: str) -> list[dict[str, object]]:
        self.asked.append(("news", user))
        asyncio.get_running_loop().call_soon(self.answered.set)  # behind the answer, which follows at once
        return self.requests

    async def awaited(self, user: str, request_id: str) -> list[dict[str, object]]:
        self.waits.put_nowait((user, request_id))
        try:
            return await self.coming.get()
        finally:
            self.left.set()

    def shown(self, user: str, requests: Sequence[Mapping[str, object]]) -> None:
        self.seen += [(user, request["id"]) for request in requests]

    async def cancel(self, user: str, request_id: str) -> list[dict[str, object]]:
        self.asked.append(("cancel", user, request_id))
        if request_id == "other":
            raise RefusedError("you have no request 'other'")
        return [shown(request_id, "CANCELLED", "cancelled by you")]

    async def elevate(self, file: str, arguments: tuple[str, ...], origin: Origin, prompter: Prompter) -> Answer:
        question = Question(file, arguments, frozenset(), "rule \x1b[2J asks")
        result = self.results.pop(0)
        if result is Result.APPROVAL_REQUIRED:
            self.replies += [await prompter.approval(question), await prompter.justification("")]
        decision = Decision(Outcome.REQUEST_APPROVAL, Source.RULE, Cause.AUTOMATIC)
        asked = "r-1" if result is Result.APPROVAL_REQUIRED else ""
        return Answer("id-1", decision, result, result.name.lower(), FileEvidence(path=file), request_id=asked)

    @asynccontextmanager
    async def open(self, *, unsafe: bool = False) -> AsyncIterator["Fake"]:
        identities = UnsafeStatedIdentity(ME, Platform.LINUX, {}) if unsafe else ME
        async with ControlServer(self.elevate, dict, identities, self).listening(self.socket):
            yield self


def me() -> str:
    return ME.subject(Peer(os.getpid(), os.getuid(), os.getgid())).name


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[Fake]:
    async with Fake(tmp_path).open() as found:
        yield found


async def says(path: Path, *lines: bytes) -> list[dict[str, Any]]:
    reader, writer = await asyncio.open_unix_connection(path)
    writer.writelines(lines)
    received = await asyncio.wait_for(reader.read(), PATIENCE)
    writer.close()
    await writer.wait_closed()
    return [json.loads(line) for line in received.splitlines()]


async def test_users_are_shown_the_requests_of_who_the_system_says_they_are(fake: Fake) -> None:
    fake.requests = [shown()]
    assert await says(fake.socket, b'{"do": "requests"}\n') == [{"answer": {"requests": [shown()]}}]
    assert (fake.asked, fake.seen) == ([("requests", me())], [(me(), "r-1")])


async def test_nobody_sees_the_requests_of_whom_they_state_to_be(fake: Fake) -> None:
    for request in (b'"requests"', b'"await"', b'"cancel", "id": "1"'):
        (answer,) = await says(fake.socket, b'{"do": ' + request + b', "stated": {"user": "bob"}}\n')
        assert "lets nobody state another" in answer["error"]
    assert (fake.asked, fake.waits.empty()) == ([], True)


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        (b'{"do": "requests", "more": 1}\n', "the request is none that this agent knows"),
        (b'{"do": "cancel"}\n', "the request is none that this agent knows"),
        (b'{"do": "cancel", "id": 1}\n', "id must be a text of at most 64 characters"),
        (b'{"do": "await", "id": "' + b"x" * 65 + b'"}\n', "id must be a text of at most 64 characters"),
        (b'{"do": "await", "id": "", "stated": []}\n', "stated knows administrator, parent, platform, trigger, user"),
    ],
)
async def test_what_is_no_request_is_refused(fake: Fake, sent: bytes, problem: str) -> None:
    assert await says(fake.socket, sent) == [{"error": problem}]


async def test_the_agent_s_own_socket_knows_no_requests(tmp_path: Path) -> None:
    async with ControlServer(None, dict, ME).listening(tmp_path / "own", OWNER_ALONE):
        assert await says(tmp_path / "own", b'{"do": "requests"}\n') == [
            {"error": "this socket shows the status alone"}
        ]


async def test_a_caller_that_leaves_waits_no_longer_and_was_shown_nothing(fake: Fake) -> None:
    _, writer = await asyncio.open_unix_connection(fake.socket)
    writer.write(b'{"do": "await"}\n')
    await asyncio.wait_for(fake.waits.get(), PATIENCE)
    writer.close()
    await writer.wait_closed()
    await asyncio.wait_for(fake.left.wait(), PATIENCE)
    assert fake.coming.empty()


async def test_the_list_tells_state_file_and_what_became_of_each(fake: Fake) -> None:
    fake.requests = [shown("r-2", message="denied: \x1b[2J no"), shown(new=False, state="PENDING", message="waits")]
    done = await agent("requests", "--socket", fake.socket)
    assert (done.code, done.errors) == (0, "")
    assert done.output.splitlines() == [
        "* r-2  DENIED     /x -v",
        "    denied: \\x1b[2J no",
        "  r-1  PENDING    /x -v",
        "    waits",
    ]


async def test_a_list_can_be_had_as_json_and_an_empty_one_is_said(fake: Fake) -> None:
    assert (await agent("requests", "--socket", fake.socket)).output == "you have no requests that this device knows\n"
    fake.requests = [shown()]
    done = await agent("requests", "--socket", fake.socket, "--output", "json")
    assert json.loads(done.output) == [shown()]


@pytest.mark.parametrize("where", ["before", "behind"])
async def test_a_request_is_cancelled_wherever_the_options_stand(fake: Fake, where: str) -> None:
    options = ["--socket", str(fake.socket)]
    command = ["requests", *options, "cancel", "r-1"] if where == "before" else ["requests", "cancel", "r-1", *options]
    done = await agent(*command)
    assert (done.code, done.output.splitlines()[1]) == (0, "    cancelled by you")
    assert fake.asked == [("cancel", me(), "r-1")]


async def test_a_refusal_ends_with_1_and_no_agent_with_4(fake: Fake, tmp_path: Path) -> None:
    done = await agent("requests", "cancel", "other", "--socket", fake.socket)
    assert (done.code, done.errors) == (program.NOT_ELEVATED, "epm-agent: you have no request 'other'\n")
    gone = await agent("requests", "--socket", tmp_path / "nobody")
    assert (gone.code, "no agent answers" in gone.errors) == (program.NO_AGENT, True)


async def test_watching_shows_what_there_is_and_what_comes_until_it_is_interrupted(fake: Fake) -> None:
    fake.requests = [shown("r-1")]
    process = await started("requests", "--watch", "--output", "json", "--socket", fake.socket, PYTHONUNBUFFERED="1")
    assert process.stdout is not None
    assert json.loads(await asyncio.wait_for(process.stdout.readline(), PATIENCE))["id"] == "r-1"
    assert await asyncio.wait_for(fake.waits.get(), PATIENCE) == (me(), "")
    fake.coming.put_nowait([])  # nothing came for long
    await asyncio.wait_for(fake.waits.get(), PATIENCE)
    fake.coming.put_nowait([shown("r-2")])
    assert json.loads(await asyncio.wait_for(process.stdout.readline(), PATIENCE))["id"] == "r-2"
    await asyncio.wait_for(fake.waits.get(), PATIENCE)
    process.send_signal(signal.SIGINT)
    _, errors = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert (process.returncode, errors) == (0, b"")


async def test_a_person_is_asked_whether_to_ask_the_support_and_why(fake: Fake) -> None:
    done = await at_a_terminal("elevate", "--socket", fake.socket, "/x", typed="y\nto work\n")
    assert fake.replies == [True, "to work"]
    assert "rule \\x1b[2J asks" in done.errors
    assert "Ask the support to approve /x?" in done.errors


async def test_without_a_terminal_nobody_asks_the_support(fake: Fake) -> None:
    done = await agent("elevate", "--socket", fake.socket, "/x", typed="y\nto work\n")
    assert (done.code, fake.replies) == (program.NOT_ELEVATED, [None, None])
    assert done.errors.splitlines()[0] == NOBODY_ASKED


async def test_an_unsafe_agent_takes_prepared_answers(tmp_path: Path) -> None:
    async with Fake(tmp_path).open(unsafe=True) as fake:
        options = ["--as", "bob", "--answer-confirm", "--justification", "to work"]
        await agent("elevate", "--socket", fake.socket, *options, "/x")
        assert fake.replies == [True, "to work"]
        await agent("requests", "--socket", fake.socket, "--as", "bob")
        assert fake.asked == [("news", "bob"), ("requests", "bob")]


async def test_news_of_other_requests_comes_with_the_next_attempt(fake: Fake) -> None:
    fake.requests, fake.results = [shown("r-7")], [Result.ELEVATED]
    done = await agent("elevate", "--socket", fake.socket, "/x")
    assert (done.code, done.output, done.errors) == (0, "elevated\n", "request r-7 for /x: denied: no\n")
    assert fake.seen == [(me(), "r-7")]


async def test_what_a_caller_did_not_wait_for_counts_as_not_shown(fake: Fake) -> None:
    fake.requests = [shown("r-7")]
    reader, writer = await asyncio.open_unix_connection(fake.socket)
    writer.write(b'{"do": "elevate", "file": "/x", "arguments": []}\n')
    assert b"approval" in await asyncio.wait_for(reader.readline(), PATIENCE)
    writer.close()
    await writer.wait_closed()
    await asyncio.wait_for(fake.answered.wait(), PATIENCE)
    assert (fake.replies, fake.asked, fake.seen) == ([None, None], [("news", me())], [])


async def test_waiting_shows_the_denial_when_it_comes(fake: Fake) -> None:
    fake.coming.put_nowait([shown(state="PENDING")])  # nothing came for long
    fake.coming.put_nowait([shown()])
    done = await agent("elevate", "--wait", "--socket", fake.socket, "/x")
    assert (done.code, fake.waits.get_nowait(), fake.results) == (program.NOT_ELEVATED, (me(), "r-1"), [])
    assert done.errors.splitlines() == [NOBODY_ASKED, "approval_required", "request r-1 for /x: denied: no"]


async def test_whoever_interrupts_the_wait_is_told_where_to_look(fake: Fake) -> None:
    process = await started("elevate", "--wait", "--socket", fake.socket, "/x")
    await asyncio.wait_for(fake.waits.get(), PATIENCE)
    process.send_signal(signal.SIGINT)
    _, errors = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert (process.returncode, b"`epm-agent requests` shows what becomes" in errors) == (program.NOT_ELEVATED, True)


async def test_waiting_runs_the_file_once_it_is_approved(fake: Fake) -> None:
    fake.results = [Result.APPROVAL_REQUIRED, Result.ELEVATED]
    fake.coming.put_nowait([shown(state="APPROVED", message="approved", usable=True)])
    done = await agent("elevate", "--wait", "--socket", fake.socket, "/x")
    assert (done.code, done.output) == (program.ELEVATED, "elevated\n")
    assert done.errors.splitlines() == [NOBODY_ASKED, "approval_required", "request r-1 for /x: approved"]


async def test_waiting_does_not_ask_again_for_an_approval_that_is_not_there_yet(fake: Fake) -> None:
    fake.coming.put_nowait([shown(state="APPROVED", message="approved", usable=False)])
    done = await agent("elevate", "--wait", "--socket", fake.socket, "/x")
    assert (done.code, fake.results) == (program.NOT_ELEVATED, [])
    said, *_, last = done.errors.splitlines()
    assert said == NOBODY_ASKED
    assert last == "the approval cannot be used on this device yet; run the command again in a moment"
